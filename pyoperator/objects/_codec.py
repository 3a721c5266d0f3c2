"""From the bytes on the wire to a Python object and back: one codec per kind of class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec
from pydantic import ValidationError

from pyoperator.objects._custom_resource import CustomResource, notice_edits
from pyoperator.objects._kinds import GroupVersionKind
from pyoperator.objects._unstructured import Unstructured

if TYPE_CHECKING:
    from pyoperator.objects._kinds import ResourceKind

T = TypeVar("T")
CR = TypeVar("CR", bound=CustomResource)

KindArgument: TypeAlias = type[T] | GroupVersionKind
"""How a caller names a kind: a class that stands for it, or its GVK (then objects are Unstructured)."""


class DecodeError(ValueError):
    """The bytes are not a valid object of this kind; the message says which field is wrong."""


class Codec(Protocol[T]):
    """Translate between an object's JSON bytes and one Python class."""

    @property
    def resource(self) -> ResourceKind: ...

    def decode(self, data: bytes) -> T:
        """Build a fresh object; raises DecodeError."""
        ...

    def encode(self, obj: T) -> bytes:
        """Return the JSON to send, with apiVersion and kind."""
        ...


class UnstructuredCodec:
    """Decode to :class:`Unstructured`."""

    def __init__(self, resource: ResourceKind) -> None:
        self.resource = resource

    def decode(self, data: bytes) -> Unstructured:
        try:
            raw = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise DecodeError(f"not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise DecodeError(f"expected a JSON object, got {type(raw).__name__}")
        obj = Unstructured(raw)
        # Items of a list carry neither (the list's own kind says it once).
        obj.setdefault("apiVersion", self.resource.gvk.api_version)
        obj.setdefault("kind", self.resource.gvk.kind)
        return obj

    def encode(self, obj: dict[str, Any]) -> bytes:
        if obj.get("kind") and obj.get("apiVersion"):
            return msgspec.json.encode(obj)
        gvk = self.resource.gvk
        return msgspec.json.encode({**obj, "apiVersion": gvk.api_version, "kind": gvk.kind})


class CustomResourceCodec(Generic[CR]):
    """Decode to a pydantic :class:`CustomResource`, validated straight from the bytes."""

    def __init__(self, model: type[CR]) -> None:
        self.model = model
        self.resource = model.options.resource
        self._api_version = self.resource.gvk.api_version

    def decode(self, data: bytes) -> CR:
        try:
            obj = self.model.model_validate_json(data)
        except ValidationError as error:
            raise DecodeError(_explain(self.model.__name__, error)) from error
        # Nearly always there already; an assignment costs ten times the comparison, on every read.
        if obj.api_version != self._api_version:
            obj.api_version = self._api_version
        if obj.kind != self.resource.gvk.kind:
            obj.kind = self.resource.gvk.kind
        return obj

    def encode(self, obj: CR) -> bytes:
        obj.api_version = self._api_version
        obj.kind = self.resource.gvk.kind
        notice_edits(obj)
        return obj.__pydantic_serializer__.to_json(obj, exclude_unset=True, by_alias=True)


def _explain(kind: str, error: ValidationError) -> str:
    faults = "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or kind}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return f"not a valid {kind}: {faults}"
