"""An object of any kind, as the dict that its JSON is."""

from __future__ import annotations

from typing import Any, cast

from pyoperator.objects._kinds import GroupVersionKind
from pyoperator.objects._metadata import ObjectKey


class Unstructured(dict[str, Any]):
    """A dict that knows its kind: ``Unstructured({"apiVersion": "v1", "kind": "ConfigMap", ...})``."""

    @classmethod
    def new(cls, gvk: GroupVersionKind, name: str, namespace: str = "", **fields: Any) -> Unstructured:
        """Build an object of ``gvk`` with a name, a namespace and any top-level fields (``data=``, ``spec=``, ...)."""
        metadata: dict[str, Any] = {"name": name}
        if namespace:
            metadata["namespace"] = namespace
        return cls(apiVersion=gvk.api_version, kind=gvk.kind, metadata=metadata, **fields)

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind.of(self.get("apiVersion", ""), self.get("kind", ""))

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata dict itself (created when missing): changes to it change the object."""
        return cast("dict[str, Any]", self.setdefault("metadata", {}))

    @property
    def name(self) -> str:
        return cast("str", self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        return cast("str", self.metadata.get("namespace", ""))

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)

    def __repr__(self) -> str:
        # Never the contents: an object may be a Secret, and reprs end in logs.
        return f"<{self.get('kind', 'object')} {self.key} rv={self.metadata.get('resourceVersion', '-')}>"
