"""What a controller tells of itself: statistics for metrics, status for people, logs, health and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.controller._histogram import Histogram
    from pyoperator.controller._queue import QueueStatistics
    from pyoperator.controller._request import Request
    from pyoperator.objects import GroupVersionKind


@dataclass(frozen=True, slots=True)
class ControllerStatistics:
    """Counts since the controller was made; the source of ``controller_runtime_*`` and, in ``queue``, ``workqueue_*``.

    ``reconcile_total`` counts by result: success, error, requeue (backoff without an error), requeue_after. ``errors``
    includes ``terminal_errors``, ``panics`` and ``timeouts``; ``conflicts`` are those errors that were conflicts.
    ``dead_letters`` counts keys given up after ``max_retries``.
    ``event_errors`` counts events lost by a failing predicate or handler.
    """

    controller: str
    reconcile_total: Mapping[str, int]
    errors: int
    terminal_errors: int
    panics: int
    timeouts: int
    conflicts: int
    dead_letters: int
    event_errors: int
    reconcile_time: Histogram
    max_concurrent_reconciles: int
    active_workers: int
    queue: QueueStatistics


@dataclass(frozen=True, slots=True)
class InFlight:
    """A reconcile that is running: since how many seconds, and whether it is in a thread (not cancellable).

    ``stack`` tells of one that is stuck where it stands: ``file:line in function``, outermost call first;
    ``place`` is the innermost of these in the user's own code.
    """

    request: Request
    age: float
    in_thread: bool
    stack: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class ReconcileError:
    """A failed reconcile: the error's type and text, wall time in Unix seconds, and the key's failures in a row."""

    request: Request
    type: str
    message: str
    at: float
    failures: int


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    """What a controller is doing now. ``waiting_for`` names sources that have not synced, and why if that is known."""

    name: str
    running: bool
    paused: bool
    draining: bool
    workers: int
    queue_depth: int
    in_flight: tuple[InFlight, ...]
    stuck: tuple[InFlight, ...]
    waiting_for: tuple[str, ...]
    last_errors: tuple[ReconcileError, ...]


@dataclass(frozen=True, slots=True)
class ControllerKinds:
    """The kinds a controller declares, from which its RBAC rules follow.

    It reads (get, list, watch) all of them; it writes the for-kind's status and finalizers, and the owned kinds.
    """

    for_kind: GroupVersionKind | None = None
    owned: tuple[GroupVersionKind, ...] = ()
    watched: tuple[GroupVersionKind, ...] = ()
