"""Fakes of what a manager manages, and of the API server it talks to."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pyoperator.client import OpenGate, Response, TransportError, is_mutating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pyoperator.client import Gate, StreamResponse


class Journal(list[str]):
    """What happened, in order."""


class Recorded:
    """A runnable that writes down its life. ``drain_takes`` / ``unwind_takes``: seconds; None: no drain / at once."""

    def __init__(
        self,
        journal: Journal,
        name: str,
        *,
        need_leader_election: bool = True,
        drain_takes: float | None = None,
        unwind_takes: float = 0.0,
        fails_after: float | None = None,
    ) -> None:
        self.journal = journal
        self.name = name
        self.need_leader_election = need_leader_election
        self.unwind_takes = unwind_takes
        self.fails_after = fails_after
        if drain_takes is not None:
            self.drain = lambda: self._drain(drain_takes)

    async def run(self) -> None:
        self.journal.append(f"{self.name} starts")
        try:
            if self.fails_after is not None:
                await asyncio.sleep(self.fails_after)
                raise ConnectionError(f"{self.name} broke")
            await asyncio.get_running_loop().create_future()
        finally:
            await self._unwind()
            self.journal.append(f"{self.name} ends")

    async def _unwind(self) -> None:
        """Resist further cancellation, as code does that swallows it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.unwind_takes
        while loop.time() < until:
            try:
                await asyncio.sleep(until - loop.time())
            except asyncio.CancelledError:
                continue

    async def _drain(self, seconds: float) -> None:
        self.journal.append(f"{self.name} drains")
        await asyncio.sleep(seconds)
        self.journal.append(f"{self.name} drained")


class FakeElection:
    """An election that is won at once and lost on demand."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lost = asyncio.Event()
        self.reason = ""
        self.won = asyncio.Event()
        self.won.set()

    def lose(self, reason: str) -> None:
        self.reason = reason
        self.won.clear()
        self.lost.set()

    async def acquire(self) -> None:
        self.journal.append("campaign")
        await self.won.wait()
        self.lost.clear()
        self.journal.append("elected")

    async def wait_lost(self) -> str:
        await self.lost.wait()
        return self.reason

    def close_fence(self) -> None:
        self.journal.append("fence closes")

    async def release(self) -> None:
        self.journal.append("lease released")

    async def stop(self) -> None:
        self.journal.append("election stops")


class FakeService:
    def __init__(self, journal: Journal, name: str) -> None:
        self.journal = journal
        self.name = name
        self.hangs = False
        self.go_on = asyncio.Event()

    async def start(self) -> None:
        self.journal.append(f"{self.name} serves")

    async def stop(self) -> None:
        if self.hangs:
            await self.go_on.wait()
        self.journal.append(f"{self.name} closes")

    def __repr__(self) -> str:
        return f"<FakeService {self.name}>"


class LeaseServer:
    """An API server that knows ``/version``, one Lease and Events, on whichever loop asks."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.reachable = True
        self.known = True
        self.requests: list[tuple[str, str]] = []

    def transport(self, gate: Gate | None = None) -> LeaseTransport:
        return LeaseTransport(self, gate or OpenGate())

    def answer(self, method: str, path: str, body: bytes | None) -> Response:
        self.requests.append((method, path))
        if not self.known:
            return _status(401, "Unauthorized")
        if path == "/version":
            return Response(200, b"{}")
        if "/leases" not in path:
            return Response(201, body or b"{}")
        if method == "GET":
            return self._lease(200) if self.lease is not None else _status(404, "NotFound")
        sent = json.loads(body or b"{}")
        if method == "POST" and self.lease is not None:
            return _status(409, "AlreadyExists")
        if method == "PUT":
            if self.lease is None:
                return _status(404, "NotFound")
            if sent["metadata"].get("resourceVersion") != self.lease["metadata"]["resourceVersion"]:
                return _status(409, "Conflict")
        self.version += 1
        sent["metadata"].update(resourceVersion=str(self.version), uid="lease-uid")
        self.lease = sent
        return self._lease(200)

    @property
    def holder(self) -> str:
        return "" if self.lease is None else str(self.lease["spec"].get("holderIdentity") or "")

    def take_away(self) -> None:
        """Give the Lease to somebody else, as an edit by hand would."""
        assert self.lease is not None
        self.version += 1
        self.lease["spec"]["holderIdentity"] = "usurper"
        self.lease["metadata"]["resourceVersion"] = str(self.version)

    def _lease(self, status: int) -> Response:
        return Response(status, json.dumps(self.lease).encode())


def _status(code: int, reason: str) -> Response:
    return Response(code, json.dumps({"kind": "Status", "code": code, "reason": reason, "message": reason}).encode())


class LeaseTransport:
    """Watching is forbidden here: the elector polls."""

    in_process = False

    def __init__(self, server: LeaseServer, gate: Gate) -> None:
        self._server = server
        self._gate = gate
        self.closed = False

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        await asyncio.sleep(0)
        if not self._server.reachable:
            raise TransportError("connection refused", sent=False)
        if is_mutating(method, path):
            self._gate.admit(method, path)
        return self._server.answer(method, path, body)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AsyncIterator[StreamResponse]:
        yield _Refused()

    async def aclose(self) -> None:
        self.closed = True


class InProcessLeaseTransport(LeaseTransport):
    in_process = True


class _Refused:
    status = 403
    headers: Mapping[str, str] = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'{"kind":"Status","code":403,"reason":"Forbidden"}'


def in_process(server: LeaseServer) -> Callable[[Gate], InProcessLeaseTransport]:
    return lambda gate: InProcessLeaseTransport(server, gate)
