"""The Lease server over HTTP, on a thread of its own, so that the loops under test may stall."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pyoperator.leaderelection import SupervisorThread
from tests.leaderelection.lease_server import LeaseServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class HTTPLeaseServer:
    """``address`` is where it listens; ``commits`` are (loop time of the server, holder) of each write."""

    def __init__(self) -> None:
        self.core = LeaseServer()
        self.address = ""
        self.commits: list[tuple[float, str]] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()

        def committed(kind: str, item: dict[str, Any]) -> None:
            self.commits.append((loop.time(), item["spec"].get("holderIdentity", "")))

        self.core.listeners.append(committed)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch"):
            return await self._watch(request)
        body = await request.read()
        status, answer = self.core.handle(request.method, request.path, body or None)
        return web.Response(status=status, body=answer, content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        events: asyncio.Queue[bytes] = asyncio.Queue()

        def tell(kind: str, item: dict[str, Any]) -> None:
            events.put_nowait(json.dumps({"type": kind, "object": item}).encode() + b"\n")

        if self.core.lease is not None:
            tell("ADDED", self.core.lease)
        self.core.listeners.append(tell)
        try:
            while True:
                await response.write(await events.get())
        except ConnectionResetError:
            return response
        finally:
            self.core.listeners.remove(tell)


@contextmanager
def http_lease_server() -> Iterator[HTTPLeaseServer]:
    thread = SupervisorThread("lease server")
    thread.start()
    server = HTTPLeaseServer()
    try:
        thread.submit(server.start()).result(10)
        yield server
        thread.submit(server.stop()).result(10)
    finally:
        asyncio.run(thread.stop())
