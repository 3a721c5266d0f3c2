"""One version of one object, as the store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.objects import GroupVersionKind

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class StoredObject:
    """One version of one object, never changed after it was made: its JSON and what selectors need of it."""

    __slots__ = ("data", "fields", "gvk", "key", "labels", "name", "namespace", "resource", "revision", "uid")

    def __init__(
        self,
        *,
        resource: str,
        gvk: GroupVersionKind,
        namespace: str,
        name: str,
        uid: str,
        revision: int,
        data: bytes,
        labels: Mapping[str, str],
        fields: Mapping[str, str],
    ) -> None:
        self.resource: str = resource
        self.gvk: GroupVersionKind = gvk
        self.namespace: str = namespace
        self.name: str = name
        self.uid: str = uid
        self.revision: int = revision
        self.data: bytes = data
        self.labels: Mapping[str, str] = labels
        self.fields: Mapping[str, str] = fields
        self.key: str = storage_key(namespace, name)

    def decode(self) -> dict[str, Any]:
        """Return a fresh dict."""
        obj: dict[str, Any] = _decode(self.data)
        return obj

    def at_revision(self, revision: int) -> StoredObject:
        """Return the same object stamped with another version: what a watcher sees leave its selection."""
        obj = self.decode()
        obj["metadata"]["resourceVersion"] = str(revision)
        return StoredObject(
            resource=self.resource,
            gvk=self.gvk,
            namespace=self.namespace,
            name=self.name,
            uid=self.uid,
            revision=revision,
            data=_encode(obj),
            labels=self.labels,
            fields=self.fields,
        )

    def __repr__(self) -> str:
        # Never the contents: an object may be a Secret.
        return f"<{self.resource} {self.key} v{self.revision}>"


def storage_key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
