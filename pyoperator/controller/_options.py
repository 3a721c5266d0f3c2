"""What can be set on a controller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyoperator.controller._arguments import checked_function
from pyoperator.controller._levels import Aging
from pyoperator.controller._rate_limit import Backoff, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.controller._request import Request

_NUMBERS = (
    "max_concurrent_reconciles", "cache_sync_timeout", "reconciliation_timeout", "max_retries", "standby_backlog",
    "stuck_after",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerOptions:
    """Settings of a controller; durations in seconds, defaults as in controller-runtime unless said.

    ``max_concurrent_reconciles``: workers; one key is never in two of them.
    ``cache_sync_timeout``: how long a kind that the server does serve may take to sync before ``run`` fails. A kind
    that is not installed, not allowed, or whose server is away never expires: it is logged and waited for.
    ``reconciliation_timeout``: cancels a reconcile that takes longer (a retry with backoff follows). A reconcile in a
    thread cannot be cancelled: it keeps its worker, and counts as timed out when it ends. None: no limit.
    ``recover_panic``: an exception that means a bug (TypeError, KeyError, ...) is counted as a panic and retried like
    any error; False lets it end the controller, and with it the manager. Errors of the API never do.
    ``need_leader_election``: workers run only on the leader; False runs them on every replica.
    ``max_retries``, ``on_dead_letter`` (ours): give up on a key after so many consecutive failures and call the hook with
    the key and the last error (None after ``Result(backoff=True)``). It may be a plain function, which runs on the loop
    and must not block, or an ``async def``, which the key's worker awaits, at most ``reconciliation_timeout`` long. Its
    own errors are logged. The key comes back with its next event.
    ``backoff``: of each key; ``rate_limit``: makes the token bucket shared by all retries of the controller.
    ``aging`` (ours): keeps less important keys from starving, by default from 30 s on with one in ten takings; None: off.
    ``drain_queue`` (ours): on a clean stop also work off what is ready, up to the manager's deadline. By default only
    running reconciles are finished: the next leader reconciles everything in any case.
    ``standby_backlog`` (ours): how many keys are collected while the controller does not run; beyond it the
    least important, of those the ones not heard of for longest, are dropped, and the next start enqueues what all its watches find in the cache, as on a replica
    that has just come up. Keeps a standby from growing with every object that comes and goes. None, or a watch whose
    source can't deliver again what exists (a channel, a function): all are collected.
    ``stuck_after`` (ours): a reconcile older than this fails the stuck-reconcile check; None: never.
    """

    max_concurrent_reconciles: int = 1
    cache_sync_timeout: float = 120.0
    reconciliation_timeout: float | None = None
    recover_panic: bool = True
    need_leader_election: bool = True
    max_retries: int | None = None
    on_dead_letter: Callable[[Request, BaseException | None], Awaitable[None] | None] | None = None
    backoff: Backoff = field(default_factory=Backoff)
    rate_limit: Callable[[], TokenBucket] | None = None
    aging: Aging | None = field(default_factory=Aging)
    drain_queue: bool = False
    standby_backlog: int | None = 10_000
    stuck_after: float | None = 600.0

    def __post_init__(self) -> None:
        if self.on_dead_letter is not None:
            checked_function("on_dead_letter", self.on_dead_letter, 2, "request, error", may_be_async=True)
        if self.rate_limit is not None:
            # Each controller empties a bucket of its own: what is given makes one.
            checked_function("rate_limit", self.rate_limit, 0, "")
        if not isinstance(self.backoff, Backoff):
            raise TypeError(f"backoff is {self.backoff!r}: give Backoff(...)")
        if self.aging is not None and not isinstance(self.aging, Aging):
            raise TypeError(f"aging is {self.aging!r}: give Aging(...), or None")
        for name in _NUMBERS:
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise TypeError(f"{name} is {number!r}: give a number")
        if self.max_concurrent_reconciles < 1:
            raise ValueError(
                f"max_concurrent_reconciles is {self.max_concurrent_reconciles}: a controller needs at least 1 worker"
            )
        if self.max_retries is not None and self.max_retries < 0:
            raise ValueError(f"max_retries is {self.max_retries}: give 0 or more, or None for no limit")
        if self.standby_backlog is not None and self.standby_backlog < 1:
            raise ValueError(f"standby_backlog is {self.standby_backlog}: give 1 or more, or None for no limit")
        if self.cache_sync_timeout <= 0:
            raise ValueError(f"cache_sync_timeout is {self.cache_sync_timeout}: give seconds > 0")
        for name in ("reconciliation_timeout", "stuck_after"):
            value: float | None = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}: give seconds > 0, or None for no limit")
