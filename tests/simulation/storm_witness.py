"""What stands between a storm's faults and the server: older servers, and who counts what the server itself refuses."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from pyoperator.client import is_in_process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from pyoperator.client import Query, Response, StreamResponse, Transport


class Witness:
    """Pass requests on and count the 410s that the server itself gives, in both forms.

    Two paths lead to older servers that know no WatchList, so that lists in pages meet the storm as well: namespace one
    refuses the parameter, namespace two ignores it.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.seen: Counter[str] = Counter()

    @property
    def in_process(self) -> bool:
        return is_in_process(self._inner)

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
        return await self._inner.request(method, path, query=query, body=body, headers=headers, timeout=timeout)

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
        if any(name == "sendInitialEvents" for name, _ in query):
            if "/namespaces/one/" in path:
                yield _Refused()
                return
            if "/namespaces/two/" in path:
                query = [pair for pair in query if pair[0] not in {"sendInitialEvents", "resourceVersionMatch"}]
        async with self._inner.stream(
            method, path, query=query, headers=headers, connect_timeout=connect_timeout, idle_timeout=idle_timeout
        ) as response:
            if response.status == 410:
                self.seen["status"] += 1
            yield _WitnessedStream(response, self.seen)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Refused:
    status = 400
    headers: ClassVar[dict[str, str]] = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'{"kind":"Status","code":400,"reason":"BadRequest","message":"sendInitialEvents is forbidden"}'


class _WitnessedStream:
    def __init__(self, inner: StreamResponse, seen: Counter[str]) -> None:
        self._inner = inner
        self._seen = seen
        self.status = inner.status
        self.headers = inner.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner.chunks():
            if chunk.startswith(b'{"type":"ERROR"'):
                self._seen["event"] += 1
            yield chunk
