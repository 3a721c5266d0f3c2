"""The embedded API server as a process that fails when it is told to: ``python _server_program.py FOLDER PORT``.

Told over a socket in the folder, one JSON object per line: the fields of :class:`HTTPFaults` set what is to go wrong,
``{"compact": true}`` forgets the history of changes and ends all watches, as an etcd that was compacted while they
were cut does. Requests of the harness itself (its token is no JWT) are spared.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from pyoperator.apiserver.http import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

CONTROL = "control.sock"
_ERRORS = ((500, "InternalError"), (503, "ServiceUnavailable"), (504, "Timeout"))


@dataclass(frozen=True, slots=True)
class HTTPFaults:
    """How often what goes wrong, as probabilities per request.

    ``errors``: 500, 503 or 504 instead of carrying the request out; ``late_errors``: the same after carrying it out;
    ``throttled``: 429 with Retry-After 1.
    """

    errors: float = 0.0
    late_errors: float = 0.0
    throttled: float = 0.0


class FaultyFace:
    """Wraps the server's handler; ``faults`` may be exchanged at any time."""

    def __init__(self, random: Random) -> None:
        self.faults = HTTPFaults()
        self._random = random

    def wrap(self, handler: Handler) -> Handler:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            faults = self.faults
            if faults == HTTPFaults() or not _is_replica(request):
                return await handler(request)
            if self._random.random() < faults.throttled:
                return _refusal(429, "TooManyRequests", {"Retry-After": "1"})
            if self._random.random() < faults.errors:
                return _refusal(*self._random.choice(_ERRORS))
            # A watch has no end after which an error could come.
            if "watch=" not in request.raw_path and self._random.random() < faults.late_errors:
                await handler(request)
                return _refusal(*self._random.choice(_ERRORS))
            return await handler(request)

        return handle


def _is_replica(request: web.BaseRequest) -> bool:
    return request.headers.get("authorization", "").count(".") == 2


def _refusal(code: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": f"{reason}: injected",
    }
    body = msgspec.json.encode(status)
    return web.Response(status=code, body=body, content_type="application/json", headers=headers)


async def serve(folder: Path, port: int) -> None:
    """Serve until SIGTERM; everything is kept in the folder, so that the next start goes on with it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    face = FaultyFace(Random(port))  # noqa: S311  # chance, not secrecy
    server = EmbeddedServer(
        f"127.0.0.1:{port}",
        data_dir=folder / "data",
        kubeconfig_out=folder / "kubeconfig",
        audit_log=folder / "audit.log",
        middleware=face.wrap,
    )
    gc.freeze()  # as ``pyoperator apiserver`` does
    async with server:

        async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async for line in reader:
                told = json.loads(line)
                if told.pop("compact", False):
                    server.server.store.compact(server.server.store.revision)
                    server.server.store.close_watchers()
                if told:
                    face.faults = replace(HTTPFaults(), **told)
                writer.write(b"done\n")
                await writer.drain()
            writer.close()

        place = folder / CONTROL
        place.unlink(missing_ok=True)
        async with await asyncio.start_unix_server(control, place):
            print("serving", flush=True)
            # Nobody reads on: whatever is printed from now on, tracebacks of a page each among it, would fill the pipe and
            # stop the server in the middle of a request.
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
