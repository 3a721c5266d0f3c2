"""Calling a reconciler, whatever it looks like, and the log context of the call."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, cast

import structlog

from pyoperator._callables import is_async
from pyoperator._standing import coroutine_stack, thread_stack
from pyoperator.controller._arguments import reconciler_function
from pyoperator.controller._request import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import ThreadPoolExecutor

    from pyoperator._standing import Place
    from pyoperator.clock import Randomness
    from pyoperator.controller._request import AnyReconciler, Request


class Reconcile:
    """One reconcile while it runs: its key, priority and start, and its logger, made when somebody logs."""

    # Defaults in the class: one is made for each reconcile, and few of them ever need these.
    in_thread = False
    thread: int | None = None  # the thread's ident, once it runs
    coroutine: Any = None  # what the worker awaits
    reported: float | None = None  # loop time at which it was last logged as stuck
    _bound: Any = None

    def __init__(
        self,
        request: Request,
        priority: int,
        started: float,
        task: asyncio.Task[None],
        logger: Any,
        random: Randomness,
    ) -> None:
        self.request = request
        self.task = task
        self.priority = priority
        self.started = started
        self._logger = logger
        self._random = random

    @property
    def logger(self) -> Any:
        """The controller's logger with namespace, name and an id of this reconcile (a random UUID)."""
        if self._bound is None:
            self._bound = self._logger.bind(
                namespace=self.request.namespace, name=self.request.name, reconcileID=self._random.uuid()
            )
        return self._bound

    def stack(self) -> tuple[Place, ...]:
        """Return where it stands now, outermost call first; empty between its steps."""
        if self.thread is not None:
            return thread_stack(self.thread, _run_in_thread.__code__)
        return coroutine_stack(self.coroutine)


_current: ContextVar[Reconcile | None] = ContextVar("pyoperator_reconcile", default=None)


def current_logger() -> Any:
    """Return the logger of the reconcile that is running here (also in its threads and child tasks).

    Its lines carry controller, controllerGroup, controllerKind, namespace, name and reconcileID. Outside of a
    reconcile: a plain structlog logger.
    """
    running = _current.get()
    return structlog.get_logger("pyoperator.controller") if running is None else running.logger


class Caller:
    """Call a reconciler: an object with ``reconcile`` or a function, async or sync (in a thread)."""

    def __init__(self, reconciler: AnyReconciler) -> None:
        self.function = reconciler_function(reconciler)
        self.is_async = is_async(self.function)

    async def __call__(self, run: Reconcile, executor: ThreadPoolExecutor | None) -> Result:
        """Return what the reconciler answered; raises what it raised, TypeError for an answer that is no Result."""
        token = _current.set(run)
        try:
            if self.is_async:
                run.coroutine = answer = self.function(run.request)
                answer = await cast("Awaitable[Any]", answer)
            else:
                answer = await self._in_thread(run, executor)
                if inspect.isawaitable(answer):  # a lambda around a coroutine function does not look async
                    run.coroutine = answer
                    answer = await answer
        finally:
            _current.reset(token)
        if answer is None:
            return _NOTHING
        if not isinstance(answer, Result):
            raise TypeError(
                f"the reconciler returned {answer!r}: return None or a Result, as in Result(requeue_after=30)"
            )
        return answer

    async def _in_thread(self, run: Reconcile, executor: ThreadPoolExecutor | None) -> Any:
        loop = asyncio.get_running_loop()
        run.in_thread = True
        try:
            future = loop.run_in_executor(executor, copy_context().run, _run_in_thread, self.function, run)
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The thread goes on whatever we do. Ending before it does would let this key start twice, and would let a
            # manager release the lease under a reconcile that still writes: so cancellation waits for the thread.
            while not future.done():
                try:
                    await asyncio.wait((future,))
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()  # looked at, so that asyncio does not report it as lost
            raise
        finally:
            run.in_thread = False
            run.thread = None


def _run_in_thread(function: Callable[[Request], Any], run: Reconcile) -> Any:
    run.thread = threading.get_ident()
    try:
        return function(run.request)
    except StopIteration as error:
        # A future refuses it (before 3.12 without telling anybody: its worker would wait for ever).
        raise RuntimeError("the reconciler raised StopIteration: next() without a default?") from error


_NOTHING = Result()


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a (nested) exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
