"""The judge of simulated elections: it knows true time, every commit and every gate, and says what was wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.election_conditions import Conditions
    from tests.simulation.election_process import Process

_EPSILON = 1e-6


@dataclass
class Tally:
    """What a history came to; times in true seconds, as shares of the lease duration where noted."""

    commits: int = 0
    acquisitions: int = 0
    changes: int = 0
    releases: int = 0
    leaderless: list[float] = field(default_factory=list)  # no gate open, from one tenure to the next, in leases
    handovers: list[float] = field(default_factory=list)  # release to acquisition, in seconds
    calm_until_leader: float = 0.0  # in leases


@dataclass(slots=True)
class _Version:
    """The Lease as the last write that changed its terms left it."""

    holder: str = ""
    duration: float = 0.0
    acquired: str = ""
    transitions: int = 0
    terms_at: float = 0.0
    author: Process | None = None


class Judge:
    """Fed by the store and the processes; ``violations`` is empty after a history that was as it must be."""

    def __init__(self, conditions: Conditions) -> None:
        self.violations: list[str] = []
        self.tally = Tally()
        self._conditions = conditions
        self._version: _Version | None = None
        self._since: dict[str, float] = {}
        self._edited_at = float("-inf")
        self._released_at: float | None = None
        self._leading: list[Process] = []  # whoever may send, or has something under way
        self._last_gate_end = 0.0
        self._last_holder = ""

    # What the store tells.

    def edited(self, now: float, spec: dict[str, Any] | None) -> None:
        """Somebody changed the terms by hand, or deleted the Lease (None): until a leader hears of it, it is excused."""
        self._edited_at = now
        self._released_at = None
        if spec is None:
            self._version = None
        else:
            self._version = _Version(*_terms(spec), terms_at=self._first(now, spec))

    def committed(self, now: float, author: Process, spec: dict[str, Any]) -> None:
        """A candidate's write was carried out."""
        old, new = self._version, _Version(*_terms(spec), terms_at=self._first(now, spec), author=author)
        self._version = new
        self.tally.commits += 1
        if not new.holder:
            self._release(now, old, new, author)
            return
        if new.holder != author.identity:
            self._say(now, f"{author} wrote {new.holder!r} as the holder")
        if old is not None and old.holder == new.holder and old.acquired == new.acquired:
            self._renewal(now, new, author)
        else:
            self._acquisition(now, old, new, author)

    def _release(self, now: float, old: _Version | None, new: _Version, author: Process) -> None:
        self.tally.releases += 1
        self._released_at = now
        if old is None or old.holder != author.identity:
            self._say(now, f"{author} released a Lease that {old.holder if old else 'nobody'!r} held")
        elif new.transitions != old.transitions:
            self._say(
                now, f"{author} changed leaseTransitions from {old.transitions} to {new.transitions} at a release"
            )
        if author.gate_end + self._conditions.delay > now + _EPSILON and not author.drained:
            self._say(now, f"{author} released while its work could still write")

    def _renewal(self, now: float, new: _Version, author: Process) -> None:
        if new.transitions != author.tenure_transitions:
            self._say(now, f"{author} renewed with leaseTransitions {new.transitions}, not {author.tenure_transitions}")
        author.confirmed(now)

    def _acquisition(self, now: float, old: _Version | None, new: _Version, author: Process) -> None:
        self.tally.acquisitions += 1
        if new.holder != self._last_holder:
            self.tally.changes += 1
            self._last_holder = new.holder
        if self._released_at is not None:
            self.tally.handovers.append(now - self._released_at)
            self._released_at = None
        expected = 0 if old is None else old.transitions + 1
        if new.transitions != expected:
            self._say(now, f"{author} acquired with leaseTransitions {new.transitions}, not {expected}")
        author.tenure_transitions = new.transitions
        if old is not None and old.holder not in {"", author.identity}:
            # The duration as the follower's own clock counts it, from the moment the terms came to be.
            legal = old.terms_at + old.duration / author.rate
            if now < legal - _EPSILON:
                self._say(now, f"{author} took over from {old.holder} {legal - now:.6f} s before its lease had run out")
        author.confirmed(now)
        self._only_writer(now, author)

    def _only_writer(self, now: float, author: Process) -> None:
        """Nobody else's gate may be open, or was so lately that something sent through it is still on its way."""
        delay = self._conditions.delay
        for other in self._leading:
            excused = self._edited_at > other.committed_at
            if other is not author and other.gate_end + delay > now + _EPSILON and not excused and not other.drained:
                late = other.gate_end + delay - now
                self._say(now, f"{other} could still write for {late:.6f} s when {author} became the holder")
        self._leading = [other for other in self._leading if other.gate_end + delay > now or other.leads]

    # What the processes tell.

    def gate_moved(self, now: float, process: Process, valid_until: float) -> None:
        """A process may write until ``valid_until``, a reading of its own clock."""
        if process not in self._leading:
            self._leading.append(process)
            if now > self._last_gate_end:
                self.tally.leaderless.append((now - self._last_gate_end) / self._conditions.lease_duration)
        limit = process.sent_before_commit + self._conditions.renew_deadline
        if valid_until > limit + _EPSILON:
            self._say(
                now,
                f"{process} leads {valid_until - limit:.6f} s longer than its last write that was carried out allows",
            )
        self._last_gate_end = max(self._last_gate_end, process.gate_end)

    def gate_closed(self, now: float, process: Process) -> None:
        self._last_gate_end = max((other.gate_end for other in self._leading), default=now)

    def fault(self, now: float, what: str) -> None:
        self._say(now, what)

    def _first(self, now: float, spec: dict[str, Any]) -> float:
        """Return since when these very terms have been known: edits by hand may bring old ones back.

        Nobody can tell those from terms that never changed; a holder's renewal differs always, by its renewTime.
        """
        return self._since.setdefault(str(sorted(spec.items())), now)

    def _say(self, now: float, what: str) -> None:
        self.violations.append(f"{now:.6f}: {what}")


def _terms(spec: dict[str, Any]) -> tuple[str, float, str, int]:
    return (
        spec.get("holderIdentity") or "",
        spec.get("leaseDurationSeconds") or 0,
        spec.get("acquireTime") or "",
        spec.get("leaseTransitions") or 0,
    )
