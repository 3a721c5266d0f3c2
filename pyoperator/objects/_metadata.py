"""The part of an object's metadata that the machinery needs, decoded without the rest of the object."""

from __future__ import annotations

from collections.abc import Mapping  # msgspec resolves the annotations of Metadata
from typing import NamedTuple

import msgspec


class ObjectKey(NamedTuple):
    """Where an object is: namespace (empty for cluster-scoped kinds) and name."""

    namespace: str
    name: str

    @classmethod
    def of(cls, key: ObjectKey | tuple[str, str] | str) -> ObjectKey:
        """Read any form of a key: (namespace, name), ``"namespace/name"``, or ``"name"`` (namespace left empty)."""
        if isinstance(key, str):
            namespace, _, name = key.rpartition("/")
            return cls(namespace, name)
        return cls(*key)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One entry of ``metadata.ownerReferences``."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A read-only view of ``metadata``; managed fields are skipped by the decoder and cost nothing."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    generate_name: str = ""

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages this object, if one does."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class _Envelope(msgspec.Struct, gc=False, rename="camel"):
    metadata: Metadata = Metadata()


_decoder = msgspec.json.Decoder(_Envelope)


def partial_metadata(data: bytes | msgspec.Raw) -> Metadata:
    """Decode only ``metadata`` from an object's JSON; raises ``msgspec.DecodeError`` for what is not an object."""
    return _decoder.decode(data).metadata
