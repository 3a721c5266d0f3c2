"""Leading: until when (rule 1), and on which evidence it ends (rule 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.leaderelection._actions import Phase
from pyoperator.leaderelection._record import Terms

if TYPE_CHECKING:
    from pyoperator.leaderelection._candidate import Candidate
    from pyoperator.leaderelection._claims import Claim
    from pyoperator.leaderelection._record import LeaseRecord


class Leading:
    """Hold the Lease: renew it each retry period, and step down as soon as that can't be relied on."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._tenure: Terms | None = None  # as last confirmed, in this tenure or the one before
        self.confirmed_at: float | None = None
        self.acquisitions = self.losses = 0

    def begin(self, claim: Claim, record: LeaseRecord, now: float, wall: float) -> bool:
        """Start a tenure on an acquisition that is in the Lease; False if it is of no use any more."""
        candidate = self._candidate
        until = claim.sent_at + candidate.config.renew_deadline
        over = self._tenure is not None and claim.terms.acquired == self._tenure.acquired
        if over or now >= until - candidate.config.write_margin:
            # From a tenure that is over, or answered so late that nothing could be done with it.
            return False
        candidate.phase = Phase.LEADING
        candidate.token = record.transitions
        self.acquisitions += 1
        self.confirmed_at = None
        self._confirm(claim, record)
        candidate.report("acquired", wall, record.holder)
        candidate.report_leader(record, wall)
        return True

    def proceed(self, now: float, wall: float) -> None:
        candidate = self._candidate
        if candidate.doubt or candidate.lease is None or self._tenure is None:
            candidate.look(now)
            return
        config = candidate.config
        stamp = candidate.claims.stamp(wall)
        candidate.write(
            now, Terms(config.identity, int(config.lease_duration), self._tenure.acquired, stamp, candidate.token)
        )

    def expire(self, now: float, wall: float) -> None:
        """Stop leading if valid-until has come, whatever is still in flight."""
        candidate = self._candidate
        if candidate.valid_until is not None and now >= candidate.valid_until:
            silence = f"not renewed within {candidate.config.renew_deadline:g} s"
            self.lose(wall, f"{silence}: {candidate.last_error or 'no answer'}", silent=True)

    def judge(self, record: LeaseRecord, now: float, wall: float) -> None:
        """Rule 3: weigh a version of the Lease that is newer than what we know."""
        candidate = self._candidate
        claim = candidate.claims.of(record)
        if claim is not None:
            self._confirm(claim, record)
            return
        held = candidate.lease
        if record.holder != candidate.config.identity:
            candidate.lease, candidate.seen_at, candidate.known = record, now, True
            self.lose(wall, f"the Lease is held by {record.holder!r}" if record.holder else "the Lease was released")
        elif held is None or record.uid != held.uid:
            self.lose(wall, "the Lease was replaced")
        elif self._tenure is None or (record.terms.acquired, record.terms.renewed) != (
            self._tenure.acquired,
            self._tenure.renewed,
        ):
            self.lose(wall, "somebody else renews the Lease under this identity")
        else:
            # Edited by hand but still ours: write our terms again on this very version.
            candidate.lease = record
            candidate.next_attempt = now
            self._shorten(record.duration, now)

    def lose(self, wall: float, reason: str, *, silent: bool = False) -> None:
        candidate = self._candidate
        self.losses += 1
        candidate.retire()
        candidate.last_error = reason
        candidate.report("lost", wall, candidate.lease.holder if candidate.lease else "", reason, silent=silent)
        if candidate.lease is not None:
            candidate.report_leader(candidate.lease, wall)

    def _confirm(self, claim: Claim, record: LeaseRecord) -> None:
        """Our write is in the Lease: valid from *before it was sent* (rule 1), not from when we learnt of it."""
        candidate = self._candidate
        candidate.lease = record
        candidate.doubt = False
        candidate.claims.settle(claim)
        if self.confirmed_at is None or claim.sent_at > self.confirmed_at:
            self.confirmed_at = claim.sent_at
            self._tenure = claim.terms
            candidate.valid_until = claim.sent_at + candidate.config.renew_deadline
            candidate.next_attempt = claim.sent_at + candidate.config.retry_period
            candidate.last_error = ""

    def _shorten(self, duration: int, now: float) -> None:
        """Followers count by the duration in the record: lead no longer than the same share of it, until it is mended."""
        candidate = self._candidate
        if duration < candidate.config.lease_duration and candidate.valid_until is not None:
            share = candidate.config.renew_deadline / candidate.config.lease_duration
            candidate.valid_until = min(candidate.valid_until, now + duration * share)
