"""The catalogue of faults: what is done to a running stage, and what must be true right after it.

Each is a coroutine that does its damage, lets it last, takes it back, and returns what to note. What must hold in the
end (nothing lost, duplicated or foreign) is the judge's; what must hold after each (one leads, all are ready) is the
run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos import _lease_faults as lease
from chaos import _process_faults as processes
from chaos import _server_faults as server
from chaos._fault_parts import RECOVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from chaos._stage import Stage


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry: how often in a run on the ``embedded`` server and on a ``real`` one (0: not there).

    ``recover``: seconds until one must lead, and ``ready`` replicas (all if None) be ready again. Two suffice for what
    is repeated often: the next leader and one to follow it; the third one comes up meanwhile.
    """

    name: str
    what: str
    act: Callable[[Stage, Random], Awaitable[str]]
    embedded: int
    real: int = 0
    ready: int | None = None
    recover: float = RECOVER


FAULTS = (
    Fault("sigkill", "SIGKILL to the leader", processes.sigkill, 6, 3, ready=2),
    Fault("sigterm", "SIGTERM to the leader", processes.sigterm, 10, 5, ready=2),
    Fault("sigstop", "SIGSTOP to the leader until another leads, then SIGCONT", processes.sigstop, 40, 10, ready=2),
    Fault("sigstop-short", "SIGSTOP for less than the renew deadline", processes.sigstop_short, 3, 1),
    Fault("blocked-loop", "the leader's event loop blocked, GIL released and held", processes.blocked_loop, 1),
    Fault("server-down", "API server killed and back at once", server.server_down, 2),
    Fault("server-down-long", "API server killed, back after the Lease has expired", server.server_down_long, 1),
    Fault("server-restarted", "API server restarted in order", server.server_restarted, 1, 1, recover=60.0),
    Fault("server-slow", "API server slow", server.server_slow, 1, 1),
    Fault("unreachable", "connections to the API server refused", server.unreachable, 1, 1),
    Fault("partition", "the leader cut off", server.partition, 3, 2),
    Fault("partition-of-all", "all replicas cut off", server.partition_of_all, 1, 1),
    Fault("half-open", "the leader's connections half-open", server.half_open, 2, 1),
    Fault("watches-dead", "all connections silently dead, watches among them", server.watches_dead, 1, 0),
    Fault("server-errors", "a storm of 5xx, some after the write was carried out", server.server_errors, 2),
    Fault("server-errors-only", "nothing but 5xx", server.server_errors_only, 1),
    Fault("throttled", "a storm of 429", server.throttled, 1),
    Fault("history-gone", "a storm of 410", server.history_gone, 1),
    Fault("lease-deleted", "the Lease deleted", lease.lease_deleted, 2, 1),
    Fault("holder-unknown", "an unknown holder written into the Lease", lease.holder_unknown, 1, 1),
    Fault("holder-follower", "a follower's pod written into the Lease", lease.holder_a_follower, 1),
    Fault("holder-empty", "the holder taken out of the Lease", lease.holder_empty, 1, 1),
    Fault("renewed-in-the-past", "renewTime in the past", lease.renewed_in_the_past, 1),
    Fault("renewed-in-the-future", "renewTime in the future", lease.renewed_in_the_future, 1, 1),
    Fault("lease-nonsense", "nonsense in the Lease's other fields", lease.lease_nonsense, 1),
    Fault("wrong-clocks", "wall clocks an hour ahead and behind", processes.wrong_clocks, 1),
    Fault("cold-start", "all replicas killed, and started at once", processes.cold_start, 1, 1),
    Fault("rolling-update", "a rolling update", processes.rolling_update, 1, 1),
    Fault("five-replicas", "five replicas for a while", processes.five_replicas, 1),
)
"""All faults. The judged guarantees are the same for each: ``times`` only spread a run's minutes over them."""
