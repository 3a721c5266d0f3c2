"""From a write to the informers that will see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.cache._selectors import LabelSelector
from pyoperator.cache._unseen_write import Write, as_number
from pyoperator.cache._write_observer import WriteObserver
from pyoperator.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from pyoperator.cache._informer import Informer
    from pyoperator.cache._unseen_write import Deletion
    from pyoperator.cache._write_observer import ObservedWrite, Place, WrittenMetadata
    from pyoperator.client import Transport
    from pyoperator.objects import Metadata

    Deletions: TypeAlias = dict[Informer, Deletion]


class WriteRouting:
    """Tell each informer of a cache what was written of its kind, in whichever version of the API.

    For an informer that is made later, the newest version written of each kind is kept: one number per kind.
    """

    def __init__(self) -> None:
        self._informers: dict[tuple[str, str], list[Informer]] = {}
        self._newest: dict[tuple[str, str], int] = {}

    def observing(self, transport: Transport) -> Transport:
        """Return a transport whose writes are told here."""
        return WriteObserver(transport, self)

    def add(self, informer: Informer) -> None:
        """Tell this informer of what is written from now on, and let its readers wait for what was written before.

        One of metadata alone has no readers that wait.
        """
        if informer.options.metadata_only:
            return
        kind = _kind(informer)
        self._informers.setdefault(kind, []).append(informer)
        informer.own_writes.on_versions_begun_anew = self._newest.clear
        if kind in self._newest:
            informer.own_writes.note_version(self._newest[kind])

    def remove(self, informer: Informer) -> None:
        """Forget an informer; reads that wait for it go to the server."""
        kind = _kind(informer)
        left = [found for found in self._informers.pop(kind, ()) if found is not informer]
        if left:
            self._informers[kind] = left
        informer.own_writes.close()

    # --- WriteAudience

    def begin(self, place: Place) -> Deletions:
        """Let the informers of the kind take note of what they see until the answer, which may come after it."""
        key = ObjectKey(place.namespace, place.name)
        informers = self._informers.get((place.group, place.plural), ())
        return {informer: informer.own_writes.begin_deletion(key) for informer in informers}

    def end(self, begun: Deletions) -> None:
        for informer, deletion in begun.items():
            informer.own_writes.end_deletion(deletion)

    def observed(self, write: ObservedWrite, begun: Deletions | None) -> None:
        """Tell the informers of the kind."""
        version = as_number(write.answer.metadata.resource_version)
        kind = write.place.group, write.place.plural
        if version > self._newest.get(kind, 0):
            self._newest[kind] = version
        for informer in self._informers.get(kind, ()):
            for effect in _effects(informer, write, version, begun):
                if informer.covers(effect.key.namespace):
                    informer.own_writes.note(effect)


def _effects(informer: Informer, write: ObservedWrite, version: int, begun: Deletions | None) -> Iterable[Write]:
    """Return what an informer will see of a write."""
    place, metadata = write.place, write.answer.metadata
    deletes = write.method == "DELETE"
    if deletes and not place.name:
        return _of_collection(informer, write)
    if begun is not None and write.answer.kind == "Status":
        return _of_status(informer, write, begun.get(informer))
    if (deletes or metadata.deletion_timestamp is not None) and _is_gone(metadata):
        # Deleted, or the last finalizer went with this write: then the version is the one before the deletion.
        return (Write(write.key, "gone", metadata.uid, version),)
    if not version:
        return ()
    if place.subresource == "scale":
        # A Scale tells the object's version, not its labels: an informer that selects by them waits for what it knows.
        selected = not informer.selective or informer.store.get(write.key) is not None
        return (Write(write.key, "present", metadata.uid, version, selected=selected),)
    return (Write(write.key, "present", metadata.uid, version, metadata.labels, _selects(informer, write)),)


def _of_status(informer: Informer, write: ObservedWrite, begun: Deletion | None) -> Iterable[Write]:
    """Read a Status, which names no version: the object is gone, or, of an eviction, on its way."""
    deletes = write.method == "DELETE"
    uid = write.deleted_uid() if deletes else "" if begun is None else begun.held
    ended = begun is not None and uid in begun.seen
    # What an informer with selectors took for the end may have been a change of labels, and it may have come back since.
    if not uid or (ended and not informer.selective):
        return ()
    known = ended or (begun is not None and uid == begun.held)
    return (Write(write.key, "gone" if deletes else "dying", uid, known=known),)


def _of_collection(informer: Informer, write: ObservedWrite) -> Iterable[Write]:
    """Read what was deleted, as it was before: it is gone now, or dying if something holds it back."""
    deleted = write.deleted_items()
    found: Iterable[Metadata | WrittenMetadata] = _stored(informer, write) if deleted is None else deleted
    for metadata in found:
        if metadata.deletion_timestamp is None:
            version = as_number(metadata.resource_version)
            selected = not informer.held_fields.equal and informer.held_labels.matches(metadata.labels)
            yield Write(metadata.key, "dying", metadata.uid, version, metadata.labels, selected)


def _kind(informer: Informer) -> tuple[str, str]:
    return informer.resource.gvk.group, informer.resource.plural


def _is_gone(metadata: WrittenMetadata) -> bool:
    """Tell whether an object in the answer to its deletion, or with a deletionTimestamp, is not stored any more."""
    if metadata.deletion_timestamp is None:
        return True  # some kinds answer with the object as it was
    return not metadata.finalizers and not metadata.deletion_grace_period_seconds


def _stored(informer: Informer, write: ObservedWrite) -> list[Metadata]:
    """Return what a deletion that names no objects must have hit, of what is known here."""
    query = dict(write.query)
    if query.get("fieldSelector"):
        return []
    selector = LabelSelector.parse(query.get("labelSelector", ""))
    return [entry.metadata for entry in informer.store.select(namespace=write.place.namespace, selector=selector)]


def _selects(informer: Informer, write: ObservedWrite) -> bool:
    """Tell whether the informer's selectors include the object as it was written."""
    if not informer.selective:
        return True
    if not informer.held_labels.matches(write.answer.metadata.labels):
        return False
    fields = informer.held_fields
    if not fields.equal and not fields.unequal:
        return True
    document = msgspec.json.decode(write.body)
    return all(_field(document, path) == value for path, value in fields.equal) and all(
        _field(document, path) != value for path, value in fields.unequal
    )


def _field(document: Any, path: str) -> str:
    """Return the value at a path as field selectors write it: text, nothing for what is absent."""
    found = document
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)
