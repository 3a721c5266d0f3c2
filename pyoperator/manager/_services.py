"""What lives around all runnables: the servers, on their loops, and small tasks that measure or watch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.cache import Cache
    from pyoperator.manager._supervisor import Supervisor
    from pyoperator.serving import HTTPServer


class SupervisedServer:
    """A server on the supervisor's loop, so that it answers while the work loop is stalled."""

    def __init__(self, supervisor: Supervisor, make: Callable[[], HTTPServer]) -> None:
        self._supervisor = supervisor
        self._make = make
        self._server: HTTPServer | None = None

    @property
    def port(self) -> int:
        return 0 if self._server is None else self._server.port

    async def start(self) -> None:
        server = self._make()
        await self._supervisor.call(server.start)
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._supervisor.call(self._server.stop)

    def __repr__(self) -> str:
        return repr(self._server) if self._server is not None else "<SupervisedServer not started>"


class BackgroundTask:
    """A coroutine function that runs from start to stop and matters to nobody's life but its own."""

    def __init__(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._run = run
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def __repr__(self) -> str:
        return f"<BackgroundTask {self._name}>"


class DeferredServer:
    """A server that is made when it starts, because what it serves may still be added until then."""

    def __init__(self, make: Callable[[], HTTPServer]) -> None:
        self._make = make
        self._server: HTTPServer | None = None

    async def start(self) -> None:
        self._server = self._make()
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    def __repr__(self) -> str:
        return repr(self._server) if self._server is not None else "<DeferredServer not started>"


class CacheRunnable:
    """The cache as a member of the caches group."""

    need_leader_election = False

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def run(self) -> None:
        await self._cache.run()

    async def ready(self) -> None:
        await self._cache.wait_for_cache_sync()
