"""What happens to an object's bytes before they are kept."""

from __future__ import annotations

from sys import intern
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import msgspec
import msgspec.structs

from pyoperator.cache._entry import Entry
from pyoperator.cache._label_sets import LabelSets
from pyoperator.objects import Metadata, partial_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyoperator.cache._options import CacheOptions
    from pyoperator.cache._packing import Packing
    from pyoperator.objects import ObjectKey, Scheme

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_MANAGED: Final = b'"managedFields":'
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class _ManagedFields(msgspec.Struct, gc=False, rename="camel"):
    managed_fields: msgspec.Raw = msgspec.Raw(b"")


class _Owner(msgspec.Struct, gc=False):
    metadata: _ManagedFields


_owner = msgspec.json.Decoder(_Owner)


class Unreadable(ValueError):
    """An object whose metadata can't be read, or whose transform failed: it alone is left out."""


class Intake:
    """Turn a view of an object into an :class:`Entry`: decode the metadata, trim the bytes, copy or compress them."""

    def __init__(
        self,
        scheme: Scheme,
        options: CacheOptions,
        known: Callable[[ObjectKey], Entry | None],
        packing: Packing | None = None,
    ) -> None:
        self._scheme = scheme
        self._known = known
        self._strip = options.strip_managed_fields
        self._metadata_only = options.metadata_only
        self._transform = options.transform
        self._packing = packing
        self._label_sets = LabelSets()

    def read(self, raw: msgspec.Raw | bytes) -> Entry:
        """Return the entry to keep; the stored one itself if it is of the same version. Raises Unreadable."""
        try:
            metadata = partial_metadata(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"metadata can't be read: {error}") from error
        if not metadata.name:
            raise Unreadable("metadata.name is missing")
        known = self._known(metadata.key)
        if known is not None and _same_version(known.metadata, metadata):
            return known  # a re-list of unchanged objects costs no memory
        data = bytes(raw)
        if self._metadata_only:
            data = only_metadata(data)
        if self._strip:
            data = strip_managed_fields(data)
        if self._transform is not None:
            try:
                data = self._transform(data)
                metadata = partial_metadata(data)
            except Exception as error:
                raise Unreadable(f"the transform failed for {metadata.key}: {error!r}") from error
        self._share(metadata)
        if self._packing is None:
            return Entry(metadata, data, self._scheme)
        return Entry(metadata, self._packing.pack(metadata.key, data), self._scheme, self._packing)

    def _share(self, metadata: Metadata) -> None:
        """Let equal namespaces, labels and label values, of which there are few, be one each: 400 bytes an object."""
        replace = msgspec.structs.force_setattr  # the metadata is fresh from the decoder, and nobody else's yet
        replace(metadata, "namespace", intern(metadata.namespace))
        if not metadata.annotations:
            replace(metadata, "annotations", _NONE)
        if not metadata.labels:
            replace(metadata, "labels", _NONE)
            return
        labels = self._label_sets.share(metadata.labels)
        if labels is not metadata.labels:
            replace(metadata, "labels", labels)
            return
        own = cast("dict[str, str]", labels)
        for name, value in own.items():
            own[name] = intern(value)


def _same_version(one: Metadata, other: Metadata) -> bool:
    return bool(one.resource_version) and one.resource_version == other.resource_version and one.uid == other.uid


def strip_managed_fields(data: bytes) -> bytes:
    """Drop ``metadata.managedFields`` from an object's JSON; bytes without it are returned as they are."""
    if b'"managedFields"' not in data:
        return data
    value = bytes(_owner.decode(data).metadata.managed_fields)
    if not value:
        return data  # the word occurs elsewhere
    start = data.find(_MANAGED)
    end = start + len(_MANAGED) + len(value)
    if start > 0 and data.startswith(value, start + len(_MANAGED)) and data.find(_MANAGED, start + 1) < 0:
        # It stands there once, as servers write it: cut it out, with one comma. Nothing is built, and the result has
        # just the size it needs.
        if data[start - 1 : start] == b",":
            return data[: start - 1] + data[end:]
        if data[end : end + 1] == b",":
            return data[:start] + data[end + 1 :]
        if data[start - 1 : start] == b"{":
            return data[:start] + data[end:]
    return _without_managed_fields(data)


def _without_managed_fields(data: bytes) -> bytes:
    """Take it out by rebuilding the object: for JSON with spaces, or with the same key in other places."""
    members = _members.decode(data)
    metadata = _members.decode(members["metadata"])
    metadata.pop("managedFields", None)
    members["metadata"] = msgspec.Raw(_encode(metadata))
    return _encode(members)


def only_metadata(data: bytes) -> bytes:
    """Drop all but ``metadata``.

    Also where the server did as asked (PartialObjectMetadata): its kind would hide the object's own.
    """
    return b'{"metadata":' + bytes(_members.decode(data)["metadata"]) + b"}"
