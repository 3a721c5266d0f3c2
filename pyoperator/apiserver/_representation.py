"""From stored objects to answers: single objects, lists, Tables, partial metadata, and lines of a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._negotiation import JSON, YAML, Wanted, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver.registry import Kind, Registry
    from pyoperator.apiserver.storage import StoredObject
    from pyoperator.clock import Clock

_encode = msgspec.json.encode


class _MetadataAlone(msgspec.Struct):
    metadata: msgspec.Raw


_read_metadata = msgspec.json.Decoder(_MetadataAlone).decode


class Representation:
    """How one request sees the objects of one kind; it is also the encoder of that request's watch.

    ``include`` is a Table's includeObject: Metadata, Object or None.
    """

    def __init__(
        self, kind: Kind, wanted: Wanted, operations: Operations, registry: Registry, *, clock: Clock, include: str = ""
    ) -> None:
        self._kind = kind
        self._wanted = wanted
        self._operations = operations
        self._registry = registry
        self._clock = clock
        self._include = include or "Metadata"
        if wanted.shape == "Table" and self._include not in {"Metadata", "Object", "None"}:
            raise _status.bad_request(
                f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": '
                "must be 'Metadata', 'Object', 'None', or empty"
            )

    @property
    def content_type(self) -> str:
        return self._wanted.media_type

    @property
    def stream_content_type(self) -> str:
        if self._wanted.media_type == YAML:
            return f"{YAML};stream=watch"
        return JSON

    @property
    def key(self) -> object:
        kind = self._kind  # itself: a CRD that changes makes another
        if self._wanted.shape == "Table":
            return (kind, "Table", self._include, self._wanted.media_type, self._wanted.shape_version)
        return (kind, self._wanted.shape, self._wanted.media_type, self._wanted.shape_version)

    # Answers

    def object_json(self, stored: StoredObject) -> bytes:
        """Return the object itself as JSON."""
        if self._operations.is_verbatim(self._kind, stored):
            return stored.data
        return _encode(self._operations.view(self._kind, stored))

    def single(self, stored: StoredObject) -> bytes:
        shape = self._wanted.shape
        if shape == "Table":
            return encode(self._table([stored], {"resourceVersion": str(stored.revision)}), self._wanted)
        if shape:
            return encode(self._partial(stored), self._wanted)
        return encode(self.object_json(stored), self._wanted)

    def many(self, objects: Sequence[StoredObject], list_meta: dict[str, Any]) -> bytes:
        shape = self._wanted.shape
        if shape == "PartialObjectMetadata":
            go_type = "unstructured.UnstructuredList" if self._kind.custom else f"core.{self._kind.list_kind}"
            message = f"you requested PartialObjectMetadata, but the requested object is a list (*{go_type})"
            raise _status.StatusError(406, "NotAcceptable", message)
        if shape == "Table":
            return encode(self._table(objects, list_meta), self._wanted)
        if shape:
            document = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{self._wanted.shape_version}",
                "metadata": list_meta,
                "items": [self._partial(stored) for stored in objects],
            }
            return encode(document, self._wanted)
        return encode(self._list_json(objects, list_meta), self._wanted)

    def _list_json(self, objects: Sequence[StoredObject], list_meta: dict[str, Any]) -> bytes:
        kind = self._kind
        meta = _encode({"continue": "", **list_meta} if kind.custom else list_meta)
        if kind.custom:
            head = b'{"apiVersion":"%b","items":[' % kind.gvk.api_version.encode()
            tail = b'],"kind":"%b","metadata":%b}' % (kind.list_kind.encode(), meta)
            items = [self.object_json(stored) for stored in objects]
        else:
            head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
                kind.list_kind.encode(),
                kind.gvk.api_version.encode(),
                meta,
            )
            tail = b"]}"
            # Items of built-in lists say neither kind nor apiVersion; both stand first in the stored bytes.
            prefix = b'{"kind":"%b","apiVersion":"%b",' % (kind.gvk.kind.encode(), kind.gvk.api_version.encode())
            cut = len(prefix)
            items = []
            for stored in objects:
                data = self.object_json(stored)
                items.append(b"{" + data[cut:] if data.startswith(prefix) else data)
        return head + b",".join(items) + tail

    def _partial(self, stored: StoredObject) -> dict[str, Any]:
        # Metadata is the same in every version of a kind: as JSON it is passed on as it stands.
        metadata: Any = _read_metadata(stored.data).metadata
        if self._wanted.media_type == YAML:
            metadata = msgspec.json.decode(metadata)
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": f"meta.k8s.io/{self._wanted.shape_version}",
            "metadata": metadata,
        }

    def _table(
        self, objects: Sequence[StoredObject], list_meta: dict[str, Any], *, headers: bool = True
    ) -> dict[str, Any]:
        views = [self._operations.view(self._kind, stored) for stored in objects]
        return self._table_of(views, list_meta, headers=headers, include=self._include)

    def _table_of(
        self, views: Sequence[dict[str, Any]], list_meta: dict[str, Any], *, headers: bool, include: str
    ) -> dict[str, Any]:
        table = self._registry.table(
            self._kind, views, list_meta=list_meta, include_object=include, now=self._clock.wall()
        )
        table["apiVersion"] = f"meta.k8s.io/{self._wanted.shape_version}"
        if not headers:
            table["columnDefinitions"] = None
        return table

    # Lines of a watch

    def event(self, type_: str, stored: StoredObject, *, first: bool = False) -> bytes:
        if not self._wanted.shape and self._wanted.media_type == JSON:
            return b'{"type":"%b","object":%b}\n' % (type_.encode(), self.object_json(stored))
        return self._line(type_, self._event_object(stored, first=first))

    def _event_object(self, stored: StoredObject, *, first: bool) -> Any:
        match self._wanted.shape:
            case "Table":
                return self._table([stored], {"resourceVersion": str(stored.revision)}, headers=first)
            case "":
                return self._operations.view(self._kind, stored)
            case _:
                return self._partial(stored)

    def bookmark(self, revision: int, *, initial_events_end: bool = False, first: bool = False) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        gvk = self._kind.gvk
        obj: dict[str, Any] = {"kind": gvk.kind, "apiVersion": gvk.api_version, "metadata": metadata}
        if self._wanted.shape == "Table":
            # A row for an object that has nothing but its version: that is what a bookmark is.
            list_meta = {"resourceVersion": str(revision)}
            include = "Metadata" if initial_events_end and self._include == "None" else self._include
            return self._line("BOOKMARK", self._table_of([obj], list_meta, headers=first, include=include))
        if self._wanted.shape:
            obj["kind"], obj["apiVersion"] = "PartialObjectMetadata", f"meta.k8s.io/{self._wanted.shape_version}"
        return self._line("BOOKMARK", obj)

    def error(self, status: bytes) -> bytes:
        return self._line(
            "ERROR", msgspec.Raw(status) if self._wanted.media_type == JSON else msgspec.json.decode(status)
        )

    def _line(self, type_: str, obj: Any) -> bytes:
        if self._wanted.media_type == YAML:
            return b"---\n" + encode({"type": type_, "object": obj}, self._wanted)
        return _encode({"type": type_, "object": obj}) + b"\n"
