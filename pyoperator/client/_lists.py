"""What lists and watches give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import msgspec

from pyoperator.client._errors import TransportError, error_for
from pyoperator.client._splitting import LineSplitter, MalformedStream
from pyoperator.objects import DecodeError, ObjectKey, partial_metadata

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from pyoperator.client._transport import StreamResponse
    from pyoperator.objects import Codec

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """An object of a list that does not fit its class: it is left out, so that it can't spoil the others."""

    key: ObjectKey
    error: DecodeError


@dataclass(frozen=True, slots=True, repr=False)
class ObjectList(Generic[T]):
    """One list, or one page of it: iterable, with the version it stands for.

    ``continue_`` is not empty if there are further pages. ``undecodable`` tells which objects of the answer are
    missing from ``items`` because they do not fit the class asked for.
    """

    items: list[T]
    resource_version: str = ""
    continue_: str = ""
    remaining_item_count: int | None = None
    undecodable: tuple[Undecodable, ...] = field(default=())

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]

    def __repr__(self) -> str:
        return f"<ObjectList of {len(self.items)} rv={self.resource_version or '-'}>"


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class _List(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


_list_decoder = msgspec.json.Decoder(_List)


def decode_list(data: bytes, codec: Codec[T]) -> ObjectList[T]:
    """Split an answer into items and decode each on its own."""
    try:
        raw = _list_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise TransportError(f"the server's list is not one: {error}") from error
    items: list[T] = []
    undecodable: list[Undecodable] = []
    for item in raw.items or ():
        try:
            items.append(codec.decode(bytes(item)))
        except DecodeError as error:
            undecodable.append(Undecodable(partial_metadata(item).key, error))
    return ObjectList(
        items=items,
        resource_version=raw.metadata.resource_version,
        continue_=raw.metadata.continue_,
        remaining_item_count=raw.metadata.remaining_item_count,
        undecodable=tuple(undecodable),
    )


WatchEventType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T_co]):
    """One change: what happened, and the object after it (for DELETED: its last state)."""

    type: WatchEventType
    object: T_co


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


_event_decoder = msgspec.json.Decoder(_RawEvent)


def _read_events(lines: LineSplitter, chunk: bytes, what: str) -> Iterator[_RawEvent]:
    try:
        for line in lines.feed(chunk):
            yield _event_decoder.decode(line)
    except MalformedStream as error:
        raise TransportError(f"{what}: {error}") from error
    except msgspec.DecodeError as error:
        raise TransportError(f"{what}: not a watch event: {error}") from error


class Watch(Generic[T]):
    """The events of one watch: an asynchronous iterator that ends when the server ends the watch.

    Use it as a context manager if the loop may be left early: ``async with client.watch(...) as events``. Raises
    Expired (list again), other ApiErrors, TransportError, and DecodeError for an object that does not fit its class.
    """

    def __init__(
        self,
        prepare: Callable[[], Awaitable[tuple[AbstractAsyncContextManager[StreamResponse], Codec[T], str]]],
    ) -> None:
        self._events = self._read(prepare)

    @staticmethod
    async def _read(
        prepare: Callable[[], Awaitable[tuple[AbstractAsyncContextManager[StreamResponse], Codec[T], str]]],
    ) -> AsyncGenerator[WatchEvent[T]]:
        method = "GET"
        opened, codec, path = await prepare()
        async with opened as response:
            if response.status >= 400:
                body = b"".join([chunk async for chunk in response.chunks()])
                raise error_for(
                    response.status,
                    body,
                    method=method,
                    path=path,
                    retry_after=response.headers.get("retry-after"),
                )
            # A last line without its end is an interrupted one, and is dropped.
            lines = LineSplitter()
            async for chunk in response.chunks():
                for event in _read_events(lines, chunk, f"{method} {path}"):
                    if event.type == "ERROR":
                        status: dict[str, Any] = msgspec.json.decode(event.object)
                        raise error_for(int(status.get("code") or 500), status, method=method, path=path)
                    if event.type in {"ADDED", "MODIFIED", "DELETED"}:
                        yield WatchEvent(cast("WatchEventType", event.type), codec.decode(bytes(event.object)))

    def __aiter__(self) -> Watch[T]:
        return self

    async def __anext__(self) -> WatchEvent[T]:
        return await anext(self._events)

    async def aclose(self) -> None:
        """End the watch and close its connection."""
        await self._events.aclose()

    async def __aenter__(self) -> Watch[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
