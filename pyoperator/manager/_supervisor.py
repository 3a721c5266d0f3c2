"""The thread beside the work: it answers probes and renews the lease while the work loop is stalled."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pyoperator.clock import VirtualTimeLoop
from pyoperator.manager._errors import ManagerError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from typing import Any

T = TypeVar("T")

_STARTS_WITHIN = 30.0  # seconds; a thread needs milliseconds, a starved container perhaps some seconds


class Supervisor:
    """An event loop on a thread of its own; or, with ``threaded=False`` (simulation), the caller's loop itself."""

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    @property
    def threaded(self) -> bool:
        return self._threaded

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that runs what is given to ``call``; there is one between ``start`` and ``stop``."""
        if self._loop is None:
            raise ManagerError("the supervisor is not running: start the manager first")
        return self._loop

    async def start(self) -> None:
        """Start the thread; returns when its loop runs. Raises ManagerError, with the reason, if it never does."""
        work_loop = asyncio.get_running_loop()
        if not self._threaded:
            self._loop = work_loop
            return
        if isinstance(work_loop, VirtualTimeLoop):
            raise ManagerError(
                "a loop with virtual time never hears the supervisor's thread, which a manager has unless its transport is "
                "in process: use an in-process transport (pyoperator.testing), or a real loop"
            )
        # The system's own loop, whatever the work loop is: it must not share the work's peculiarities.
        try:
            loop = asyncio.SelectorEventLoop()
        except OSError as error:
            raise ManagerError(f"the supervisor's thread can't be started: {error}") from error

        turns: asyncio.Future[None] = work_loop.create_future()

        def tell(error: BaseException | None) -> None:
            if turns.done():
                return
            if error is None:
                turns.set_result(None)
            else:
                turns.set_exception(ManagerError(f"the supervisor's thread ended at once: {error!r}"))

        def serve() -> None:
            loop.call_soon(work_loop.call_soon_threadsafe, tell, None)
            try:
                _run(loop)
            except BaseException as error:
                with suppress(RuntimeError):
                    work_loop.call_soon_threadsafe(tell, error)
                raise
            finally:
                # The work loop may be gone if nobody waits any more.
                with suppress(RuntimeError):
                    work_loop.call_soon_threadsafe(self._ended.set)

        thread = threading.Thread(target=serve, name="pyoperator-supervisor", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            loop.close()
            raise ManagerError(
                f"the supervisor's thread can't be started ({error}): is a limit of tasks reached?"
            ) from error
        self._thread, self._loop = thread, loop
        try:
            async with asyncio.timeout(_STARTS_WITHIN):
                await turns
        except TimeoutError:
            raise ManagerError(
                f"the supervisor's thread did not answer within {_STARTS_WITHIN:g} s: either the work loop does not hear "
                "other threads (a loop with virtual time?), or the process gets no CPU"
            ) from None

    async def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run ``function()`` on the supervisor's loop and wait for its result; cancelling the wait cancels it there."""
        if not self._threaded:
            return await function()
        return await asyncio.wrap_future(self.submit(function()))

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``work`` on the supervisor's loop, from any thread; cancelling the future cancels it."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except (RuntimeError, ManagerError):
            work.close()  # never started: without this Python would warn about it
            raise

    async def stop(self) -> None:
        """End the thread after cancelling what still runs on its loop. Idempotent."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        with suppress(RuntimeError):  # it ended by itself
            loop.call_soon_threadsafe(loop.stop)
        # Not joined in the default executor: that may be full of reconcilers that hang.
        await self._ended.wait()
        thread.join()

    def __repr__(self) -> str:
        state = "running" if self._loop is not None else "not running"
        return f"<Supervisor {'thread' if self._threaded else 'same loop'} {state}>"


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                # Bounded: the thread must end even if a task swallows its cancellation.
                loop.run_until_complete(asyncio.wait(tasks, timeout=2.0))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
