"""What a run came to, as the JSON file that the report is made from; times are seconds since the run's start."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Act(msgspec.Struct):
    """One fault as it happened: ``problem`` is what was not right after it, "" if it was survived."""

    name: str
    start: float
    end: float
    note: str = ""
    problem: str = ""


class Term(msgspec.Struct):
    """One leader's time, as ``Tenure`` has it, and the fault ``during`` which it ended."""

    start: float
    end: float
    leader: str
    how: str
    leaderless: float | None
    silence: float | None = None
    during: str = ""


class Run(msgspec.Struct):
    """Faults on one server, judged."""

    server: str
    seed: int
    replicas: int
    databases: int
    lease: tuple[float, float, float]
    rate: float
    began: float
    seconds: float
    acts: list[Act] = []
    terms: list[Term] = []
    changes: list[int] = []
    writes: list[int] = []
    changes_failed: int = 0
    changes_median: float = 0.0
    gap_ms: list[float] = []
    first_write_ms: list[float] = []
    sigterm_ms: list[float] = []
    expected: int = 0
    reconciled: int = 0
    foreign: list[str] = []
    lost: list[str] = []
    duplicates: list[str] = []
    in_flight: int = 0
    after_edit: int = 0
    exits: dict[str, int] = {}
    crashed: list[str] = []
    skipped: list[str] = []

    @property
    def violations(self) -> list[str]:
        """Everything that must not be, one line each."""
        return [
            *(f"foreign write: {one}" for one in self.foreign),
            *(f"lost: {one}" for one in self.lost),
            *(f"duplicate: {one}" for one in self.duplicates),
            *(f"unexpected end: {one}" for one in self.crashed),
            *(f"{act.name} at {act.start:.1f} s: {act.problem}" for act in self.acts if act.problem),
            *(
                f"{term.leader} was succeeded {term.silence:.3f} s after its last renewal, before its term had ended"
                for term in self.early
            ),
        ]

    @property
    def early(self) -> list[Term]:
        """Terms that somebody ended before they could have ended: the followers' rule, seen from the server.

        A Lease that was deleted is free: followers that had seen it wait for its end all the same, but a process that
        starts just then has nothing to wait for.
        """
        return [
            term
            for term in self.terms
            if term.how == "expired"
            and term.during != "lease-deleted"
            and term.silence is not None
            and term.silence < self.lease[0]
        ]

    def leaderless(self, how: str) -> list[float]:
        """Return the seconds without a leader after terms that ended so, sorted."""
        return sorted(term.leaderless for term in self.terms if term.how == how and term.leaderless is not None)


class Targets(msgspec.Struct):
    """The figures that are promised, measured without faults in the way."""

    lease: tuple[float, float, float]
    rate: float
    databases: int
    gap_ms: list[float] = []
    sigterm_ms: list[float] = []
    first_write_ms: list[float] = []
    crash_after_renewal_s: list[float] = []
    roll_hand_overs: list[int] = []
    roll_gap_ms: list[float] = []
    probes: int = 0
    failed_probes: list[str] = []
    standby_mib: list[float] = []
    standby_cache_mib: list[float] = []
    standby_cpu: list[float] = []
    foreign: int = 0
    seconds: float = 0.0

    @property
    def standby_own_mib(self) -> list[float]:
        """What a standby takes beyond the JSON that it caches."""
        return [mib - cached for mib, cached in zip_longest(self.standby_mib, self.standby_cache_mib, fillvalue=0.0)]


class Peer(msgspec.Struct):
    """controller-runtime, measured on the same definitions."""

    lease: tuple[float, float, float]
    gap_ms: list[float] = []
    sigterm_ms: list[float] = []
    crash_after_renewal_s: list[float] = []


class Results(msgspec.Struct):
    """All that the report tells of."""

    runs: list[Run] = []
    targets: Targets | None = None
    peer: Peer | None = None
    machine: str = ""

    @property
    def clean(self) -> bool:
        """Tell whether no run has a violation."""
        return not any(run.violations for run in self.runs)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file that :meth:`write` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of all reach at most (nearest rank); 0 for none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1))]
