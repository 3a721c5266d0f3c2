"""Following: when a Lease may be taken, and how (rule 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.leaderelection._candidate import NEVER
from pyoperator.leaderelection._record import Terms

if TYPE_CHECKING:
    from pyoperator.leaderelection._candidate import Candidate
    from pyoperator.leaderelection._record import LeaseRecord


class Following:
    """Watch the Lease of another holder, and take it at the first legal instant."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._acquire_at = NEVER
        self._since = 0.0

    def begin(self, now: float) -> None:
        candidate = self._candidate
        candidate.known = candidate.doubt = False  # what was known may be long past: look first
        candidate.next_attempt = candidate.watch_at = self._since = now

    @property
    def next_act(self) -> float:
        """When (elapsed) there is something to do, if no request is in flight."""
        candidate = self._candidate
        if not candidate.known or candidate.doubt:
            return candidate.next_attempt
        return max(candidate.next_attempt, min(self._acquire_at, candidate.poll_at))

    def proceed(self, now: float, wall: float) -> None:
        candidate = self._candidate
        if not candidate.known or candidate.doubt:
            candidate.look(now)
        elif now >= self._acquire_at:
            # On exactly the version whose age was observed: if its holder renewed, this write must fail.
            stamp = candidate.claims.stamp(wall)
            transitions = 0 if candidate.lease is None else candidate.lease.transitions + 1
            config = candidate.config
            candidate.write(now, Terms(config.identity, int(config.lease_duration), stamp, stamp, transitions))
        elif now >= candidate.poll_at:
            candidate.look(now)

    def changed(self, record: LeaseRecord, now: float) -> None:
        """The Lease has other terms than before, not ours: begin to count."""
        if not record.holder:
            self._acquire_at = now + self._handover_delay(now)
        else:
            # Counted from when *we* saw it change, by the duration its holder promised; a timestamp of another machine
            # is never compared. Seen after it was sent, so never early.
            self._acquire_at = now + record.duration

    def gone(self, old: LeaseRecord | None, now: float) -> None:
        """The Lease has vanished: whoever held it may not know yet, so let the terms it was last seen with run out."""
        candidate = self._candidate
        if old is None and candidate.known:
            return
        held = old is not None and bool(old.holder) and candidate.claims.of(old) is None
        until = candidate.seen_at + old.duration if held and old is not None else now
        self._acquire_at = max(until, now + self._handover_delay(now))

    def take_at_once(self, now: float) -> None:
        """Nobody else leads: the Lease is ours, but from a tenure that can't be used."""
        self._acquire_at = now

    def _handover_delay(self, now: float) -> float:
        """Return 0 - 20 ms to wait before a free Lease is taken, shorter for candidates that began to follow lately.

        In a rolling update the replicas of the new version are the youngest, and electing one of them saves further
        changes of leader. Each knows its own age only, which needs no coordination and no comparison of clocks.
        """
        age = max(0.0, now - self._since)
        return 0.005 * self._candidate.random.random() + 0.015 * age / (age + 30.0)
