"""Releasing: giving the Lease back when all work has stopped (rule 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.leaderelection._actions import Phase
from pyoperator.leaderelection._candidate import NEVER
from pyoperator.leaderelection._record import Terms

if TYPE_CHECKING:
    from pyoperator.leaderelection._candidate import Candidate


class Releasing:
    """Write an empty holder over our own terms, within half a renew deadline and while the terms are valid."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._overtake_at = NEVER  # until when an acquisition in flight may still be answered

    def begin(self, now: float) -> None:
        candidate = self._candidate
        config = candidate.config
        candidate.valid_until = None
        acquiring = candidate.phase is Phase.FOLLOWING and candidate.pending is not None and candidate.pending.claim
        # After that, what we wrote runs out by itself: to try on would only hold up the end of this process.
        give_up_at = min(now + config.renew_deadline / 2, candidate.claims.latest + config.renew_deadline)
        mine = candidate.lease is not None and candidate.claims.of(candidate.lease) is not None
        if now >= give_up_at or not (mine or candidate.claims):
            candidate.retire()
            return
        # An acquisition in flight is waited for, shortly: a look at the Lease might come before it, find nothing of
        # ours, and leave the Lease to a process that is gone.
        self._overtake_at = now + config.retry_period / 2 if acquiring else NEVER
        if not acquiring:
            candidate.cancel_pending()
        candidate.close_watch()
        candidate.phase = Phase.RELEASING
        candidate.give_up_at = give_up_at
        candidate.next_attempt = now
        candidate.doubt = not mine  # claims without an answer may have been carried out: look first

    @property
    def next_end(self) -> float:
        """When (elapsed) waiting ends: for an acquisition in flight, or for good."""
        candidate = self._candidate
        return min(candidate.give_up_at, NEVER if candidate.pending is None else self._overtake_at)

    def expire(self, now: float, wall: float) -> None:
        candidate = self._candidate
        if now >= candidate.give_up_at:
            candidate.report(
                "release_failed", wall, candidate.config.identity, candidate.last_error or "no answer in time"
            )
            self.end()
        elif now >= self._overtake_at:
            self._overtake_at = NEVER
            candidate.cancel_pending()

    def proceed(self, now: float, wall: float) -> None:
        candidate = self._candidate
        if candidate.doubt:
            candidate.look(now)
            return
        lease = candidate.lease
        if lease is not None and not lease.holder and candidate.claims.of(lease) is not None:
            candidate.claims.clear()
            candidate.report("released", wall, "")
            self.end()
        elif lease is None or candidate.claims.of(lease) is None:
            self.end()  # not ours any more: nothing to give back
        else:
            stamp = candidate.claims.stamp(wall)
            candidate.write(now, Terms("", 1, stamp, stamp, lease.transitions))

    def end(self) -> None:
        self._overtake_at = self._candidate.give_up_at = NEVER
        self._candidate.retire()
