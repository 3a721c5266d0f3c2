"""A server that knows Leases only: versions, preconditions, watch history; pure, so that tests decide on time."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pyoperator.client import OpenGate, Response, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from pyoperator.client import Query

PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


class LeaseServer:
    """One Lease, ``default/op``; ``log`` holds (method, user, status, holder after it) of every request."""

    def __init__(self) -> None:
        self.version = 100
        self.uid = 0
        self.lease: dict[str, Any] | None = None
        self.log: list[tuple[str, str, int, str]] = []
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []

    def handle(self, method: str, path: str, body: bytes | None, user: str = "") -> tuple[int, bytes]:
        status, result = self._handle(method, json.loads(body) if body else None)
        self.log.append((method, user, status, self.holder))
        return status, json.dumps(result).encode()

    @property
    def holder(self) -> str:
        return str(self.lease["spec"].get("holderIdentity", "")) if self.lease else ""

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return dict(self.lease["spec"])

    def edit(self, **spec: Any) -> None:
        """Change the spec as an administrator would; a None removes the field."""
        assert self.lease is not None
        merged = {**self.lease["spec"], **spec}
        self.put({**self.lease, "spec": {key: value for key, value in merged.items() if value is not None}})

    def annotate(self, **annotations: str) -> None:
        assert self.lease is not None
        metadata = {**self.lease["metadata"], "annotations": annotations}
        self.put({**self.lease, "metadata": metadata})

    def delete(self) -> None:
        if self.lease is not None:
            gone, self.lease = self.lease, None
            self.version += 1
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
            self._tell("DELETED", gone)

    def put(self, document: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        created = self.lease is None
        if created:
            self.uid += 1
        metadata = {**document["metadata"], "uid": f"uid-{self.uid}", "resourceVersion": str(self.version)}
        self.lease = {**document, "metadata": metadata}
        self._tell("ADDED" if created else "MODIFIED", self.lease)
        return self.lease

    def _handle(self, method: str, document: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        if method == "GET":
            return (200, self.lease) if self.lease else _status(404, "NotFound")
        assert document is not None
        if method == "POST":
            return _status(409, "AlreadyExists") if self.lease else (201, self.put(document))
        if self.lease is None:
            return _status(404, "NotFound")
        for key in ("resourceVersion", "uid"):
            if document["metadata"].get(key) != self.lease["metadata"][key]:
                return _status(409, "Conflict")
        return 200, self.put(document)

    def _tell(self, kind: str, item: dict[str, Any]) -> None:
        for listener in list(self.listeners):
            listener(kind, item)


def _status(code: int, reason: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "code": code, "reason": reason}


class _Stream:
    def __init__(self, status: int, lines: asyncio.Queue[bytes | None]) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self._lines = lines

    async def chunks(self) -> AsyncIterator[bytes]:
        while (line := await self._lines.get()) is not None:
            yield line


class LeaseTransport:
    """A transport straight into a LeaseServer, with a latency and faults; in the test's loop."""

    in_process = True

    def __init__(self, server: LeaseServer, user: str = "", *, latency: float = 0.001) -> None:
        self.server = server
        self.user = user
        self.latency = latency
        self.gate = OpenGate()
        self.down = False
        self.lose_answers = 0
        self.watch_status = 200
        self.closed = False

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        await asyncio.sleep(self.latency / 2)
        if self.down:
            raise TransportError("connection refused", sent=False)
        status, answer = self.server.handle(method, path, body, self.user)
        if method != "GET" and self.lose_answers:
            self.lose_answers -= 1
            raise TransportError("connection reset")
        await asyncio.sleep(self.latency / 2)
        return Response(status, answer)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AsyncIterator[_Stream]:
        await asyncio.sleep(self.latency)
        if self.down:
            raise TransportError("connection refused", sent=False)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()

        def tell(kind: str, item: dict[str, Any]) -> None:
            line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
            asyncio.get_running_loop().call_later(self.latency / 2, queue.put_nowait, line)

        if self.watch_status == 200:
            if self.server.lease is not None:
                tell("ADDED", self.server.lease)
            self.server.listeners.append(tell)
        try:
            yield _Stream(self.watch_status, queue)
        finally:
            if tell in self.server.listeners:
                self.server.listeners.remove(tell)

    async def aclose(self) -> None:
        self.closed = True
