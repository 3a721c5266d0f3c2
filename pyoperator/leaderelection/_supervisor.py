"""A thread with an event loop of its own: what must answer while the work's loop is stalled lives here."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


class Supervisor(Protocol):
    """Anything that runs coroutines on a loop in another thread."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``work`` on the loop; from any thread. Cancelling the future cancels the task."""
        ...


class SupervisorThread:
    """Own one daemon thread with one event loop: ``start()``, ``submit()``, ``stop()``.

    A daemon, so that a stuck coroutine here can't keep a process alive that has been told to end.
    """

    def __init__(self, name: str = "pyoperator-supervisor") -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished: asyncio.Event | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError(f"the thread {self._name} is not running: call start() first")
        return self._loop

    def start(self) -> None:
        """Start the thread and return when its loop runs; does nothing if it already does."""
        if self._thread is not None:
            return
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name=self._name, daemon=True)
        self._thread.start()
        ready.wait()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:
            work.close()
            raise

    async def stop(self) -> None:
        """Cancel what still runs on the loop, end the thread and wait for it, without blocking the caller's loop."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop, finished = self.loop, self._finished
        if finished is not None:
            loop.call_soon_threadsafe(finished.set)
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

    def _serve(self, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._wait(ready))
            finally:
                self._loop = None
        # Leaving the runner cancels all tasks and waits for them.

    async def _wait(self, ready: threading.Event) -> None:
        self._finished = asyncio.Event()
        ready.set()
        await self._finished.wait()

    def __repr__(self) -> str:
        return f"<SupervisorThread {self._name!r} {'running' if self._thread else 'stopped'}>"
