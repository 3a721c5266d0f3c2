"""Patches: what is sent with PATCH, and the pure difference between two objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pyoperator.objects import metadata_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyoperator.objects import Scheme


class Patch(Protocol):
    """A change to send with PATCH."""

    @property
    def content_type(self) -> str: ...

    @property
    def has_precondition(self) -> bool:
        """Tell whether a second delivery of the same patch would be refused: only then may it be sent again."""
        ...

    @property
    def force(self) -> bool | None:
        """The ``force`` parameter of server-side apply; None where it has no meaning."""
        ...

    def encode(self, scheme: Scheme) -> bytes:
        """Return the body."""
        ...


def _names_a_version(document: Any) -> bool:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))


@dataclass(frozen=True, slots=True, repr=False)
class MergePatch:
    """RFC 7396: the fields to change, ``None`` for those to remove; lists are replaced whole."""

    document: Mapping[str, Any]
    content_type: str = "application/merge-patch+json"
    force: None = None

    @property
    def has_precondition(self) -> bool:
        return _names_a_version(self.document)

    def with_optimistic_lock(self, resource_version: str, uid: str = "") -> MergePatch:
        """Return the patch with preconditions: the server answers Conflict if the object changed or was replaced."""
        metadata = {**(self.document.get("metadata") or {}), "resourceVersion": resource_version}
        if uid:
            metadata["uid"] = uid
        return MergePatch({**self.document, "metadata": metadata})

    def encode(self, scheme: Scheme) -> bytes:
        return msgspec.json.encode(self.document)

    def __repr__(self) -> str:
        return f"MergePatch({', '.join(self.document)})"  # names only: values may be secret


@dataclass(frozen=True, slots=True, repr=False)
class StrategicMergePatch:
    """Kubernetes' own merge, which knows the keys of lists; for built-in kinds only (custom resources answer 415)."""

    document: Mapping[str, Any]
    content_type: str = "application/strategic-merge-patch+json"
    force: None = None

    @property
    def has_precondition(self) -> bool:
        return _names_a_version(self.document)

    def encode(self, scheme: Scheme) -> bytes:
        return msgspec.json.encode(self.document)

    def __repr__(self) -> str:
        return f"StrategicMergePatch({', '.join(self.document)})"


@dataclass(frozen=True, slots=True, repr=False)
class JSONPatch:
    """RFC 6902: a list of operations; ``{"op": "test", ...}`` makes it conditional."""

    operations: Sequence[Mapping[str, Any]]
    content_type: str = "application/json-patch+json"
    force: None = None

    @property
    def has_precondition(self) -> bool:
        return any(
            operation.get("op") == "test" and operation.get("path") == "/metadata/resourceVersion"
            for operation in self.operations
        )

    def encode(self, scheme: Scheme) -> bytes:
        return msgspec.json.encode(list(self.operations))

    def __repr__(self) -> str:
        return f"JSONPatch({len(self.operations)} operations)"


@dataclass(frozen=True, slots=True, repr=False)
class ApplyPatch:
    """Server-side apply of ``obj``: the fields in it become owned by the field manager.

    ``force`` takes fields over from other managers. A resourceVersion in the object is a precondition. Managed fields
    are left out, as the server demands.
    """

    obj: Any
    force: bool = False
    content_type: str = "application/apply-patch+yaml"

    @property
    def has_precondition(self) -> bool:
        try:
            return bool(metadata_of(self.obj).resource_version)
        except (AttributeError, TypeError):
            return False  # a shape that only its own codec can read

    def encode(self, scheme: Scheme) -> bytes:
        # JSON is YAML: the content type is named for what people write by hand.
        document = msgspec.json.decode(scheme.codec_for(self.obj).encode(self.obj))
        document.get("metadata", {}).pop("managedFields", None)
        return msgspec.json.encode(document)

    def __repr__(self) -> str:
        return f"ApplyPatch({self.obj!r}, force={self.force})"


@dataclass(frozen=True, slots=True, repr=False)
class RawPatch:
    """Bytes of any patch type, sent as they are."""

    content_type: str
    body: bytes
    has_precondition: bool = False
    force: bool | None = None

    def encode(self, scheme: Scheme) -> bytes:
        return self.body

    def __repr__(self) -> str:
        return f"RawPatch({self.content_type}, {len(self.body)} bytes)"


def merge_patch_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the smallest RFC 7396 patch that turns ``old`` into ``new``, or None if they are equal.

    Pure. ``None`` in a mapping means absent, as it does to an API server: a merge patch can't write a null.
    """
    return _mapping_patch(old, new) or None


def _mapping_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {name: None for name, value in old.items() if value is not None and new.get(name) is None}
    for name, value in new.items():
        if value is None:
            continue
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = _mapping_patch(before, value)
            if inner:
                patch[name] = inner
        elif not _same(before, value):
            patch[name] = _without_nulls(value)
    return patch


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value  # inside a list a null is a value: lists are replaced, not merged


def _same(left: Any, right: Any) -> bool:
    """Compare as JSON: True is not 1, but 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
