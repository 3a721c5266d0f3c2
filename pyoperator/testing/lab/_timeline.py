"""What happened when, in seconds since the start, and who led."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.clock import Clock

_LEADER = 36
"""Columns for a pod's name: Deployment, ReplicaSet's hash, five letters."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened: seconds since the start, what, and the leader at that moment ("" for nobody)."""

    at: float
    what: str
    leader: str

    def __str__(self) -> str:
        return f"{self.at:8.3f} s  {self.leader or '-':<{_LEADER}}  {self.what}"


class Timeline:
    """Collect entries and write each as a line at once; time starts when it is made."""

    def __init__(
        self,
        clock: Clock,
        *,
        write: Callable[[str], None] = lambda line: None,
        leader: Callable[[], str] = lambda: "",
    ) -> None:
        self.entries: list[TimelineEntry] = []
        self._clock = clock
        self._start = clock.elapsed()
        self._write = write
        self.leader = leader

    @staticmethod
    def heading() -> str:
        return f"{'time':>10}  {'leader':<{_LEADER}}  what happened"

    def note(self, what: str) -> None:
        entry = TimelineEntry(self._clock.elapsed() - self._start, what, self.leader())
        self.entries.append(entry)
        self._write(str(entry))

    @property
    def duration(self) -> float:
        """Seconds since the start."""
        return self._clock.elapsed() - self._start
