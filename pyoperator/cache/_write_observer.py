"""A transport that tells what the writes through it have changed."""

from __future__ import annotations

from collections.abc import Mapping  # msgspec resolves the annotations
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec

from pyoperator.client import Query  # msgspec resolves the annotations of ObservedWrite
from pyoperator.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyoperator.client import Response, StreamResponse, Transport

Begun = TypeVar("Begun")

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OF_NAMESPACES: Final = frozenset({"status", "finalize"})


class Place(msgspec.Struct, gc=False, frozen=True):
    """What a path names: a collection (``name`` empty), an object, or a subresource of one."""

    group: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @classmethod
    def of(cls, path: str) -> Place | None:
        """Read ``/apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUBRESOURCE]]``; None for any other path."""
        parts = path.split("/")
        namespace, length = "", len(parts)
        if length > 4 and parts[1] == "apis":
            group, at = parts[2], 4
        elif length > 3 and parts[1] == "api":
            group, at = "", 3
        else:
            return None
        # A namespace is an object as well: /api/v1/namespaces/NAME and its two subresources.
        if length > at + 2 and parts[at] == "namespaces" and (length > at + 3 or parts[at + 2] not in _OF_NAMESPACES):
            namespace = parts[at + 1]
            at += 2
        name = parts[at + 1] if length > at + 1 else ""
        return cls(group, parts[at], namespace, name, parts[at + 2] if length > at + 2 else "")


class WrittenMetadata(msgspec.Struct, gc=False, frozen=True, rename="camel"):
    """What of an object's metadata a write is known by."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Mapping[str, str] = {}
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


class Answer(msgspec.Struct, gc=False, frozen=True):
    """What a write's answer says of the object, without the object."""

    kind: str = ""
    metadata: WrittenMetadata = WrittenMetadata()


class _Details(msgspec.Struct, gc=False, frozen=True):
    uid: str = ""


class _Status(msgspec.Struct, gc=False):
    details: _Details = _Details()


class _Collection(msgspec.Struct, gc=False):
    items: tuple[Answer, ...] = ()


_answer = msgspec.json.Decoder(Answer)
_status = msgspec.json.Decoder(_Status)
_collection = msgspec.json.Decoder(_Collection)


class ObservedWrite(msgspec.Struct, frozen=True):
    """A write that the server has carried out: what was asked for, and what it answered (``body``)."""

    method: str
    place: Place
    query: Query
    body: bytes
    answer: Answer

    @property
    def key(self) -> ObjectKey:
        """The object's key: from the answer, which knows generated names, or from the path."""
        metadata = self.answer.metadata
        if metadata.name:
            return metadata.key
        return ObjectKey(self.place.namespace, self.place.name)

    def deleted_uid(self) -> str:
        """Return the uid that the Status of a deletion names; empty if it names none."""
        try:
            return _status.decode(self.body).details.uid
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""

    def deleted_items(self) -> list[WrittenMetadata] | None:
        """Return the metadata of the objects that a deletion of a collection names; None if it names none."""
        if not self.answer.kind.endswith("List"):
            return None
        return [item.metadata for item in _collection.decode(self.body).items]


class WriteAudience(Protocol[Begun]):
    """Who wants to know of writes."""

    def begin(self, place: Place) -> Begun:
        """Take note that an object is about to be deleted or evicted; what is returned belongs to this deletion."""
        ...

    def end(self, begun: Begun) -> None:
        """Take note that it was, or was not."""
        ...

    def observed(self, write: ObservedWrite, begun: Begun | None) -> None:
        """Take note of a write at the moment of its answer; ``begun`` if it is a deletion of one object."""
        ...


class WriteObserver(Generic[Begun]):
    """Pass everything on to a transport, and tell an audience of each write that succeeded, before its caller has it.

    Dry runs, failures and answers that are no objects (a proxy's page) are no writes. A write whose answer was lost may
    have been carried out: nobody can know, so it is not told either.
    """

    def __init__(self, inner: Transport, audience: WriteAudience[Begun]) -> None:
        self.inner = inner
        self._audience = audience

    @property
    def in_process(self) -> bool:
        return self.inner.in_process

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
        """See Transport.request."""
        send = self.inner.request
        place = Place.of(path) if method in _WRITES else None
        if place is None or _is_dry_run(query, body):
            return await send(method, path, query=query, body=body, headers=headers, timeout=timeout)
        if not place.name or (method != "DELETE" and place.subresource != "eviction"):
            response = await send(method, path, query=query, body=body, headers=headers, timeout=timeout)
            self._tell(method, place, query, response, None)
            return response
        begun = self._audience.begin(place)
        try:
            response = await send(method, path, query=query, body=body, headers=headers, timeout=timeout)
            self._tell(method, place, query, response, begun)
        finally:
            self._audience.end(begun)
        return response

    def _tell(self, method: str, place: Place, query: Query, response: Response, begun: Begun | None) -> None:
        if response.status >= 300:
            return
        try:
            answer = _answer.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # the client, which decodes the same bytes, says what is wrong with them
        self._audience.observed(ObservedWrite(method, place, query, response.body, answer), begun)

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
    ) -> AsyncIterator[StreamResponse]:
        """See Transport.stream."""
        async with self.inner.stream(
            method, path, query=query, headers=headers, connect_timeout=connect_timeout, idle_timeout=idle_timeout
        ) as response:
            yield response

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self.inner.aclose()

    def __repr__(self) -> str:
        return repr(self.inner)


def _is_dry_run(query: Query, body: bytes | None) -> bool:
    for name, value in query:
        if name == "dryRun" and value:
            return True
    # DeleteOptions say it in the body; in any other body such a word may be data.
    return body is not None and b'"dryRun"' in body and b'"DeleteOptions"' in body
