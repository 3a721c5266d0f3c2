"""The elector: one candidate's rules as a state machine without I/O, clock or thread.

Inputs are readings of a clock, answers, watch events, ticks and requests to campaign, release or stop; outputs are
actions, the time of the next tick, and valid-until. Compatible with client-go, so both can compete for one Lease; where
it differs (see the rules in the comments) it never acts earlier than client-go would let it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pyoperator.leaderelection._actions import (
    Action,
    CancelRequest,
    CloseWatch,
    ElectionStatus,
    OpenWatch,
    Phase,
    Report,
    SendRequest,
    Transition,
    TransitionKind,
)
from pyoperator.leaderelection._record import LeaseDecodeError, LeaseRecord, Terms, encode_new
from pyoperator.objects import format_micro_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.clock import Randomness
    from pyoperator.leaderelection._config import ElectionConfig

_NEVER = float("inf")
_REMEMBERED_CLAIMS = 32


@dataclass(frozen=True, slots=True)
class _Claim:
    """Terms this process sent, and when: what is needed to recognise a write whose answer was lost."""

    terms: Terms
    uid: str
    sent_at: float


@dataclass(frozen=True, slots=True)
class _Pending:
    """The one request in flight."""

    request: int
    method: Literal["GET", "PUT", "POST"]
    sent_at: float
    floor: int
    claim: _Claim | None = None


class Elector:
    """One candidate. Every input method takes ``now`` (elapsed) and ``wall`` in seconds and returns actions in order."""

    def __init__(self, config: ElectionConfig, random: Randomness) -> None:
        self.config = config
        self._random = random
        self._phase = Phase.IDLE
        # What is known of the Lease. A None lease is either "not looked yet" or "there is none" (_known tells).
        self._known = False
        self._lease: LeaseRecord | None = None
        self._seen_at = 0.0
        self._floor = -1  # highest resourceVersion seen; older news is no news
        self._acquire_at = _NEVER
        self._reported_holder = ""
        # What this process claimed, oldest first. The first that matches a Lease tells from when it is valid.
        self._claims: list[_Claim] = []
        self._last_renewed = ""
        # Leading.
        self._valid_until: float | None = None
        self._confirmed_at: float | None = None
        self._tenure: Terms | None = None
        self._token = 0
        # Work in progress.
        self._pending: _Pending | None = None
        self._doubt = False  # a 409, 404 or a lost answer: look before the next write
        self._conflicted = False  # the doubt is a refused write
        self._next_attempt = 0.0
        self._poll_at = 0.0
        self._following_since = 0.0
        self._release_deadline = _NEVER
        self._overtake_at = _NEVER  # releasing: until when an acquisition in flight may still be answered
        self._watch: int | None = None
        self._watch_opened_at = 0.0
        self._watch_at = 0.0
        # Counters.
        self._sequence = 0
        self._requests = self._slow_paths = self._acquisitions = self._losses = 0
        self._last_error = ""
        self._actions: list[Action] = []

    # --- outputs besides actions -------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def valid_until(self) -> float | None:
        """The gate's value: until when (elapsed) this process may act as the leader; None when it may not."""
        return self._valid_until

    @property
    def token(self) -> int:
        return self._token

    @property
    def next_tick(self) -> float:
        """When (elapsed) ``tick`` must be called at the latest; infinity if only an input can bring news."""
        if self._phase is Phase.IDLE:
            return _NEVER
        watch_at = _NEVER if self._watch is not None or self._phase is Phase.RELEASING else self._watch_at
        act_at = _NEVER
        if self._pending is None:
            act_at = self._next_attempt
            if self._phase is Phase.FOLLOWING and self._known and not self._doubt:
                act_at = max(act_at, min(self._acquire_at, self._poll_at))
        end_at = _NEVER
        if self._phase is Phase.RELEASING:
            end_at = min(self._release_deadline, _NEVER if self._pending is None else self._overtake_at)
        return min(watch_at, act_at, end_at, _NEVER if self._valid_until is None else self._valid_until)

    def status(self) -> ElectionStatus:
        return ElectionStatus(
            name=self.config.name,
            namespace=self.config.namespace,
            identity=self.config.identity,
            phase=self._phase,
            holder=self._lease.holder if self._lease else "",
            token=self._token,
            resource_version=self._lease.resource_version if self._lease else "",
            valid_until=self._valid_until,
            renewed_at=self._confirmed_at,
            seen_at=self._seen_at if self._known else None,
            watching=self._watch is not None,
            requests_total=self._requests,
            slowpath_total=self._slow_paths,
            acquisitions_total=self._acquisitions,
            losses_total=self._losses,
            last_error=self._last_error,
        )

    # --- inputs ------------------------------------------------------------------------------------------------------

    def campaign(self, now: float, wall: float) -> list[Action]:
        """Start to compete; does nothing while already competing or leading."""
        if self._phase in {Phase.IDLE, Phase.RELEASING}:
            self._cancel_pending()
            self._phase = Phase.FOLLOWING
            self._known, self._doubt = False, False  # what was known may be long past: look first
            self._next_attempt = self._watch_at = self._following_since = now
            self._release_deadline = _NEVER
        return self._proceed(now, wall)

    def tick(self, now: float, wall: float) -> list[Action]:
        """Time has passed."""
        return self._proceed(now, wall)

    def answered(self, now: float, wall: float, request: int, status: int, body: bytes) -> list[Action]:
        """Take in the answer to ``request``, whatever its HTTP status."""
        pending = self._take(request)
        if pending is None:
            return []
        try:
            record = LeaseRecord.decode(body) if 200 <= status < 300 else None
        except LeaseDecodeError as error:
            return self._trouble(pending, f"{pending.method} answered {status} but {error}", now, wall)
        if pending.method == "GET":
            if record is not None:
                self._doubt = False
                self._next_attempt = now
                self._looked(pending, record, now, wall)
            elif status == 404:
                self._doubt = False
                self._next_attempt = now
                if self._floor == pending.floor:
                    self._gone(now, wall, "the Lease is gone")
            else:
                return self._trouble(pending, f"GET answered {status}", now, wall)
        elif record is not None:
            if self._phase is not Phase.LEADING:
                self._next_attempt = now
                self._doubt = False
            if record.version > self._floor or record.version == pending.floor:
                self._floor = max(self._floor, record.version)
                self._learn(record, now, wall)
            elif self._lease is None or self._lease.resource_version != record.resource_version:
                self._doubt = True  # our write is already history: somebody wrote after it
                self._next_attempt = now
        elif status == 409 or (status == 404 and pending.method == "PUT"):
            # Rule 3: evidence that the Lease is not what we hold. Look at once; never write again before.
            self._last_error = f"{pending.method} answered {status}"
            if self._phase is Phase.LEADING:
                self._slow_paths += 1
            self._doubt = self._conflicted = True
            self._next_attempt = now
        else:
            return self._trouble(pending, f"{pending.method} answered {status}", now, wall)
        return self._proceed(now, wall)

    def failed(self, now: float, wall: float, request: int, reason: str, *, sent: bool = True) -> list[Action]:
        """``request`` got no answer; with ``sent`` it may have been carried out all the same."""
        pending = self._take(request)
        if pending is None:
            return []
        if not sent and pending.claim is not None:
            self._claims = [claim for claim in self._claims if claim is not pending.claim]
        return self._trouble(pending, f"{pending.method} failed: {reason}", now, wall)

    def watch_event(self, now: float, wall: float, watch: int, kind: str, item: Mapping[str, Any]) -> list[Action]:
        """Take in one line of the watch: its type and object."""
        if watch != self._watch:
            return []
        if kind == "ERROR":
            return self.watch_ended(
                now, wall, watch, int(item.get("code") or 0), str(item.get("message") or "ERROR event")
            )
        if kind == "BOOKMARK":
            self._schedule_poll(now)
            return self._proceed(now, wall)
        try:
            record = LeaseRecord.decode(item)
        except LeaseDecodeError as error:
            return self.watch_ended(now, wall, watch, 0, f"event of type {kind}: {error}")
        # Rule 3: only what is newer than our last write (or anything else we know) counts.
        if record.version > self._floor:
            self._floor = record.version
            if kind == "DELETED":
                self._gone(now, wall, "the Lease was deleted")
            else:
                self._learn(record, now, wall)
        return self._proceed(now, wall)

    def watch_ended(self, now: float, wall: float, watch: int, status: int = 0, reason: str = "") -> list[Action]:
        """The watch is over: ``status`` is its HTTP status if that was no success, 0 for a broken or ended stream."""
        if watch != self._watch:
            return []
        self._watch = None
        self._actions.append(CloseWatch(watch))
        if reason:
            self._last_error = f"watch: {reason}"
        retry = self.config.retry_period
        if status in {401, 403, 404, 405}:
            self._watch_at = now + 30 * retry  # rule 4: polling where watching is forbidden; rights may come later
        elif now - self._watch_opened_at >= 1.0:
            self._watch_at = now
        else:
            self._watch_at = now + self._random.jitter(retry / 2, 1.0)
        self._schedule_poll(now)
        return self._proceed(now, wall)

    def release(self, now: float, wall: float) -> list[Action]:
        """Give the Lease back, within renew_deadline / 2. Call it only when all leader-only work has stopped (rule 6)."""
        if self._phase is Phase.RELEASING:
            return self._proceed(now, wall)
        self._close_gate()
        # An acquisition in flight is waited for, shortly: a look at the Lease might come before it, find nothing of
        # ours, and leave the Lease to a process that is gone.
        acquiring = self._phase is Phase.FOLLOWING and self._pending is not None and self._pending.claim is not None
        self._overtake_at = now + self.config.retry_period / 2 if acquiring else _NEVER
        if not acquiring:
            self._cancel_pending()
        self._close_watch()
        self._phase = Phase.RELEASING
        self._release_deadline = now + self.config.renew_deadline / 2
        self._next_attempt = now
        # Claims without an answer may have been carried out: look first.
        mine = self._lease is not None and self._claim_of(self._lease) is not None
        self._doubt = not mine and bool(self._claims)
        if not mine and not self._doubt:
            self._phase = Phase.IDLE
        return self._proceed(now, wall)

    def stop(self, now: float, wall: float) -> list[Action]:
        """Stop competing and leading without a release: the Lease runs out by itself."""
        if self._phase is Phase.LEADING:
            self._lose(now, wall, "stopped without a release")
        self._abort()
        return self._flush()

    # --- what is learnt ----------------------------------------------------------------------------------------------

    def _looked(self, pending: _Pending, record: LeaseRecord, now: float, wall: float) -> None:
        conflicted, self._conflicted = self._conflicted, False
        if conflicted and self._lease is not None and self._lease.resource_version == record.resource_version:
            # Refused although nothing changed (an admission plugin, perhaps): don't hammer.
            self._next_attempt = now + self._random.jitter(self.config.retry_period / 4, 1.0)
        if record.version < pending.floor and self._floor == pending.floor:
            self._floor = record.version  # the server went back in time (restored from a backup): its word counts
            self._learn(record, now, wall)
        elif record.version >= self._floor:
            fresh = record.version > self._floor and pending.floor == self._floor
            if fresh and self._watch is not None and self._lease is not None and pending.sent_at >= self._poll_at:
                self._close_watch()  # silence was not silence: the watch is dead
                self._watch_at = now
            self._floor = record.version
            self._learn(record, now, wall)

    def _learn(self, record: LeaseRecord, now: float, wall: float) -> None:
        """Take in a version of the Lease that is the newest known."""
        if self._phase is Phase.LEADING:
            self._judge(record, now, wall)
            return
        old = self._lease
        changed = not self._known or old is None or old.terms != record.terms or old.uid != record.uid
        if changed:
            self._seen_at = now
        self._known, self._lease = True, record
        claim = self._claim_of(record)
        if claim is None:
            self._claims.clear()  # all were written on versions that are past: none can come true any more
        if self._phase is Phase.FOLLOWING:
            if claim is not None and record.holder:
                self._acquired(claim, record, now, wall)
            elif changed:
                if not record.holder:
                    self._acquire_at = now + self._handover_delay(now)
                else:
                    # Counted from when *we* saw it change, by the duration its holder promised; a timestamp of
                    # another machine is never compared. Seen after it was sent, so never early.
                    self._acquire_at = now + record.duration
        self._report_leader(record, wall)
        self._schedule_poll(now)

    def _judge(self, record: LeaseRecord, now: float, wall: float) -> None:
        """Rule 3: as the leader, weigh a version of the Lease that is newer than what we know."""
        claim = self._claim_of(record)
        if claim is not None:
            self._confirm(claim, record)
            return
        held = self._lease
        if record.holder != self.config.identity:
            self._lease, self._seen_at, self._known = record, now, True
            self._lose(
                now, wall, f"the Lease is held by {record.holder!r}" if record.holder else "the Lease was released"
            )
        elif held is None or record.uid != held.uid:
            self._lose(now, wall, "the Lease was replaced")
        elif self._tenure is None or (record.terms.acquired, record.terms.renewed) != (
            self._tenure.acquired,
            self._tenure.renewed,
        ):
            self._lose(now, wall, "somebody else renews the Lease under this identity")
        else:
            # Edited by hand but still ours: write our terms again on this very version.
            self._lease = record
            self._next_attempt = now
            if record.duration < self.config.lease_duration and self._valid_until is not None:
                share = self.config.renew_deadline / self.config.lease_duration
                self._valid_until = min(self._valid_until, now + record.duration * share)

    def _gone(self, now: float, wall: float, reason: str) -> None:
        old, self._lease = self._lease, None
        if self._phase is Phase.LEADING:
            self._known = True
            self._lose(now, wall, reason)
            return
        if self._phase is Phase.FOLLOWING and (old is not None or not self._known):
            # Whoever held it may not know yet: let the terms it was last seen with run out, unless they were ours.
            held = old is not None and bool(old.holder) and self._claim_of(old) is None
            until = self._seen_at + old.duration if held and old is not None else now
            self._acquire_at = max(until, now + self._handover_delay(now))
        self._known = True
        self._seen_at = now
        self._schedule_poll(now)

    def _acquired(self, claim: _Claim, record: LeaseRecord, now: float, wall: float) -> None:
        until = claim.sent_at + self.config.renew_deadline
        over = self._tenure is not None and claim.terms.acquired == self._tenure.acquired
        if over or now >= until - self.config.write_margin:
            # Ours, but from a tenure that is over, or answered so late that nothing could be done with it. Nobody
            # else leads: take it again at once, as a new tenure.
            self._acquire_at = now
            return
        self._phase = Phase.LEADING
        self._acquisitions += 1
        self._token = record.transitions
        self._confirmed_at = None
        self._confirm(claim, record)
        self._report("acquired", wall, record.holder)
        self._report_leader(record, wall)

    def _confirm(self, claim: _Claim, record: LeaseRecord) -> None:
        """Our write is in the Lease: valid from *before it was sent* (rule 1), not from when we learnt of it."""
        self._lease = record
        self._doubt = False
        # Earlier claims can't come true any more: they were written on versions that are past.
        self._claims = self._claims[self._claims.index(claim) :]
        if self._confirmed_at is None or claim.sent_at > self._confirmed_at:
            self._confirmed_at = claim.sent_at
            self._tenure = claim.terms
            self._valid_until = claim.sent_at + self.config.renew_deadline
            self._next_attempt = claim.sent_at + self.config.retry_period
            self._last_error = ""

    def _claim_of(self, record: LeaseRecord) -> _Claim | None:
        for claim in self._claims:
            if claim.terms == record.terms and claim.uid in {"", record.uid}:
                return claim
        return None

    # --- what is done ------------------------------------------------------------------------------------------------

    def _proceed(self, now: float, wall: float) -> list[Action]:
        if self._phase is Phase.LEADING and self._valid_until is not None and now >= self._valid_until:
            self._lose(
                now, wall, f"not renewed within {self.config.renew_deadline:g} s: {self._last_error or 'no answer'}"
            )
        if self._phase is Phase.RELEASING and now >= self._release_deadline:
            self._report("release_failed", wall, self.config.identity, self._last_error or "no answer in time")
            self._abort()
        if self._phase is Phase.RELEASING and now >= self._overtake_at:
            self._overtake_at = _NEVER
            self._cancel_pending()
        if self._phase is Phase.IDLE:
            return self._flush()
        if self._pending is None and now >= self._next_attempt:
            if self._phase is Phase.LEADING:
                self._renew(now, wall)
            elif self._phase is Phase.FOLLOWING:
                self._follow(now, wall)
            else:
                self._give_back(now, wall)
        if self._watch is None and now >= self._watch_at and self._phase in {Phase.FOLLOWING, Phase.LEADING}:
            self._open_watch(now)
        return self._flush()

    def _renew(self, now: float, wall: float) -> None:
        if self._doubt or self._lease is None or self._tenure is None:
            self._send("GET", now)
        else:
            self._write(now, Terms(
                self.config.identity, int(self.config.lease_duration), self._tenure.acquired, self._stamp(wall), self._token
            ))  # fmt: skip

    def _follow(self, now: float, wall: float) -> None:
        if not self._known or self._doubt:
            self._send("GET", now)
        elif now >= self._acquire_at:
            # On exactly the version whose age was observed: if its holder renewed, this write must fail.
            stamp = self._stamp(wall)
            transitions = 0 if self._lease is None else self._lease.transitions + 1
            self._write(now, Terms(self.config.identity, int(self.config.lease_duration), stamp, stamp, transitions))
        elif now >= self._poll_at:
            self._send("GET", now)

    def _give_back(self, now: float, wall: float) -> None:
        if self._doubt:
            self._send("GET", now)
            return
        lease = self._lease
        if lease is not None and not lease.holder and self._claim_of(lease) is not None:
            self._claims.clear()
            self._report("released", wall, "")
            self._abort()
        elif lease is None or self._claim_of(lease) is None:
            self._abort()  # not ours any more: nothing to give back
        else:
            stamp = self._stamp(wall)
            self._write(now, Terms("", 1, stamp, stamp, lease.transitions))

    def _write(self, now: float, terms: Terms) -> None:
        claim = _Claim(terms, self._lease.uid if self._lease else "", now)
        self._claims = [*self._claims[-_REMEMBERED_CLAIMS:], claim]
        self._last_renewed = terms.renewed
        if self._lease is None:
            self._send("POST", now, encode_new(self.config, terms), claim)
        else:
            self._send("PUT", now, self._lease.encode_with(terms), claim)

    def _send(
        self, method: Literal["GET", "PUT", "POST"], now: float, body: bytes | None = None, claim: _Claim | None = None
    ) -> None:
        self._sequence += 1
        self._requests += 1
        self._pending = _Pending(self._sequence, method, now, self._floor, claim)
        remaining = [self.config.request_timeout]
        if self._valid_until is not None:
            remaining.append(self._valid_until - now)
        if self._phase is Phase.RELEASING:
            remaining.append(self._release_deadline - now)
        path = self.config.collection_path if method == "POST" else self.config.path
        self._actions.append(SendRequest(self._sequence, method, path, body, max(min(remaining), 0.001)))

    def _trouble(self, pending: _Pending, reason: str, now: float, wall: float) -> list[Action]:
        """An answer that helps nobody: try again soon enough, and look first if a write may have been carried out."""
        self._last_error = reason
        if pending.claim is not None and self._phase is not Phase.LEADING:
            self._doubt = True
        retry = self.config.retry_period
        if self._phase is Phase.LEADING:
            # Look again sooner than renew again: a 409 is waiting to be understood.
            pause = retry / 4 if self._doubt else retry
            self._next_attempt = max(pending.sent_at + pause, now + 0.05 * retry)
        elif self._phase is Phase.RELEASING:
            self._next_attempt = now + 0.05 * retry
        else:
            self._next_attempt = now + self._random.jitter(retry / 2, self.config.jitter_factor)
        return self._proceed(now, wall)

    def _lose(self, now: float, wall: float, reason: str) -> None:
        self._losses += 1
        self._abort()
        self._last_error = reason
        self._report("lost", wall, self._lease.holder if self._lease else "", reason)
        if self._lease is not None:
            self._report_leader(self._lease, wall)

    def _abort(self) -> None:
        self._close_gate()
        self._cancel_pending()
        self._close_watch()
        self._phase = Phase.IDLE

    def _close_gate(self) -> None:
        self._valid_until = None

    def _cancel_pending(self) -> None:
        if self._pending is not None:
            self._actions.append(CancelRequest(self._pending.request))
            self._pending = None

    def _open_watch(self, now: float) -> None:
        self._sequence += 1
        self._watch, self._watch_opened_at = self._sequence, now
        query = (
            ("watch", "1"),
            ("fieldSelector", f"metadata.name={self.config.name}"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(int(self._random.uniform(300, 600)))),
        )
        self._actions.append(
            # No resourceVersion: the first event is the present state, so nothing is missed between two watches. A
            # live leader renews every retry period, so a longer silence than a lease is worth a new connection.
            OpenWatch(
                self._watch,
                self.config.collection_path,
                query,
                self.config.request_timeout,
                2 * self.config.lease_duration,
            )
        )

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._actions.append(CloseWatch(self._watch))
            self._watch = None

    def _schedule_poll(self, now: float) -> None:
        if self._watch is None:
            self._poll_at = now + self._random.jitter(self.config.retry_period, self.config.jitter_factor)
        else:
            # Half a lease of silence on the watch: ask, in case the watch is dead rather than the leader.
            self._poll_at = now + max(self.config.retry_period, self.config.lease_duration / 2)

    def _handover_delay(self, now: float) -> float:
        """Return 0 - 20 ms to wait before a free Lease is taken, shorter for candidates that began to follow lately.

        In a rolling update the replicas of the new version are the youngest, and electing one of them saves further
        changes of leader. Each knows its own age only, which needs no coordination and no comparison of clocks.
        """
        age = max(0.0, now - self._following_since)
        return 0.008 * self._random.random() + 0.012 * age / (age + 30.0)

    def _stamp(self, wall: float) -> str:
        """Render now, never twice the same: renewTime is what tells our writes apart."""
        text = format_micro_time(wall)
        while text == self._last_renewed or any(claim.terms.renewed == text for claim in self._claims):
            wall += 1e-6
            text = format_micro_time(wall)
        return text

    def _take(self, request: int) -> _Pending | None:
        pending = self._pending
        if pending is None or pending.request != request:
            return None
        self._pending = None
        return pending

    def _report_leader(self, record: LeaseRecord, wall: float) -> None:
        if record.holder != self._reported_holder:
            self._reported_holder = record.holder
            if record.holder:
                self._report("new_leader", wall, record.holder)

    def _report(self, kind: TransitionKind, wall: float, holder: str, reason: str = "") -> None:
        config = self.config
        token = self._lease.transitions if kind == "new_leader" and self._lease is not None else self._token
        uid = self._lease.uid if self._lease is not None else ""
        self._actions.append(
            Report(Transition(kind, config.namespace, config.name, config.identity, holder, token, wall, reason, uid))
        )

    def _flush(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def __repr__(self) -> str:
        return (
            f"<Elector {self.config.identity!r} {self._phase.value} lease={self.config.namespace}/{self.config.name}>"
        )
