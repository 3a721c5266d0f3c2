"""Turning events into reconciles: sources, predicates, handlers, the work queue, the workers, and the builder.

The way of an event: source -> predicates (metadata only) -> handler -> a key in the queue -> a worker -> the reconciler.
Sources fill the queue on every replica; workers empty it on the leader. Start with :func:`controller_for`.
"""

from pyoperator.controller import predicates
from pyoperator.controller._builder import ControllerBuilder, ControllerManager, controller_for
from pyoperator.controller._calling import current_logger
from pyoperator.controller._controller import Controller, StuckReconcile, Watch
from pyoperator.controller._dispatch import Dispatcher
from pyoperator.controller._events import LOW_PRIORITY, Event, GenericEvent, event_priority
from pyoperator.controller._handlers import EnqueueForObject, EnqueueForOwner, EnqueueMapped, Handler, HandlerFunctions
from pyoperator.controller._histogram import Histogram
from pyoperator.controller._levels import Aging
from pyoperator.controller._options import ControllerOptions
from pyoperator.controller._queue import QueueClosed, QueueStatistics, WorkQueue
from pyoperator.controller._rate_limit import Backoff, TokenBucket
from pyoperator.controller._records import (
    ControllerKinds,
    ControllerStatistics,
    ControllerStatus,
    InFlight,
    ReconcileError,
)
from pyoperator.controller._request import AnyReconciler, Reconciler, Request, Result, SyncReconciler, TerminalError
from pyoperator.controller._sources import ChannelSource, FunctionSource, InformerSource, KindSource, Source
from pyoperator.controller._syncing import CacheSyncTimeout

__all__ = [
    "LOW_PRIORITY",
    "Aging",
    "AnyReconciler",
    "Backoff",
    "CacheSyncTimeout",
    "ChannelSource",
    "Controller",
    "ControllerBuilder",
    "ControllerKinds",
    "ControllerManager",
    "ControllerOptions",
    "ControllerStatistics",
    "ControllerStatus",
    "Dispatcher",
    "EnqueueForObject",
    "EnqueueForOwner",
    "EnqueueMapped",
    "Event",
    "FunctionSource",
    "GenericEvent",
    "Handler",
    "HandlerFunctions",
    "Histogram",
    "InFlight",
    "InformerSource",
    "KindSource",
    "QueueClosed",
    "QueueStatistics",
    "ReconcileError",
    "Reconciler",
    "Request",
    "Result",
    "Source",
    "StuckReconcile",
    "SyncReconciler",
    "TerminalError",
    "TokenBucket",
    "Watch",
    "WorkQueue",
    "controller_for",
    "current_logger",
    "event_priority",
    "predicates",
]
