"""Drop what a structural schema does not name (``x-kubernetes-preserve-unknown-fields`` keeps it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMBEDDED = ("apiVersion", "kind", "metadata")
# What the server decodes into ObjectMeta; anything else in metadata is unknown.
OBJECT_META_FIELDS = frozenset(
    {
        "annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
        "generateName", "generation", "labels", "managedFields", "name", "namespace", "ownerReferences",
        "resourceVersion", "selfLink", "uid",
    }
)  # fmt: skip
_OWNER_FIELDS = frozenset({"apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"})


def prune(
    schema: Mapping[str, Any], obj: Any, *, resource: bool = True, pruned: list[str] | None = None, path: str = ""
) -> Any:
    """Remove unknown fields from ``obj`` in place and return it.

    With ``resource`` the root is an object of the API: apiVersion, kind and metadata stay. ``pruned`` collects the paths
    of what went, such as ``spec.containers[0].foo``; ``path`` is put in front of them.
    """
    _Pruner(pruned).run(schema, obj, path, embedded=resource)
    return obj


class _Pruner:
    def __init__(self, pruned: list[str] | None) -> None:
        self._pruned = pruned

    def run(self, schema: Mapping[str, Any], value: Any, path: str, *, embedded: bool = False) -> None:
        if isinstance(value, list):
            items = schema.get("items")
            if not isinstance(items, dict):
                if schema.get("x-kubernetes-preserve-unknown-fields"):
                    return
                items = {}
            for index, entry in enumerate(value):
                self.run(items, entry, f"{path}[{index}]")
            return
        if isinstance(value, dict):
            self._object(schema, value, path, embedded or bool(schema.get("x-kubernetes-embedded-resource")))

    def _object(self, schema: Mapping[str, Any], value: dict[str, Any], path: str, embedded: bool) -> None:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        keeps = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or extra is True
        for key in list(value):
            if embedded and key in _EMBEDDED:
                if key == "metadata":
                    self._metadata(value[key], f"{path}.metadata" if path else "metadata")
                continue
            where = f"{path}.{key}" if path else key
            known = properties.get(key)
            if known is None and isinstance(extra, dict):
                known = extra
            if known is not None:
                if isinstance(value[key], dict | list):
                    self.run(known, value[key], where)
            elif not keeps:
                del value[key]
                if self._pruned is not None:
                    self._pruned.append(where)

    def _metadata(self, metadata: Any, path: str) -> None:
        if not isinstance(metadata, dict):
            return
        self._keep(metadata, OBJECT_META_FIELDS, path)
        owners = metadata.get("ownerReferences")
        for index, owner in enumerate(owners if isinstance(owners, list) else ()):
            if isinstance(owner, dict):
                self._keep(owner, _OWNER_FIELDS, f"{path}.ownerReferences[{index}]")

    def _keep(self, value: dict[str, Any], names: frozenset[str], path: str) -> None:
        for key in [key for key in value if key not in names]:
            del value[key]
            if self._pruned is not None:
                self._pruned.append(f"{path}.{key}")
