"""A transport of canned answers that remembers what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from pyoperator.client import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from pyoperator.client import Query, StreamResponse


@dataclass
class Sent:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    timeout: float


def answer(document: Any, status: int = 200, **headers: str) -> Response:
    return Response(
        status, msgspec.json.encode(document), {name.replace("_", "-"): value for name, value in headers.items()}
    )


def failure(code: int, reason: str = "", message: str = "", **headers: str) -> Response:
    return answer({"kind": "Status", "code": code, "reason": reason, "message": message}, code, **headers)


@dataclass
class FakeTransport:
    in_process: ClassVar[bool] = True

    answers: list[Response | BaseException] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    stream_status: int = 200
    sent: list[Sent] = field(default_factory=list)
    handler: Callable[[Sent], Response] | None = None
    open_streams: int = 0

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
        sent = Sent(
            method, path, dict(query), msgspec.json.decode(body) if body else None, dict(headers or {}), timeout
        )
        self.sent.append(sent)
        await asyncio.sleep(0)
        if self.handler is not None:
            return self.handler(sent)
        given = self.answers.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given

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
    ) -> AsyncGenerator[StreamResponse]:
        self.sent.append(Sent(method, path, dict(query), None, dict(headers or {}), connect_timeout))
        self.open_streams += 1
        try:
            yield FakeStream(self.stream_status, {}, self.chunks)
        finally:
            self.open_streams -= 1

    async def aclose(self) -> None:
        self.answers.clear()


@dataclass
class FakeStream:
    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)
            yield piece
