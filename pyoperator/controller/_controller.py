"""The controller: sources fill its queue on every replica, its workers empty it on the leader."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from pyoperator._standing import users_place
from pyoperator.clock import Randomness, SystemClock
from pyoperator.controller._arguments import checked_handler, checked_predicates, checked_source
from pyoperator.controller._calling import leaves
from pyoperator.controller._dispatch import Dispatcher
from pyoperator.controller._events import LOW_PRIORITY
from pyoperator.controller._options import ControllerOptions
from pyoperator.controller._outcomes import Outcomes
from pyoperator.controller._queue import WorkQueue
from pyoperator.controller._records import ControllerKinds, ControllerStatistics, ControllerStatus, InFlight
from pyoperator.controller._syncing import wait_for_sync
from pyoperator.controller._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyoperator.clock import Clock
    from pyoperator.controller._handlers import Handler
    from pyoperator.controller._request import AnyReconciler, Request
    from pyoperator.controller._sources import Source
    from pyoperator.controller.predicates import Predicate
    from pyoperator.metrics import Family

_REPORT_INTERVAL = 60.0  # seconds between log lines about one stuck reconcile


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

    def __post_init__(self) -> None:
        checked_source(self.source)
        checked_handler(self.handler)
        checked_predicates(self.predicates)


class Controller:
    """Reconcile keys from a queue that sources fill. A manager's runnable, or used alone (``warm_up``, ``run``, ``stop``).

    Life. ``warm_up()`` starts the sources and waits until they have synced; it is meant for every replica, whose queue
    then collects. ``run()`` is leader-only work (unless ``need_leader_election`` is False): it warms up if need be,
    demotes the backlog to priority -100, the last change first, enqueues every other cached object of the for-kind at
    that priority, forgets backoffs, and works until ``drain()`` has ended or it is cancelled. It may be called again after it ended (recampaign).

    End. ``drain()`` stops the taking of keys and returns when running reconciles are done; ``run()`` then returns.
    Cancelling ``run()`` cancels running reconciles; their keys stay in the queue. A reconcile in a thread cannot be
    cancelled, so ``run()`` does not end before it: **when run() has ended, no reconcile is running**, which is what
    releasing a lease must wait for. ``blockers()`` and ``status().in_flight`` name whom it waits for.

    Errors. A reconciler's exception never ends a worker: the key is retried after its backoff with the priority it had;
    a TerminalError is not retried. LeadershipLost is retried as well, without a traceback: whether leadership is lost
    is the elector's word, which cancels ``run()``; a refusal alone may be a renewal that comes late. SystemExit counts
    as a panic: who wants to end the process stops the manager. Only KeyboardInterrupt, which without a manager is how
    Ctrl-C arrives, ends ``run()``, with the key back in the queue.
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
        self.kinds: ControllerKinds = kinds or ControllerKinds()
        self.options: ControllerOptions = options or ControllerOptions()
        self.need_leader_election: bool = self.options.need_leader_election
        self.queue: WorkQueue[Request] = WorkQueue(
            name,
            backoff=self.options.backoff,
            bucket=self.options.rate_limit() if self.options.rate_limit is not None else None,
            max_retries=self.options.max_retries,
            aging=self.options.aging,
        )
        kind = self.kinds.for_kind
        self._logger = (logger if logger is not None else structlog.get_logger("pyoperator.controller")).bind(
            controller=name,
            **({"controllerGroup": kind.group, "controllerKind": kind.kind} if kind is not None else {}),
        )
        self._outcomes = Outcomes(self.queue, self.options, clock or SystemClock())
        self._workers = Workers(
            name, reconciler, self.queue, self._outcomes, self.options, random or Randomness(), self._logger
        )
        self._watches: dict[Source, tuple[Watch, Dispatcher]] = {}
        self._warm = False
        self._running = False
        self._ended: asyncio.Event | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._source_group: asyncio.TaskGroup | None = None
        self._source_tasks: dict[Source, asyncio.Task[None]] = {}
        for watch in watches:
            self.watch(watch)

    # ---- sources

    def watch(self, watch: Watch) -> None:
        """Add a source; if the others have started, or run tasks of their own, so does it at once."""
        if watch.source in self._watches:
            raise ValueError(f"{watch.source!r} is watched already by controller {self.name!r}: make another source")
        dispatch = Dispatcher(watch.handler, watch.predicates, self.queue, self._logger)
        self._watches[watch.source] = (watch, dispatch)
        if not self._running:
            self._limit_backlog()
        if self._warm:
            watch.source.start(dispatch)
        if self._source_group is not None:
            self._run_source(self._source_group, watch.source, dispatch)

    def unwatch(self, source: Source) -> None:
        """Stop a source and its task and forget it; what it has put into the queue stays.

        Raises KeyError for an unknown one.
        """
        del self._watches[source]
        task = self._source_tasks.pop(source, None)
        if task is not None:
            task.cancel()
        source.close()

    def _run_source(self, group: asyncio.TaskGroup, source: Source, dispatch: Dispatcher) -> None:
        self._source_tasks[source] = group.create_task(source.run(dispatch), name=f"{self.name} {source!r}")

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
        self._ended = asyncio.Event()
        self._workers.begin()
        try:
            await self._run()
        except BaseExceptionGroup as group:
            errors = leaves(group)
            if len(errors) == 1:
                raise errors[0] from group
            raise
        finally:
            self._running = False
            self._syncing = None
            self._limit_backlog()
            self._ended.set()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            # A task of its own, so that drain can end the waiting without cancelling run itself.
            self._syncing = group.create_task(self.warm_up(), name=f"{self.name} warm-up")
        if self._workers.draining:
            return
        self._begin_term()
        self._logger.info("controller started", workers=self.options.max_concurrent_reconciles)
        async with asyncio.TaskGroup() as group:
            for source, (_, dispatch) in list(self._watches.items()):
                self._run_source(group, source, dispatch)
            self._source_group = group
            try:
                await self._workers.run()
            finally:
                self._source_group = None
                tasks, self._source_tasks = self._source_tasks, {}
                for task in tasks.values():
                    task.cancel()
        self._logger.info("controller stopped")

    def _begin_term(self) -> None:
        """Make sure that nothing is lost at a change of leader: its predecessor's queue and timers died with it."""
        reopened = sum(source.freshen() for source in self._watches)
        if reopened:
            self._logger.info("silent watches are opened anew at the start of leadership", watches=reopened)
        dropped = self.queue.begin_term(LOW_PRIORITY)
        for watch, dispatch in self._watches.values():
            if watch.for_kind or dropped:
                watch.source.replay(dispatch)

    def _limit_backlog(self) -> None:
        """Bound what a controller that does not run collects: else it grows with every object that comes and goes.

        Why keys may be dropped at all: a replica that came up a moment ago is a legitimate leader, and its queue holds
        what its handlers make of the objects that exist. A term that follows a drop begins with just that, from every
        watch. What is lost is what such a replica would not know either, keys of objects that are gone: reconciling
        those a second time is a courtesy (whoever must not miss a deletion holds it up with a finalizer), and the
        latest of them, which a leader that died may not have got to, are kept.
        """
        replayable = all(source.replayable for source in self._watches)
        self.queue.collect(self.options.standby_backlog if replayable else None)

    async def drain(self) -> None:
        """Take no more keys; return when running reconciles are done and ``run`` has ended. At once if not running.

        With ``ControllerOptions.drain_queue`` the keys that are ready are worked off first, unless it is paused.
        Cancelling it (a deadline) leaves the controller draining: cancel ``run`` then. What waits stays in the queue.
        """
        if not self._running or self._ended is None:
            return
        self._workers.drain()
        if self._syncing is not None:
            self._syncing.cancel()
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
            await self._workers.cancel()
            if not self._workers.in_flight and self._ended is not None:
                await self._ended.wait()
        for source in self._watches:
            source.stop()
        self._warm = False
        return tuple(self._workers.in_flight)

    def blockers(self) -> tuple[str, ...]:
        """Name the reconciles that are still running, and where: while there are any, nothing must be released."""
        found = []
        for run in self._workers.in_flight.values():
            place = users_place(run.stack())
            at = "" if place is None else f" at {place}"
            found.append(f"reconcile of {run.request}{' in a thread' if run.in_thread else ''}{at}")
        return tuple(found)

    def pause(self) -> None:
        """Start no more reconciles until ``resume``; running ones go on, the queue collects."""
        self.queue.pause()

    def resume(self) -> None:
        """Go on after ``pause``."""
        self.queue.resume()

    # ---- telling

    def check_stuck(self) -> None:
        """Health check: raises StuckReconcile naming the reconciles that run longer than ``stuck_after``, and where.

        Logs the whole stack of each, once a minute.
        """
        stuck = [found for found in self._ages() if self._is_stuck(found)]
        if not stuck:
            return
        now = asyncio.get_running_loop().time()
        for found in stuck:
            run = self._workers.in_flight[found.request]
            if run.reported is None or now - run.reported >= _REPORT_INTERVAL:
                run.reported = now
                run.logger.error("reconcile stuck", seconds=round(found.age), frames=list(found.stack))
        what = ", ".join(
            f"{found.request} for {found.age:.0f} s at {found.place or 'an unknown place'}" for found in stuck
        )
        raise StuckReconcile(f"controller {self.name!r}: reconcile stuck: {what}")

    def _is_stuck(self, found: InFlight) -> bool:
        return self.options.stuck_after is not None and found.age > self.options.stuck_after

    def _ages(self) -> Iterator[InFlight]:
        runs = self._workers.in_flight
        if runs:
            now = asyncio.get_running_loop().time()
            for run in runs.values():
                found = InFlight(run.request, now - run.started, run.in_thread)
                if self._is_stuck(found):
                    stack = run.stack()
                    found = replace(found, stack=tuple(map(str, stack)), place=str(users_place(stack) or ""))
                yield found

    def status(self) -> ControllerStatus:
        """Return what the controller is doing now; call it on the loop."""
        in_flight = tuple(self._ages())
        return ControllerStatus(
            name=self.name,
            running=self._running,
            paused=self.queue.paused,
            draining=self._running and self._workers.draining,
            workers=self._workers.count,
            queue_depth=len(self.queue),
            in_flight=in_flight,
            stuck=tuple(found for found in in_flight if self._is_stuck(found)),
            waiting_for=tuple(
                f"{source!r}: {source.blocked()}".removesuffix(": ") for source in self._watches if not source.synced
            ),
            last_errors=tuple(self._outcomes.last_errors),
        )

    def statistics(self) -> ControllerStatistics:
        """Return the counts for metrics."""
        outcomes = self._outcomes
        queue = self.queue.statistics()
        return ControllerStatistics(
            controller=self.name,
            reconcile_total=dict(outcomes.results),
            errors=outcomes.results["error"],
            terminal_errors=outcomes.terminal_errors,
            panics=outcomes.panics,
            timeouts=outcomes.timeouts,
            conflicts=outcomes.conflicts,
            dead_letters=queue.dead_letters,
            event_errors=sum(dispatch.errors for _, dispatch in self._watches.values()),
            reconcile_time=outcomes.reconcile_time.record(),
            max_concurrent_reconciles=self.options.max_concurrent_reconciles,
            active_workers=len(self._workers.in_flight),
            queue=queue,
        )

    def metric_families(self) -> list[Family]:
        """Return the series of the controller and its queue, under controller-runtime's names."""
        # Here, not above: an operator that serves no metrics does not load the room that renders them.
        from pyoperator.metrics import controller_families, queue_families

        statistics = self.statistics()
        return [*controller_families([statistics]), *queue_families([statistics.queue])]

    def __repr__(self) -> str:
        state = (
            "draining" if self._running and self._workers.draining else "running" if self._running else "not running"
        )
        return f"Controller({self.name!r}, {state}, in_flight={len(self._workers.in_flight)}, {self.queue!r})"
