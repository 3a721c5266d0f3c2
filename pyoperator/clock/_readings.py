"""The two readings that ``loop.time()`` can't give: wall time and elapsed time that includes suspend."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Clock(Protocol):
    """Tell the time; nothing here waits."""

    def wall(self) -> float:
        """Return seconds since the Unix epoch. May jump; for timestamps that people and other machines read."""
        ...

    def elapsed(self) -> float:
        """Return seconds from an arbitrary start that never jump back and go on while the machine is suspended."""
        ...


class SystemClock:
    """Read the machine's clocks: CLOCK_REALTIME, and CLOCK_BOOTTIME where there is one (else the monotonic clock)."""

    def wall(self) -> float:
        return time.time()

    def elapsed(self) -> float:
        # CLOCK_MONOTONIC stands still in suspend: a lease held by a laptop that slept would look fresh on waking.
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()

    def __repr__(self) -> str:
        return "SystemClock()"


class LoopClock:
    """Derive both readings from a loop's own time, so that under a virtual loop all clocks agree.

    ``epoch`` is the wall time (Unix seconds) at loop time 0; ``rate`` and ``offset`` make a clock that drifts or is
    wrong, for tests: elapsed = loop time x rate, wall = epoch + elapsed + offset.
    """

    def __init__(
        self, loop: AbstractEventLoop, *, epoch: float = 1_767_225_600.0, rate: float = 1.0, offset: float = 0.0
    ) -> None:
        self._loop = loop
        self.epoch = epoch
        self.rate = rate
        self.offset = offset

    def wall(self) -> float:
        return self.epoch + self.elapsed() + self.offset

    def elapsed(self) -> float:
        return self._loop.time() * self.rate

    def __repr__(self) -> str:
        return f"LoopClock(elapsed={self.elapsed():.6f}, rate={self.rate}, offset={self.offset})"
