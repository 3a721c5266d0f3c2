"""The one place that knows which class stands for which kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from pyoperator.objects._builtin_kinds import BUILTIN_KINDS
from pyoperator.objects._codec import Codec, CustomResourceCodec, UnstructuredCodec
from pyoperator.objects._custom_resource import CustomResource
from pyoperator.objects._kinds import GroupVersionKind, ResourceKind

if TYPE_CHECKING:
    from pyoperator.objects._unstructured import Unstructured

T = TypeVar("T")


class UnknownKindError(LookupError):
    """A kind that the scheme has no REST resource for, or a class that stands for no kind."""


class Scheme:
    """Map classes to kinds, kinds to REST resources, and both to codecs.

    Knows the built-in kinds and any :class:`CustomResource` class from the start; ``add_resource`` teaches it kinds
    found by discovery, ``add_codec`` other shapes (a class with a codec of its own).
    """

    def __init__(self) -> None:
        self._resources: dict[GroupVersionKind, ResourceKind] = {kind.gvk: kind for kind in BUILTIN_KINDS}
        self._codecs: dict[Any, Codec[Any]] = {}

    def add_resource(self, resource: ResourceKind) -> None:
        """Make a kind known, so that it can be used as ``Unstructured``."""
        self._resources[resource.gvk] = resource

    def add_codec(self, kind: type[T], codec: Codec[T]) -> None:
        """Let ``kind`` be used wherever a kind is asked for."""
        self._codecs[kind] = codec
        self._resources[codec.resource.gvk] = codec.resource

    def resource(self, kind: Any) -> ResourceKind:
        """Return the REST resource of a class, a GVK, or an object; raises UnknownKindError."""
        if isinstance(kind, GroupVersionKind):
            found = self._resources.get(kind)
            if found is None:
                raise UnknownKindError(
                    f"{kind} is not known to the scheme: add it with scheme.add_resource(ResourceKind(...)), "
                    "or let the client discover it"
                )
            return found
        if isinstance(kind, dict):
            return self.resource(GroupVersionKind.of(kind.get("apiVersion", ""), kind.get("kind", "")))
        return self.codec(kind if isinstance(kind, type) else type(kind)).resource

    @overload
    def codec(self, kind: GroupVersionKind) -> Codec[Unstructured]: ...
    @overload
    def codec(self, kind: type[T]) -> Codec[T]: ...
    def codec(self, kind: Any) -> Codec[Any]:
        """Return the codec of a class or a GVK; raises UnknownKindError."""
        codec = self._codecs.get(kind)
        if codec is None:
            codec = self._codecs[kind] = self._make(kind)
        return codec

    def codec_for(self, obj: T) -> Codec[T]:
        """Return the codec of an object at hand; raises UnknownKindError."""
        if isinstance(obj, dict):
            gvk = GroupVersionKind.of(obj.get("apiVersion", ""), obj.get("kind", ""))
            return cast("Codec[T]", self.codec(gvk))
        return self.codec(type(obj))

    def _make(self, kind: Any) -> Codec[Any]:
        if isinstance(kind, GroupVersionKind):
            return UnstructuredCodec(self.resource(kind))
        if isinstance(kind, type) and issubclass(kind, CustomResource) and hasattr(kind, "options"):
            self._resources.setdefault(kind.options.resource.gvk, kind.options.resource)
            return CustomResourceCodec(kind)
        raise UnknownKindError(
            f"{kind!r} stands for no kind: use a CustomResource class, a GroupVersionKind, or scheme.add_codec()"
        )

    def __repr__(self) -> str:
        return f"Scheme({len(self._resources)} kinds)"
