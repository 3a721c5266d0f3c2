"""What a candidate knows and has under way, whichever of its roles acts: the Lease as last seen, one request, one watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyoperator.leaderelection._actions import (
    Action,
    CancelRequest,
    CloseWatch,
    OpenWatch,
    Phase,
    Report,
    SendRequest,
    Transition,
    TransitionKind,
)
from pyoperator.leaderelection._claims import Claim, Claims
from pyoperator.leaderelection._record import LeaseRecord, Terms, encode_new

if TYPE_CHECKING:
    from pyoperator.clock import Randomness
    from pyoperator.leaderelection._config import ElectionConfig

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Pending:
    """The one request in flight. ``floor`` is the highest version that was known when it was sent."""

    request: int
    method: Literal["GET", "PUT", "POST"]
    sent_at: float
    floor: int
    claim: Claim | None = None


class Candidate:
    """State and means shared by the roles (following, leading, releasing); each rule lives with its role."""

    def __init__(self, config: ElectionConfig, random: Randomness) -> None:
        self.config = config
        self.random = random
        self.phase = Phase.IDLE
        # What is known of the Lease. A None lease is either "not looked yet" or "there is none" (known tells).
        self.known = False
        self.lease: LeaseRecord | None = None
        self.seen_at = 0.0
        self.floor = -1  # highest resourceVersion seen; older news is no news
        self.claims = Claims()
        # The gate's value and the fencing token; they are set by the leading role only.
        self.valid_until: float | None = None
        self.token = 0
        # Work in progress.
        self.pending: Pending | None = None
        self.doubt = False  # a 409, 404 or a lost answer: look before the next write
        self.next_attempt = 0.0
        self.give_up_at = NEVER  # releasing: no request may outlast this
        self.poll_at = 0.0
        self.watch: int | None = None
        self.watch_opened_at = 0.0
        self.watch_at = 0.0
        # What is told.
        self.requests = 0
        self.last_error = ""
        self._sequence = 0
        self._reported_holder = ""
        self._actions: list[Action] = []

    # Requests.

    def look(self, now: float) -> None:
        self._send("GET", now)

    def write(self, now: float, terms: Terms) -> None:
        """Claim ``terms`` on exactly the version last seen, or in a new Lease if there is none."""
        claim = self.claims.add(terms, self.lease.uid if self.lease else "", now)
        if self.lease is None:
            self._send("POST", now, encode_new(self.config, terms), claim)
        else:
            self._send("PUT", now, self.lease.encode_with(terms), claim)

    def _send(
        self, method: Literal["GET", "PUT", "POST"], now: float, body: bytes | None = None, claim: Claim | None = None
    ) -> None:
        self._sequence += 1
        self.requests += 1
        self.pending = Pending(self._sequence, method, now, self.floor, claim)
        remaining = [self.config.request_timeout, self.give_up_at - now]
        if self.valid_until is not None:
            remaining.append(self.valid_until - now)
        path = self.config.collection_path if method == "POST" else self.config.path
        self._actions.append(SendRequest(self._sequence, method, path, body, max(min(remaining), 0.001)))

    def take(self, request: int) -> Pending | None:
        """Return the request in flight if it is this one; it is over then."""
        pending = self.pending
        if pending is None or pending.request != request:
            return None
        self.pending = None
        return pending

    def cancel_pending(self) -> None:
        if self.pending is not None:
            self._actions.append(CancelRequest(self.pending.request))
            self.pending = None

    # The watch, and polling, which stands in for it.

    def open_watch(self, now: float) -> None:
        self._sequence += 1
        self.watch, self.watch_opened_at = self._sequence, now
        query = (
            ("watch", "1"),
            ("fieldSelector", f"metadata.name={self.config.name}"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(int(self.random.uniform(300, 600)))),
        )
        self._actions.append(
            # No resourceVersion: the first event is the present state, so nothing is missed between two watches. A
            # live leader renews every retry period, so a longer silence than a lease is worth a new connection.
            OpenWatch(
                self.watch,
                self.config.collection_path,
                query,
                self.config.request_timeout,
                2 * self.config.lease_duration,
            )
        )

    def close_watch(self) -> None:
        if self.watch is not None:
            self._actions.append(CloseWatch(self.watch))
            self.watch = None

    def schedule_poll(self, now: float) -> None:
        if self.watch is None:
            self.poll_at = now + self.random.jitter(self.config.retry_period, self.config.jitter_factor)
        else:
            # Half a lease of silence on the watch: ask, in case the watch is dead rather than the leader.
            self.poll_at = now + max(self.config.retry_period, self.config.lease_duration / 2)

    # Ends.

    def retire(self) -> None:
        """Close the gate and drop whatever is under way: this candidate neither leads nor competes."""
        self.valid_until = None
        self.cancel_pending()
        self.close_watch()
        self.phase = Phase.IDLE

    # What is told.

    def report(self, kind: TransitionKind, wall: float, holder: str, reason: str = "", *, silent: bool = False) -> None:
        config = self.config
        token = self.lease.transitions if kind == "new_leader" and self.lease is not None else self.token
        uid = self.lease.uid if self.lease is not None else ""
        self._actions.append(
            Report(
                Transition(
                    kind, config.namespace, config.name, config.identity, holder, token, wall, reason, uid, silent
                )
            )
        )

    def report_leader(self, record: LeaseRecord, wall: float) -> None:
        """Tell who leads, if that is news."""
        if record.holder != self._reported_holder:
            self._reported_holder = record.holder
            if record.holder:
                self.report("new_leader", wall, record.holder)

    def flush(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions
