"""Collections of any size, read object by object while they arrive."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Generic, TypeVar

from pyoperator.client._errors import TransportError
from pyoperator.client._lists import Undecodable
from pyoperator.client._splitting import ListSplitter, MalformedStream
from pyoperator.client._transport import Response
from pyoperator.objects import DecodeError, partial_metadata

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from types import TracebackType

    import msgspec

    from pyoperator.client._transport import Query, Transport
    from pyoperator.objects import Codec

T = TypeVar("T")

_IDLE = 60.0
"""Seconds without a byte after which a page that is read at the caller's pace counts as broken."""


class ListPage:
    """One page of a list, cut into items while it arrives.

    A page as small as asked for is taken in at once, so that it can be asked for again when its connection breaks and
    a slow reader holds no connection. Of a larger one (the server ignores the limit) only the beginning is: the rest
    comes at the reader's pace, and a break ends it.
    """

    def __init__(self, transport: Transport, path: str, query: Query, size: int) -> None:
        self._transport = transport
        self._path = path
        self._query = query
        self._size = size
        self._splitter = ListSplitter()
        self._items: list[msgspec.Raw] = []
        self._rest: AsyncIterator[bytes] | None = None
        self._open = AsyncExitStack()

    @property
    def resource_version(self) -> str:
        return self._splitter.resource_version

    @property
    def continue_(self) -> str:
        """Where the next page begins; known when all batches are read."""
        return self._splitter.continue_

    async def open(self, timeout: float) -> Response:
        """Ask for the page; the answer is that of ``Transport.request``, but for the items, which are kept here."""
        self._splitter, self._items = ListSplitter(), []
        try:
            async with AsyncExitStack() as stack, asyncio.timeout(timeout):
                response = await stack.enter_async_context(
                    self._transport.stream(
                        "GET", self._path, query=self._query, connect_timeout=timeout, idle_timeout=_IDLE
                    )
                )
                chunks = response.chunks()
                if response.status >= 400:
                    return Response(response.status, b"".join([chunk async for chunk in chunks]), response.headers)
                async for chunk in chunks:
                    self._items += self._splitter.feed(chunk)
                    if len(self._items) > self._size:
                        self._rest, self._open = chunks, stack.pop_all()
                        return Response(response.status, b"", response.headers)
                self._items += self._splitter.finish()
                return Response(response.status, b"", response.headers)
        except MalformedStream as error:
            raise TransportError(f"GET {self._path}: {error}") from error
        except TimeoutError as error:
            raise TransportError(f"GET {self._path}: the page did not come within {timeout:g} s") from error

    async def batches(self) -> AsyncGenerator[list[msgspec.Raw]]:
        """Yield the items in pieces; raises TransportError when the rest of a large page does not come."""
        async with self._open:
            items, self._items = self._items, []
            yield items
            if self._rest is None:
                return
            try:
                async for chunk in self._rest:
                    yield self._splitter.feed(chunk)
                yield self._splitter.finish()
            except MalformedStream as error:
                raise TransportError(f"GET {self._path}: {error}") from error


class ObjectStream(Generic[T]):
    """The objects of a collection, one after the other: an asynchronous iterator.

    Use it as a context manager if the loop may be left early: ``async with client.stream(...) as objects``.
    ``resource_version`` is the version of the whole, known from the first object on. ``undecodable`` tells which
    objects were left out because they do not fit the class asked for.
    """

    def __init__(self, prepare: Callable[[str], Awaitable[tuple[ListPage, Codec[T]]]]) -> None:
        self.resource_version: str = ""
        self.undecodable: list[Undecodable] = []
        self._objects = self._read(prepare)

    async def _read(self, prepare: Callable[[str], Awaitable[tuple[ListPage, Codec[T]]]]) -> AsyncGenerator[T]:
        continue_ = ""
        while True:
            page, codec = await prepare(continue_)
            batches = page.batches()
            try:
                async for batch in batches:
                    self.resource_version = self.resource_version or page.resource_version
                    for item in batch:
                        try:
                            obj = codec.decode(bytes(item))
                        except DecodeError as error:
                            self.undecodable.append(Undecodable(partial_metadata(item).key, error))
                            continue
                        yield obj
            finally:
                await batches.aclose()
            continue_ = page.continue_
            if not continue_:
                return

    def __aiter__(self) -> ObjectStream[T]:
        return self

    async def __anext__(self) -> T:
        return await anext(self._objects)

    async def aclose(self) -> None:
        """Stop reading and close the connection, if one is open."""
        await self._objects.aclose()

    async def __aenter__(self) -> ObjectStream[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<ObjectStream rv={self.resource_version or '-'}>"
