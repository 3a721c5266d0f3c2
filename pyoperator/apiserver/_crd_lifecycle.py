"""Custom resource definitions change what the server serves: installed at their commit, finished off when deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import _status
from pyoperator.apiserver._deletion import CRD_CLEANUP
from pyoperator.apiserver._operations import DeleteOptions
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver.registry import Kind, Registry
    from pyoperator.apiserver.storage import Change, Store, StoredObject

DEFINITION = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"


class CRDLifecycle:
    """Keep the registry equal to the stored definitions, and remove the objects of a deleted one.

    ``settle`` runs after every request, and after every write of the server's own controllers: a deleted definition's objects are deleted as a client would, and the
    definition goes when the last of them has gone (finalizers may hold some).
    """

    def __init__(self, store: Store, registry: Registry, operations: Operations) -> None:
        self._store = store
        self._registry = registry
        self._operations = operations
        self._terminating: dict[str, None] = {}
        for stored in store.objects(RESOURCE):
            self._install(stored.decode())
        store.subscribe(self._committed)

    def _committed(self, change: Change) -> None:
        if change.new.resource != RESOURCE:
            return
        if change.type == "DELETED":
            self._terminating.pop(change.new.name, None)
            self._registry.remove_crd(change.new.name)
            self._store.close_watchers(change.new.name)
            return
        self._install(change.new.decode())

    def _install(self, definition: dict[str, Any]) -> None:
        name = definition["metadata"]["name"]
        if definition["metadata"].get("deletionTimestamp"):
            self._terminating[name] = None
        conditions = (definition.get("status") or {}).get("conditions") or ()
        if any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions):
            self._registry.install_crd(definition)

    def is_terminating(self, kind: Kind) -> bool:
        return bool(self._terminating) and _status.qualified(*kind.storage) in self._terminating

    def settle(self) -> None:
        """Carry on the end of deleted definitions as far as it goes now."""
        for name in tuple(self._terminating):
            self._finish(name)

    def _finish(self, name: str) -> None:
        definition_kind = self._registry.by_gvk(DEFINITION)
        stored = self._store.get(RESOURCE, "", name)
        if definition_kind is None or stored is None:
            self._terminating.pop(name, None)
            return
        kind = next((kind for kind in self._registry.kinds() if _status.qualified(*kind.storage) == name), None)
        if kind is not None:
            for instance in self._store.objects(name):
                if not _is_deleted(instance):
                    self._operations.delete_stored(kind, instance, DeleteOptions())
        if self._store.count(name):
            return
        definition = stored.decode()
        metadata = definition["metadata"]
        metadata["finalizers"] = [entry for entry in metadata.get("finalizers") or () if entry != CRD_CLEANUP]
        if metadata["finalizers"]:
            self._store.put(RESOURCE, stored.gvk, definition, fields=stored.fields, old=stored)
            self._terminating.pop(name, None)
        else:
            self._operations.remove(definition_kind, stored, stored.decode())


def _is_deleted(stored: StoredObject) -> bool:
    # Most are not: looking at the bytes first spares decoding them.
    return b'"deletionTimestamp"' in stored.data and "deletionTimestamp" in stored.decode()["metadata"]
