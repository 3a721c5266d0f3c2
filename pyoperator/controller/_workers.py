"""The workers: take a key, reconcile it, tell the queue; whatever a reconciler does, none of them ends by it."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pyoperator.controller._calling import Caller, Reconcile, leaves
from pyoperator.controller._queue import QueueClosed
from pyoperator.controller._turns import Turns

if TYPE_CHECKING:
    from pyoperator.clock import Randomness
    from pyoperator.controller._options import ControllerOptions
    from pyoperator.controller._outcomes import Outcomes
    from pyoperator.controller._queue import WorkQueue
    from pyoperator.controller._request import AnyReconciler, Request


class Workers:
    """Run ``max_concurrent_reconciles`` workers until they are drained or ``run`` is cancelled.

    A worker ends only if ``run``'s task was cancelled, if the drain is over, or if a reconcile failed in a way that is
    to end the controller. Its own task's cancellation does not count: a reconciler, or a library it uses, that cancels
    the task it runs in hits its own reconcile and nothing more.
    """

    _turns: Turns  # of the loop that the run belongs to

    def __init__(
        self,
        name: str,
        reconciler: AnyReconciler,
        queue: WorkQueue[Request],
        outcomes: Outcomes,
        options: ControllerOptions,
        random: Randomness,
        logger: Any,
    ) -> None:
        self._name = name
        self._call = Caller(reconciler)
        self._queue = queue
        self._outcomes = outcomes
        self._options = options
        self._random = random
        self._logger = logger
        self.in_flight: dict[Request, Reconcile] = {}
        self.count = 0
        self.draining = False
        self._aborting = False
        self._runner: asyncio.Task[Any] | None = None
        self._cancellations_before = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._idle: dict[asyncio.Task[None], None] = {}  # those that wait for a key: cancelling them loses nothing
        self._executor: ThreadPoolExecutor | None = None

    def begin(self) -> None:
        """Get ready for a run of the calling task, which ``run`` then belongs to."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        self._runner = task
        self._cancellations_before = task.cancelling()
        self.draining = self._aborting = False
        self._turns = Turns(asyncio.get_running_loop())

    async def run(self) -> None:
        """Work; returns when drained. Raises what is to end the controller."""
        self.count = self._options.max_concurrent_reconciles
        if not self._call.is_async:
            self._executor = ThreadPoolExecutor(self.count, thread_name_prefix=self._name)
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = [
                    group.create_task(self._work(), name=f"{self._name} worker {number}")
                    for number in range(self.count)
                ]
        finally:
            self._tasks = []
            self._runner = None
            self.count = 0
            if self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None

    def drain(self) -> None:
        """Let the workers end: after what they do now, or with ``drain_queue`` when nothing is ready."""
        self.draining = True
        self._end_idle()

    async def cancel(self) -> None:
        """Cancel the workers, and return when the reconciles that can be cancelled have ended."""
        self._aborting = True
        for worker in self._tasks:
            worker.cancel()
        cancellable = [run.task for run in self.in_flight.values() if not run.in_thread]
        if cancellable:
            await asyncio.wait(cancellable)

    def _ending(self) -> bool:
        """Tell whether workers are to end. The runner's count tells it even if a reconciler swallowed its cancellation."""
        return (
            (self._runner is not None and self._runner.cancelling() > self._cancellations_before)
            or self._aborting
            or (self.draining and not self._more())
        )

    def _more(self) -> bool:
        return self._options.drain_queue and not self._queue.paused and len(self._queue) > 0

    def _end_idle(self) -> None:
        if not self._more():
            for worker in list(self._idle):
                worker.cancel()

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        queue = self._queue
        turns = self._turns
        try:
            while not self._ending():
                if len(queue) and turns.used_up():
                    await self._give_turn(task)
                    continue
                self._idle[task] = None
                try:
                    request = await queue.get()
                except QueueClosed:
                    return
                except asyncio.CancelledError:
                    if self._ending():
                        raise
                    await self._shake_off(task)
                    continue
                finally:
                    del self._idle[task]
                try:
                    await self._reconcile(request, task)
                finally:
                    queue.done(request)
                if task.cancelling():
                    await self._shake_off(task)
        finally:
            if self.draining:
                self._end_idle()  # they wait for keys that this worker, the last one busy, did not bring

    async def _shake_off(self, task: asyncio.Task[None]) -> None:
        """Undo a cancellation of the worker that nobody meant for it, also one that has not been delivered yet.

        A count left behind would turn the errors of a later reconcile's task group into a CancelledError.
        """
        if not self._ending():
            _uncancel(task)
            await self._give_turn(task)

    async def _give_turn(self, task: asyncio.Task[None]) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._ending():
                raise
            _uncancel(task)

    async def _reconcile(self, request: Request, task: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        run = Reconcile(request, self._queue.priority(request) or 0, loop.time(), task, self._logger, self._random)
        self.in_flight[request] = run
        timeout = self._options.reconciliation_timeout
        timed_out = False
        failure: BaseException | None = None
        try:
            try:
                if timeout is None:
                    result = await self._call(run, self._executor)
                else:
                    async with asyncio.timeout(timeout) as scope:
                        try:
                            result = await self._call(run, self._executor)
                        finally:
                            timed_out = scope.expired()
            finally:
                self._outcomes.reconcile_time.observe(loop.time() - run.started)
        except BaseException as error:
            if self._ends(error, task):
                self._queue.add(request, priority=run.priority)  # for the next term; done() makes it ready
                raise
            fate = self._outcomes.failed(run, error, timed_out=timed_out)
            if fate == "fatal":
                self._aborting = True  # the other workers too
                raise
            failure = error if fate == "given up" else None  # else it would keep its frames in a cycle
        else:
            fate = self._outcomes.answered(run, result)
        finally:
            del self.in_flight[request]
        if fate != "settled":
            await self._bury(run, failure, task)

    def _ends(self, error: BaseException, task: asyncio.Task[None]) -> bool:
        """Tell whether an error is not the reconciler's, but asks the worker itself to end."""
        if isinstance(error, asyncio.CancelledError):
            return task.cancelling() > 0 and self._ending()
        if isinstance(error, GeneratorExit):
            # Thrown in, by whoever closes this coroutine without a loop to run on, or raised by the reconciler?
            return asyncio.current_task(task.get_loop()) is not task
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
            self._logger.error("interrupted in a reconcile, ending", error=repr(error))
            self._aborting = True
            return True
        return False

    async def _bury(self, run: Reconcile, error: BaseException | None, task: asyncio.Task[None]) -> None:
        """Hand a dead letter to the user's hook, whose failure is logged and hurts nobody."""
        hook = self._options.on_dead_letter
        if hook is None:
            return
        self.in_flight[run.request] = run
        try:
            answer = hook(run.request, error)
            if inspect.isawaitable(answer):
                run.coroutine = answer
                async with asyncio.timeout(self._options.reconciliation_timeout):
                    await answer
        except BaseException as failure:
            if self._ends(failure, task):
                # Reconciled, and perhaps given up, again in the next term.
                self._queue.add(run.request, priority=run.priority)
                raise
            run.logger.error("the dead letter's hook failed", exc_info=failure)
        finally:
            del self.in_flight[run.request]


def _uncancel(task: asyncio.Task[None]) -> None:
    while task.cancelling():
        task.uncancel()
