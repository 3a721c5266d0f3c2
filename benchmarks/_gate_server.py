"""The server of the memory gate: the embedded one, filled before it serves, that changes objects and forgets when told.

It reads one word a line from its standard input and answers when it is done: ``update N`` changes the first N objects;
``relist`` ends all watches and answers 410 to every watch that wants to go on from where it was, as a server does that
has compacted its history. An object is created in between, which a client can learn only by listing anew.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from aiohttp import web

from benchmarks._workload import NAMESPACE, Database, database, definition, first_status, name_of
from pyoperator.apiserver import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from pyoperator.apiserver import SystemClient

_GONE = (
    b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version",'
    b'"reason":"Expired","code":410}'
)


class Forgetful:
    """Refuse to continue watches once ``forgotten`` is set; counts the refusals."""

    def __init__(self) -> None:
        self.forgotten = False
        self.refused = 0

    def middleware(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            query = request.rel_url.query
            goes_on = query.get("watch") in {"true", "1"} and query.get("sendInitialEvents") != "true"
            if self.forgotten and goes_on and self.refused == 0 and request.path.endswith("/databases"):
                self.refused += 1
                return web.Response(status=410, body=_GONE, content_type="application/json")
            return await handler(request)

        return handle


async def serve(kubeconfig: Path, n: int) -> None:
    """Serve until standard input ends; ``kubeconfig`` is where its own is written."""
    forgetful = Forgetful()
    async with EmbeddedServer(kubeconfig_out=kubeconfig, middleware=forgetful.middleware) as server:
        system = server.server.system
        system.create(dict(definition()))
        for number in range(n):
            _create(system, number)
        print(f"kubeconfig: {server.kubeconfig}", flush=True)
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while line := (await commands.readline()).decode().split():
            if line[0] == "update":
                await _update(system, int(line[1]))
            elif line[0] == "create":
                _create(system, int(line[1]))
            else:
                forgetful.forgotten = True
                _create(system, n)
                server.server.end_watches()
            print(f"done {line[0]}", flush=True)
        if forgetful.forgotten and not forgetful.refused:
            raise RuntimeError("no watch wanted to go on: nothing was listed anew, and the figure means nothing")


def _create(system: SystemClient, number: int) -> None:
    made: dict[str, Any] = system.create(database(number))
    system.update_status({**made, "status": first_status()})


async def _update(system: SystemClient, n: int) -> None:
    gvk = Database.options.resource.gvk
    for number in range(n):
        found = system.get(gvk, NAMESPACE, name_of(number))
        if found is None:
            raise RuntimeError(f"{name_of(number)} is gone")
        system.update({**found, "spec": {**found["spec"], "version": "17.0"}})
        if number % 50 == 0:  # the watch must be served meanwhile, or its events pile up here
            await asyncio.sleep(0.001)
