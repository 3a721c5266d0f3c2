"""The controller: sources fill its queue on every replica, its workers empty it on the leader."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from pyoperator.client import Conflict, LeadershipLost
from pyoperator.clock import Randomness, SystemClock
from pyoperator.controller._calling import Caller, Reconcile, leaves
from pyoperator.controller._dispatch import Dispatcher
from pyoperator.controller._events import LOW_PRIORITY
from pyoperator.controller._histogram import RECONCILE_TIME_BOUNDS, DurationHistogram
from pyoperator.controller._options import ControllerOptions
from pyoperator.controller._queue import QueueClosed, WorkQueue
from pyoperator.controller._records import (
    ControllerKinds,
    ControllerStatistics,
    ControllerStatus,
    InFlight,
    ReconcileError,
)
from pyoperator.controller._request import Request, Result, TerminalError
from pyoperator.controller._syncing import wait_for_sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyoperator.clock import Clock
    from pyoperator.controller._handlers import Handler
    from pyoperator.controller._request import AnyReconciler
    from pyoperator.controller._sources import Source
    from pyoperator.controller.predicates import Predicate
    from pyoperator.metrics import Family

# What a bug in the program raises, as opposed to what the world does to it: the nearest thing to a panic in Go.
PANICS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
)
_REMEMBERED_ERRORS = 10
_STREAK = 8  # reconciles a worker may finish in a row without giving the loop a turn


class StuckReconcile(Exception):
    """Raised by the health check: reconciles that run longer than ``stuck_after``."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One source with the handler and the predicates for its events.

    ``for_kind``: it watches the kind that the controller is for; its objects are enqueued at each start of leadership.
    """

    source: Source
    handler: Handler
    predicates: Sequence[Predicate] = ()
    for_kind: bool = False


class Controller:
    """Reconcile keys from a queue that sources fill. A manager's runnable, or used alone (``warm_up``, ``run``, ``stop``).

    Life. ``warm_up()`` starts the sources and waits until they have synced; it is meant for every replica, whose queue
    then collects. ``run()`` is leader-only work (unless ``need_leader_election`` is False): it warms up if need be,
    enqueues every cached object of the for-kind once at priority -100, demotes the backlog to that, forgets backoffs,
    and works until ``drain()`` has ended or it is cancelled. It may be called again after it ended (recampaign).

    End. ``drain()`` stops the taking of keys and returns when running reconciles are done; ``run()`` then returns.
    Cancelling ``run()`` cancels running reconciles; their keys stay in the queue. A reconcile in a thread cannot be
    cancelled, so ``run()`` does not end before it: **when run() has ended, no reconcile is running**, which is what
    releasing a lease must wait for. ``blockers()`` and ``status().in_flight`` name whom it waits for.

    Errors. A reconciler's exception never ends a worker: the key is retried after its backoff with the priority it had;
    a TerminalError is not retried. LeadershipLost is retried as well, without a traceback: whether leadership is lost
    is the elector's word, which cancels ``run()``; a refusal alone may be a renewal that comes late.
    """

    def __init__(
        self,
        name: str,
        reconciler: AnyReconciler,
        *,
        watches: Sequence[Watch] = (),
        kinds: ControllerKinds | None = None,
        options: ControllerOptions | None = None,
        clock: Clock | None = None,
        random: Randomness | None = None,
        logger: Any = None,
    ) -> None:
        self.name = name
        self.kinds = kinds or ControllerKinds()
        self.options = options or ControllerOptions()
        self.need_leader_election = self.options.need_leader_election
        self.queue: WorkQueue[Request] = WorkQueue(
            name,
            backoff=self.options.backoff,
            bucket=self.options.rate_limit() if self.options.rate_limit is not None else None,
            max_retries=self.options.max_retries,
        )
        kind = self.kinds.for_kind
        self._call = Caller(reconciler)
        self._clock = clock or SystemClock()
        self._random = random or Randomness()
        self._logger = (logger if logger is not None else structlog.get_logger("pyoperator.controller")).bind(
            controller=name,
            **({"controllerGroup": kind.group, "controllerKind": kind.kind} if kind is not None else {}),
        )
        self._watches: dict[Source, tuple[Watch, Dispatcher]] = {}
        self._warm = False
        for watch in watches:
            self.watch(watch)
        self._running = False
        self._paused = False
        self._draining = False
        self._ended: asyncio.Event | None = None
        self._runner: asyncio.Task[Any] | None = None
        self._cancellations_before = 0
        self._syncing: asyncio.Task[None] | None = None
        self._idle: dict[asyncio.Task[None], None] = {}  # workers that wait for a key: cancelling them loses nothing
        self._workers: list[asyncio.Task[None]] = []
        self._in_flight: dict[Request, Reconcile] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._results = {"success": 0, "error": 0, "requeue": 0, "requeue_after": 0}
        self._terminal_errors = 0
        self._panics = 0
        self._timeouts = 0
        self._conflicts = 0
        self._reconcile_time = DurationHistogram(RECONCILE_TIME_BOUNDS)
        self._last_errors: deque[ReconcileError] = deque(maxlen=_REMEMBERED_ERRORS)

    # ---- sources

    def watch(self, watch: Watch) -> None:
        """Add a source; if the others have started it starts at once. A source's own task starts with the next run."""
        if watch.source in self._watches:
            raise ValueError(f"{watch.source!r} is watched already by controller {self.name!r}: make another source")
        dispatch = Dispatcher(watch.handler, watch.predicates, self.queue, self._logger)
        self._watches[watch.source] = (watch, dispatch)
        if self._warm:
            watch.source.start(dispatch)

    def unwatch(self, source: Source) -> None:
        """Stop a source and forget it; what it has put into the queue stays. Raises KeyError for an unknown one."""
        del self._watches[source]
        source.close()

    async def warm_up(self) -> None:
        """Start the sources, on every replica, and wait until they have synced; at once if they have.

        Raises CacheSyncTimeout. The cache must run meanwhile.
        """
        if not self._warm:
            self._warm = True
            for watch, dispatch in list(self._watches.values()):
                watch.source.start(dispatch)
        await wait_for_sync(self.name, list(self._watches), self.options.cache_sync_timeout, self._logger)

    # ---- life

    async def run(self) -> None:
        """Reconcile until drained or cancelled; see the class. Raises CacheSyncTimeout, and what a source's task raised."""
        if self._running:
            raise RuntimeError(f"controller {self.name!r} is running already: one run at a time")
        self._running = True
        self._draining = False
        self._ended = asyncio.Event()
        self._runner = asyncio.current_task()
        self._cancellations_before = self._runner.cancelling() if self._runner is not None else 0
        try:
            await self._run()
        except BaseExceptionGroup as group:
            errors = leaves(group)
            if len(errors) == 1:
                raise errors[0] from group
            raise
        finally:
            self._running = False
            self._runner = None
            self._workers = []
            self._syncing = None
            if self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None
            self._ended.set()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            # A task of its own, so that drain can end the waiting without cancelling run itself.
            self._syncing = group.create_task(self.warm_up(), name=f"{self.name} warm-up")
        if self._draining:
            return
        self._begin_term()
        if not self._call.is_async:
            self._executor = ThreadPoolExecutor(self.options.max_concurrent_reconciles, thread_name_prefix=self.name)
        self._logger.info("controller started", workers=self.options.max_concurrent_reconciles)
        async with asyncio.TaskGroup() as sources:
            tasks = [
                sources.create_task(source.run(dispatch), name=f"{self.name} {source!r}")
                for source, (_, dispatch) in list(self._watches.items())
            ]
            async with asyncio.TaskGroup() as workers:
                self._workers = [
                    workers.create_task(self._work(), name=f"{self.name} worker {number}")
                    for number in range(self.options.max_concurrent_reconciles)
                ]
            for task in tasks:
                task.cancel()
        self._logger.info("controller stopped")

    def _begin_term(self) -> None:
        """Make sure that nothing is lost at a change of leader: its predecessor's queue and timers died with it."""
        self.queue.forget_all()
        self.queue.demote_all(LOW_PRIORITY)
        for watch, dispatch in self._watches.values():
            if watch.for_kind:
                watch.source.replay(dispatch)

    async def drain(self) -> None:
        """Take no more keys; return when running reconciles are done and ``run`` has ended. At once if not running.

        Cancelling it (a deadline) leaves the controller draining: cancel ``run`` then. What waits stays in the queue.
        """
        if not self._running or self._ended is None:
            return
        self._draining = True
        if self._syncing is not None:
            self._syncing.cancel()
        for worker in list(self._idle):
            worker.cancel()
        await self._ended.wait()

    async def stop(self, timeout: float | None = 30.0) -> tuple[Request, ...]:
        """Drain for at most ``timeout`` seconds (None: no limit), then cancel; for use without a manager.

        Returns the keys whose reconcile is still running, in threads that cannot be cancelled: nothing must be released
        unless it is empty. Sources are stopped; ``run`` ends with the last thread.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.drain()
        except TimeoutError:
            for worker in self._workers:
                worker.cancel()
            cancellable = [run.task for run in self._in_flight.values() if not run.in_thread]
            if cancellable:
                await asyncio.wait(cancellable)
            if not self._in_flight and self._ended is not None:
                await self._ended.wait()
        for source in self._watches:
            source.stop()
        self._warm = False
        return tuple(self._in_flight)

    def blockers(self) -> tuple[str, ...]:
        """Name the reconciles in threads that are still running: while there are any, nothing must be released."""
        return tuple(f"reconcile of {run.request} in a thread" for run in self._in_flight.values() if run.in_thread)

    def pause(self) -> None:
        """Start no more reconciles until ``resume``; running ones go on, the queue collects."""
        self._paused = True
        self.queue.pause()

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._paused = False
        self.queue.resume()

    # ---- work

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        streak = 0
        while not (self._draining or self._cancelled()):
            self._idle[task] = None
            try:
                request = await self.queue.get()
            except QueueClosed:
                return
            finally:
                del self._idle[task]
            try:
                await self._reconcile(request, task)
            finally:
                self.queue.done(request)
            streak += 1
            if streak % _STREAK == 0:
                # With a full queue and reconciles that never wait nothing here would let the loop do anything else.
                await asyncio.sleep(0)

    def _cancelled(self) -> bool:
        """Tell whether ``run`` has been cancelled: a reconciler may swallow the cancellation that its worker got.

        The worker's own count would not do: a library that cancels without uncancelling would end the worker.
        """
        return self._runner is not None and self._runner.cancelling() > self._cancellations_before

    async def _reconcile(self, request: Request, task: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        run = Reconcile(request, self.queue.priority(request) or 0, loop.time(), task, self._logger, self._random)
        self._in_flight[request] = run
        timed_out = False
        try:
            timeout = self.options.reconciliation_timeout
            if timeout is None:
                result = await self._call(run, self._executor)
            else:
                async with asyncio.timeout(timeout) as scope:
                    try:
                        result = await self._call(run, self._executor)
                    finally:
                        timed_out = scope.expired()
        except asyncio.CancelledError as error:
            if task.cancelling():
                self.queue.add(request, priority=run.priority)  # for the next term; done() makes it ready
                raise
            self._failed(run, error, timed_out=False)  # some task that the reconciler awaited was cancelled, not we
        except Exception as error:
            if self._failed(run, error, timed_out=timed_out):
                self._draining = True  # the other workers too
                raise
        else:
            self._succeeded(run, result)
        finally:
            del self._in_flight[request]
            self._reconcile_time.observe(loop.time() - run.started)

    def _succeeded(self, run: Reconcile, result: Result) -> None:
        request = run.request
        priority = run.priority if result.priority is None else result.priority
        if result.requeue_after is not None:
            self._results["requeue_after"] += 1
            self.queue.forget(request)
            self.queue.add(request, priority=priority, after=result.requeue_after)
        elif result.backoff:
            self._results["requeue"] += 1
            self._retry(run, priority, None)
        else:
            self._results["success"] += 1
            self.queue.forget(request)

    def _failed(self, run: Reconcile, error: BaseException, *, timed_out: bool) -> bool:
        """Count, log and requeue; return True if the error is to end the controller."""
        request = run.request
        found = leaves(error)
        self._results["error"] += 1
        self._last_errors.append(
            ReconcileError(
                request, type(error).__name__, str(error), self._clock.wall(), self.queue.retries(request) + 1
            )
        )
        if timed_out and isinstance(error, TimeoutError):
            self._timeouts += 1
            run.logger.error("reconcile timed out", timeout=self.options.reconciliation_timeout)
        elif any(isinstance(leaf, TerminalError) for leaf in found):
            self._terminal_errors += 1
            self.queue.forget(request)
            run.logger.error("reconcile failed for good", error=str(error), exc_info=error)
            return False
        elif any(isinstance(leaf, LeadershipLost) for leaf in found):
            run.logger.info("write refused: not leading", error=str(error))
        elif all(isinstance(leaf, Conflict) for leaf in found):
            self._conflicts += 1
            run.logger.info("object changed meanwhile, trying again", error=str(error))
        elif any(isinstance(leaf, PANICS) for leaf in found):
            self._panics += 1
            run.logger.error("reconcile panicked", error=str(error), exc_info=error)
            if not self.options.recover_panic:
                self.queue.add(request, priority=run.priority)
                return True
        else:
            run.logger.error("reconcile failed", error=str(error), exc_info=error)
        self._retry(run, run.priority, error)
        return False

    def _retry(self, run: Reconcile, priority: int, error: BaseException | None) -> None:
        if not self.queue.add_rate_limited(run.request, priority=priority):
            run.logger.error("given up: retries used up", max_retries=self.options.max_retries)
            if self.options.on_dead_letter is not None:
                self.options.on_dead_letter(run.request, error)

    # ---- telling

    def check_stuck(self) -> None:
        """Health check: raises StuckReconcile naming the reconciles that run longer than ``stuck_after``."""
        stuck = self._stuck()
        if stuck:
            what = ", ".join(f"{found.request} for {found.age:.0f} s" for found in stuck)
            raise StuckReconcile(f"controller {self.name!r}: reconcile stuck: {what}")

    def _ages(self) -> Iterator[InFlight]:
        if self._in_flight:
            now = asyncio.get_running_loop().time()
            for run in self._in_flight.values():
                yield InFlight(run.request, now - run.started, run.in_thread)

    def _stuck(self) -> tuple[InFlight, ...]:
        limit = self.options.stuck_after
        return () if limit is None else tuple(found for found in self._ages() if found.age > limit)

    def status(self) -> ControllerStatus:
        """Return what the controller is doing now; call it on the loop."""
        return ControllerStatus(
            name=self.name,
            running=self._running,
            paused=self._paused,
            draining=self._running and self._draining,
            workers=len(self._workers),
            queue_depth=len(self.queue),
            in_flight=tuple(self._ages()),
            stuck=self._stuck(),
            waiting_for=tuple(
                f"{source!r}: {source.blocked()}".removesuffix(": ") for source in self._watches if not source.synced
            ),
            last_errors=tuple(self._last_errors),
        )

    def statistics(self) -> ControllerStatistics:
        """Return the counts for metrics."""
        return ControllerStatistics(
            controller=self.name,
            reconcile_total=dict(self._results),
            errors=self._results["error"],
            terminal_errors=self._terminal_errors,
            panics=self._panics,
            timeouts=self._timeouts,
            conflicts=self._conflicts,
            event_errors=sum(dispatch.errors for _, dispatch in self._watches.values()),
            reconcile_time=self._reconcile_time.record(),
            max_concurrent_reconciles=self.options.max_concurrent_reconciles,
            active_workers=len(self._in_flight),
            queue=self.queue.statistics(),
        )

    def metric_families(self) -> list[Family]:
        """Return the series of the controller and its queue, under controller-runtime's names."""
        # Here, not above: an operator that serves no metrics does not load the room that renders them.
        from pyoperator.metrics import controller_families, queue_families

        statistics = self.statistics()
        return [*controller_families([statistics]), *queue_families([statistics.queue])]

    def __repr__(self) -> str:
        state = "draining" if self._running and self._draining else "running" if self._running else "not running"
        return f"Controller({self.name!r}, {state}, in_flight={len(self._in_flight)}, {self.queue!r})"
