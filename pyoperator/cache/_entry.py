"""One cached object and one change of it: bytes and metadata, never a built object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

import msgspec
import msgspec.structs

from pyoperator.cache._packing import Packing
from pyoperator.objects import Metadata, ObjectKey, Scheme

if TYPE_CHECKING:
    from pyoperator.objects import GroupVersionKind, Unstructured

T = TypeVar("T")

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]


class Entry(msgspec.Struct, frozen=True, gc=False, eq=False):
    """An object as the cache holds it: its JSON bytes, and the metadata read from them.

    Frozen. Handlers, index functions and predicates are given the cache's own, of which labels and annotations may be
    read-only and shared with other objects; reads (:meth:`Cache.get_entry`) get copies. An object is built only by :meth:`decode`, afresh each time, so that whoever changes what it got changes
    nothing here. ``held`` is what is in memory: the JSON, or a compressed frame of it if
    the kind's options say so (the cache may change one into the other); read :attr:`raw`.
    """

    metadata: Metadata
    held: bytes
    scheme: Scheme
    packing: Packing | None = None

    @property
    def raw(self) -> bytes:
        """The object's JSON; decompressed at each access if it is held compressed."""
        return self.held if self.packing is None else self.packing.unpack(self.held)

    @property
    def size(self) -> int:
        """Bytes of the object's JSON."""
        return len(self.held) if self.packing is None else self.packing.size(self.held)

    @property
    def key(self) -> ObjectKey:
        return self.metadata.key

    def copied(self) -> Entry:
        """Return an entry of which even labels and annotations may be changed without changing the cache's."""
        metadata = msgspec.structs.replace(
            self.metadata, labels=dict(self.metadata.labels), annotations=dict(self.metadata.annotations)
        )
        return Entry(metadata, self.held, self.scheme, self.packing)

    @overload
    def decode(self, kind: GroupVersionKind) -> Unstructured: ...
    @overload
    def decode(self, kind: type[T]) -> T: ...
    def decode(self, kind: Any) -> Any:
        """Build a fresh object of a class or a GVK; raises DecodeError, UnknownKindError."""
        return self.scheme.codec(kind).decode(self.raw)

    def __repr__(self) -> str:
        # Never the bytes: they may be a Secret's.
        return f"<Entry {self.key} rv={self.metadata.resource_version} {self.size} bytes>"


class CacheEvent(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A change that the cache has already taken in.

    ``old`` is None for ADDED, ``new`` is None for DELETED (then ``old`` is the last state the server told). Two flags
    for those who weigh work: ``initial`` marks what existed before the handler or the cache started, ``resync`` a
    periodic MODIFIED whose ``old`` is its ``new``. ``final_state_unknown`` marks a DELETED that was found by a
    comparison after the watch had a gap (``DeletedFinalStateUnknown`` in client-go): ``old`` may be outdated.
    """

    type: EventType
    key: ObjectKey
    old: Entry | None = None
    new: Entry | None = None
    initial: bool = False
    resync: bool = False
    final_state_unknown: bool = False

    @property
    def entry(self) -> Entry:
        """The newest known state: ``new``, or ``old`` of a deleted object."""
        found = self.new if self.new is not None else self.old
        if found is None:
            raise ValueError(f"{self.type} event of {self.key} carries no object")
        return found


class EventHandler(Protocol):
    """What an informer calls, synchronously and in order per key; a handler must not block (queue the work).

    An exception from a handler is logged and counted; it stops neither other handlers nor the informer.
    """

    def on_add(self, event: CacheEvent) -> None: ...

    def on_update(self, event: CacheEvent) -> None: ...

    def on_delete(self, event: CacheEvent) -> None: ...
