"""The elector: one candidate's rules as a state machine without I/O, clock or thread.

Inputs are readings of a clock, answers, watch events, ticks and requests to campaign, release or stop; outputs are
actions, the time of the next tick, and valid-until. Compatible with client-go, so both can compete for one Lease; where
it differs (see the rules in the comments) it never acts earlier than client-go would let it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.leaderelection._actions import Action, ElectionStatus, Phase
from pyoperator.leaderelection._candidate import NEVER, Candidate, Pending
from pyoperator.leaderelection._following import Following
from pyoperator.leaderelection._leading import Leading
from pyoperator.leaderelection._record import LeaseDecodeError, LeaseRecord
from pyoperator.leaderelection._releasing import Releasing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.clock import Randomness
    from pyoperator.leaderelection._config import ElectionConfig


class Elector:
    """One candidate. Every input method takes ``now`` (elapsed) and ``wall`` in seconds and returns actions in order.

    This class takes in what arrives and decides what is news; what follows from it is up to the role at that time:
    Following, Leading or Releasing.
    """

    def __init__(self, config: ElectionConfig, random: Randomness) -> None:
        self.config = config
        self._candidate = Candidate(config, random)
        self._following = Following(self._candidate)
        self._leading = Leading(self._candidate)
        self._releasing = Releasing(self._candidate)
        self._conflicted = False  # the doubt is a refused write
        self._slow_paths = 0

    # --- outputs besides actions -------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        return self._candidate.phase

    @property
    def valid_until(self) -> float | None:
        """The gate's value: until when (elapsed) this process may act as the leader; None when it may not."""
        return self._candidate.valid_until

    @property
    def token(self) -> int:
        return self._candidate.token

    @property
    def next_tick(self) -> float:
        """When (elapsed) ``tick`` must be called at the latest; infinity if only an input can bring news."""
        candidate = self._candidate
        if candidate.phase is Phase.IDLE:
            return NEVER
        idle = candidate.pending is None
        if candidate.phase is Phase.RELEASING:
            return min(self._releasing.next_end, candidate.next_attempt if idle else NEVER)
        due = candidate.watch_at if candidate.watch is None else NEVER
        if candidate.valid_until is not None:
            due = min(due, candidate.valid_until)
        if idle:
            following = candidate.phase is Phase.FOLLOWING
            due = min(due, self._following.next_act if following else candidate.next_attempt)
        return due

    def status(self) -> ElectionStatus:
        candidate, leading = self._candidate, self._leading
        lease = candidate.lease
        return ElectionStatus(
            name=self.config.name,
            namespace=self.config.namespace,
            identity=self.config.identity,
            phase=candidate.phase,
            holder=lease.holder if lease else "",
            token=candidate.token,
            resource_version=lease.resource_version if lease else "",
            valid_until=candidate.valid_until,
            renewed_at=leading.confirmed_at,
            seen_at=candidate.seen_at if candidate.known else None,
            watching=candidate.watch is not None,
            requests_total=candidate.requests,
            slowpath_total=self._slow_paths,
            acquisitions_total=leading.acquisitions,
            losses_total=leading.losses,
            last_error=candidate.last_error,
        )

    # --- inputs ------------------------------------------------------------------------------------------------------

    def campaign(self, now: float, wall: float) -> list[Action]:
        """Start to compete; does nothing while already competing or leading."""
        candidate = self._candidate
        if candidate.phase in {Phase.IDLE, Phase.RELEASING}:
            self._releasing.end()
            candidate.phase = Phase.FOLLOWING
            self._following.begin(now)
        return self._proceed(now, wall)

    def tick(self, now: float, wall: float) -> list[Action]:
        """Time has passed."""
        return self._proceed(now, wall)

    def answered(self, now: float, wall: float, request: int, status: int, body: bytes) -> list[Action]:
        """Take in the answer to ``request``, whatever its HTTP status."""
        candidate = self._candidate
        pending = candidate.take(request)
        if pending is None:
            return []
        try:
            record = LeaseRecord.decode(body) if 200 <= status < 300 else None
        except LeaseDecodeError as error:
            return self._trouble(pending, f"{pending.method} answered {status} but {error}", now, wall)
        if pending.method == "GET":
            if record is None and status != 404:
                return self._trouble(pending, f"GET answered {status}", now, wall)
            candidate.doubt = False
            candidate.next_attempt = now
            if record is not None:
                self._looked(pending, record, now, wall)
            elif candidate.floor == pending.floor:
                self._gone(now, wall, "the Lease is gone")
        elif record is not None:
            self._written(pending, record, now, wall)
        elif status == 409 or (status == 404 and pending.method == "PUT"):
            # Rule 3: evidence that the Lease is not what we hold. Look at once; never write again before.
            candidate.last_error = f"{pending.method} answered {status}"
            if candidate.phase is Phase.LEADING:
                self._slow_paths += 1
            candidate.doubt = self._conflicted = True
            candidate.next_attempt = now
        else:
            return self._trouble(pending, f"{pending.method} answered {status}", now, wall)
        return self._proceed(now, wall)

    def failed(self, now: float, wall: float, request: int, reason: str, *, sent: bool = True) -> list[Action]:
        """``request`` got no answer; with ``sent`` it may have been carried out all the same."""
        candidate = self._candidate
        pending = candidate.take(request)
        if pending is None:
            return []
        if not sent and pending.claim is not None:
            candidate.claims.drop(pending.claim)
        return self._trouble(pending, f"{pending.method} failed: {reason}", now, wall)

    def watch_event(self, now: float, wall: float, watch: int, kind: str, item: Mapping[str, Any]) -> list[Action]:
        """Take in one line of the watch: its type and object."""
        candidate = self._candidate
        if watch != candidate.watch:
            return []
        if kind == "ERROR":
            return self.watch_ended(
                now, wall, watch, int(item.get("code") or 0), str(item.get("message") or "ERROR event")
            )
        if kind == "BOOKMARK":
            candidate.schedule_poll(now)
            return self._proceed(now, wall)
        try:
            record = LeaseRecord.decode(item)
        except LeaseDecodeError as error:
            return self.watch_ended(now, wall, watch, 0, f"event of type {kind}: {error}")
        # Rule 3: only what is newer than our last write (or anything else we know) counts.
        if record.version > candidate.floor:
            candidate.floor = record.version
            if kind == "DELETED":
                self._gone(now, wall, "the Lease was deleted")
            else:
                self._learn(record, now, wall)
        return self._proceed(now, wall)

    def watch_ended(self, now: float, wall: float, watch: int, status: int = 0, reason: str = "") -> list[Action]:
        """The watch is over: ``status`` is its HTTP status if that was no success, 0 for a broken or ended stream."""
        candidate = self._candidate
        if watch != candidate.watch:
            return []
        candidate.close_watch()
        if reason:
            candidate.last_error = f"watch: {reason}"
        retry = self.config.retry_period
        if status in {401, 403, 404, 405}:
            candidate.watch_at = now + 30 * retry  # rule 4: polling where watching is forbidden; rights may come later
        elif now - candidate.watch_opened_at >= 1.0:
            candidate.watch_at = now
        else:
            candidate.watch_at = now + candidate.random.jitter(retry / 2, 1.0)
        candidate.schedule_poll(now)
        return self._proceed(now, wall)

    def release(self, now: float, wall: float) -> list[Action]:
        """Give the Lease back, within renew_deadline / 2. Call it only when all leader-only work has stopped (rule 6).

        It ends at once where there is nothing to give, and no later than our last write stays valid: who has lost the
        Lease, or could not renew it for that long, leaves it to run out.
        """
        phase = self._candidate.phase
        if phase is Phase.LEADING:
            self._leading.expire(now, wall)  # slept past valid-until, perhaps: that is a loss
            phase = self._candidate.phase
        if phase in {Phase.FOLLOWING, Phase.LEADING}:
            self._releasing.begin(now)
        return self._proceed(now, wall)

    def stop(self, now: float, wall: float) -> list[Action]:
        """Stop competing and leading without a release: the Lease runs out by itself."""
        if self._candidate.phase is Phase.LEADING:
            self._leading.lose(wall, "stopped without a release")
        self._releasing.end()
        return self._candidate.flush()

    # --- what is learnt ----------------------------------------------------------------------------------------------

    def _looked(self, pending: Pending, record: LeaseRecord, now: float, wall: float) -> None:
        candidate = self._candidate
        conflicted, self._conflicted = self._conflicted, False
        if conflicted and candidate.lease is not None and candidate.lease.resource_version == record.resource_version:
            # Refused although nothing changed (an admission plugin, perhaps): don't hammer.
            candidate.next_attempt = now + candidate.random.jitter(self.config.retry_period / 4, 1.0)
        if record.version < pending.floor and candidate.floor == pending.floor:
            candidate.floor = record.version  # the server went back in time (restored from a backup): its word counts
            self._learn(record, now, wall)
        elif record.version >= candidate.floor:
            fresh = record.version > candidate.floor and pending.floor == candidate.floor
            if (
                fresh
                and candidate.watch is not None
                and candidate.lease is not None
                and pending.sent_at >= candidate.poll_at
            ):
                candidate.close_watch()  # silence was not silence: the watch is dead
                candidate.watch_at = now
            candidate.floor = record.version
            self._learn(record, now, wall)

    def _written(self, pending: Pending, record: LeaseRecord, now: float, wall: float) -> None:
        candidate = self._candidate
        if candidate.phase is not Phase.LEADING:
            candidate.next_attempt = now
            candidate.doubt = False
        if record.version > candidate.floor or record.version == pending.floor:
            candidate.floor = max(candidate.floor, record.version)
            self._learn(record, now, wall)
        elif candidate.lease is None or candidate.lease.resource_version != record.resource_version:
            candidate.doubt = True  # our write is already history: somebody wrote after it
            candidate.next_attempt = now

    def _learn(self, record: LeaseRecord, now: float, wall: float) -> None:
        """Take in a version of the Lease that is the newest known."""
        candidate = self._candidate
        if candidate.phase is Phase.LEADING:
            self._leading.judge(record, now, wall)
            return
        old = candidate.lease
        changed = not candidate.known or old is None or old.terms != record.terms or old.uid != record.uid
        if changed:
            candidate.seen_at = now
        candidate.known, candidate.lease = True, record
        claim = candidate.claims.of(record)
        if claim is None:
            candidate.claims.clear()  # all were written on versions that are past: none can come true any more
        if candidate.phase is Phase.FOLLOWING:
            if claim is not None and record.holder:
                if not self._leading.begin(claim, record, now, wall):
                    self._following.take_at_once(now)
            elif changed:
                self._following.changed(record, now)
        candidate.report_leader(record, wall)
        candidate.schedule_poll(now)

    def _gone(self, now: float, wall: float, reason: str) -> None:
        candidate = self._candidate
        old, candidate.lease = candidate.lease, None
        if candidate.phase is Phase.LEADING:
            candidate.known = True
            self._leading.lose(wall, reason)
            return
        if candidate.phase is Phase.FOLLOWING:
            self._following.gone(old, now)
        candidate.known = True
        candidate.seen_at = now
        candidate.schedule_poll(now)

    # --- what is done ------------------------------------------------------------------------------------------------

    def _proceed(self, now: float, wall: float) -> list[Action]:
        candidate = self._candidate
        if candidate.phase is Phase.LEADING:
            self._leading.expire(now, wall)
        elif candidate.phase is Phase.RELEASING:
            self._releasing.expire(now, wall)
        if candidate.phase is Phase.IDLE:
            return candidate.flush()
        if candidate.pending is None and now >= candidate.next_attempt:
            if candidate.phase is Phase.LEADING:
                self._leading.proceed(now, wall)
            elif candidate.phase is Phase.FOLLOWING:
                self._following.proceed(now, wall)
            else:
                self._releasing.proceed(now, wall)
        if (
            candidate.watch is None
            and now >= candidate.watch_at
            and candidate.phase in {Phase.FOLLOWING, Phase.LEADING}
        ):
            candidate.open_watch(now)
        return candidate.flush()

    def _trouble(self, pending: Pending, reason: str, now: float, wall: float) -> list[Action]:
        """An answer that helps nobody: try again soon enough, and look first if a write may have been carried out."""
        candidate = self._candidate
        candidate.last_error = reason
        if pending.claim is not None and candidate.phase is not Phase.LEADING:
            candidate.doubt = True
        retry = self.config.retry_period
        if candidate.phase is Phase.LEADING:
            # Look again sooner than renew again: a 409 is waiting to be understood.
            pause = retry / 4 if candidate.doubt else retry
            candidate.next_attempt = max(pending.sent_at + pause, now + 0.05 * retry)
        elif candidate.phase is Phase.RELEASING:
            candidate.next_attempt = now + 0.05 * retry
        else:
            candidate.next_attempt = now + candidate.random.jitter(retry / 2, self.config.jitter_factor)
        return self._proceed(now, wall)

    def __repr__(self) -> str:
        lease = f"{self.config.namespace}/{self.config.name}"
        return f"<Elector {self.config.identity!r} {self.phase.value} lease={lease}>"
