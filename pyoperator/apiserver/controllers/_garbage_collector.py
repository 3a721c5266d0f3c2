"""Delete what has lost its owners: background, foreground and orphan, as kube-controller-manager's collector does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.controllers._engine import Context, Controller
from pyoperator.apiserver.controllers._kinds import EVENT
from pyoperator.apiserver.controllers._object import Object, copied
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver.controllers._client import StoreEvent

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_UNKNOWN_KIND_RETRY = 5.0


@dataclass(frozen=True, slots=True)
class _Node:
    gvk: GroupVersionKind
    namespace: str
    name: str
    owners: tuple[tuple[str, bool], ...]  # uid, blockOwnerDeletion
    deleting: bool
    holds: frozenset[str]  # the collector's own finalizers

    @property
    def is_plain(self) -> bool:
        return not (self.owners or self.deleting or self.holds)


class GarbageCollector(Controller):
    """Keep a graph of owners by uid; a key is the uid of an object to look at.

    An owner counts as absent when no object of that name exists, when its uid is another one, or when it is namespaced
    and lives elsewhere. An owner of a kind that is not served (a CRD not yet installed) is unknown, not absent, unless
    its deletion was seen (the last objects of a CRD go together with it).
    """

    name = "garbage-collector"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes: dict[str, _Node] = {}
        self._dependents: dict[str, dict[str, None]] = {}
        # Owners whose end was seen, while they have dependents: gone even if their kind is served no longer.
        self._absent: set[str] = set()

    def begin(self) -> None:
        for gvk, _ in self.client.kinds():
            if gvk.kind == EVENT.kind:
                continue
            for obj in self.client.list(gvk):
                self._put(gvk, obj)

    def observe(self, event: StoreEvent) -> None:
        if event.gvk.kind == EVENT.kind:
            return  # many, never owned
        if event.type == "DELETED":
            self._drop(event.uid)
        elif event.new is not None:
            self._put(event.gvk, event.new)

    def _put(self, gvk: GroupVersionKind, obj: Mapping[str, Any]) -> None:
        metadata = obj["metadata"]
        uid = metadata["uid"]
        references = metadata.get("ownerReferences") or ()
        known = self._nodes.get(uid)
        held = references or metadata.get("deletionTimestamp") or metadata.get("finalizers")
        if not held and known is not None and known.is_plain and known.gvk == gvk:
            return  # as most changes of most objects
        node = _Node(
            gvk,
            metadata.get("namespace", ""),
            metadata["name"],
            tuple((reference["uid"], bool(reference.get("blockOwnerDeletion"))) for reference in references),
            bool(metadata.get("deletionTimestamp")),
            frozenset(metadata.get("finalizers") or ()) & {ORPHAN, FOREGROUND},
        )
        if node == known:
            return
        self._nodes[uid] = node
        for owner, _ in known.owners if known is not None else ():
            self._dependents.get(owner, {}).pop(uid, None)
        for owner, _ in node.owners:
            self._dependents.setdefault(owner, {})[uid] = None
        if node.owners or (node.deleting and node.holds):
            self.enqueue(uid)
        if known is not None:
            # A dependent that stopped blocking (its reference or its flag is gone) may free its owner.
            for owner, _ in known.owners:
                self.enqueue(owner)
        if node.deleting and FOREGROUND in node.holds:
            for dependent in self._dependents.get(uid, ()):
                self.enqueue(dependent)

    def _drop(self, uid: str) -> None:
        node = self._nodes.pop(uid, None)
        for owner, _ in node.owners if node is not None else ():
            dependents = self._dependents.get(owner)
            if dependents is not None:
                dependents.pop(uid, None)
                if not dependents:
                    del self._dependents[owner]
                    self._absent.discard(owner)
            self.enqueue(owner)
        if uid in self._dependents:
            self._absent.add(uid)
        for dependent in self._dependents.get(uid, ()):
            self.enqueue(dependent)

    def sync(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        if node.deleting:
            if ORPHAN in node.holds:
                self._orphan(key, node)
            elif FOREGROUND in node.holds:
                self._finish_foreground(key, node)
            return None
        if not node.owners:
            return None
        obj = self.client.get(node.gvk, node.namespace, node.name)
        if obj is None or obj["metadata"].get("uid") != key:
            return None
        return self._collect(key, node, obj)

    def _collect(self, uid: str, node: _Node, obj: Object) -> float | None:
        scopes = dict(self.client.kinds())
        solid: list[str] = []
        gone: list[str] = []
        waiting: list[str] = []
        for reference in obj["metadata"].get("ownerReferences") or ():
            if reference["uid"] in self._absent:
                gone.append(reference["uid"])
                continue
            gvk = GroupVersionKind.of(reference["apiVersion"], reference["kind"])
            namespaced = self._scope(scopes, gvk)
            if namespaced is None or (namespaced and not node.namespace):
                # Not served now, or a cluster-scoped object claims a namespaced owner: cannot be resolved.
                solid.append(reference["uid"])
                continue
            owner = self.client.get(gvk, node.namespace if namespaced else "", reference["name"])
            if owner is None or owner["metadata"].get("uid") != reference["uid"]:
                gone.append(reference["uid"])
            elif owner["metadata"].get("deletionTimestamp") and FOREGROUND in (
                owner["metadata"].get("finalizers") or ()
            ):
                waiting.append(reference["uid"])
            else:
                solid.append(reference["uid"])
        if solid:
            if gone or waiting:
                self._disown(obj, {*gone, *waiting})
            unresolved = any(
                self._scope(scopes, GroupVersionKind.of(r["apiVersion"], r["kind"])) is None
                for r in obj["metadata"].get("ownerReferences") or ()
                if r["uid"] not in self._absent
            )
            return _UNKNOWN_KIND_RETRY if unresolved else None
        foreground = bool(waiting) and bool(self._dependents.get(uid))
        finalizers = obj["metadata"].get("finalizers") or ()
        propagation = (
            "Foreground"
            if foreground or FOREGROUND in finalizers
            else "Orphan"
            if ORPHAN in finalizers
            else "Background"
        )
        self.client.delete(node.gvk, node.namespace, node.name, uid=uid, propagation=propagation)
        return None

    def _scope(self, scopes: Mapping[GroupVersionKind, bool], gvk: GroupVersionKind) -> bool | None:
        if gvk in scopes:
            return scopes[gvk]
        for known, namespaced in scopes.items():
            # Another served version of the same kind.
            if (known.group, known.kind) == (gvk.group, gvk.kind):
                return namespaced
        return None

    def _disown(self, obj: Object, uids: set[str]) -> None:
        metadata = obj["metadata"]
        kept = [reference for reference in metadata.get("ownerReferences") or () if reference["uid"] not in uids]
        if kept:
            metadata["ownerReferences"] = kept
        else:
            metadata.pop("ownerReferences", None)
        self.client.update(obj)

    def _orphan(self, uid: str, node: _Node) -> None:
        for dependent in list(self._dependents.get(uid, ())):
            other = self._nodes[dependent]
            obj = self.client.get(other.gvk, other.namespace, other.name)
            if obj is not None and obj["metadata"]["uid"] == dependent:
                self._disown(obj, {uid})
        self._remove_finalizer(uid, node, ORPHAN)

    def _finish_foreground(self, uid: str, node: _Node) -> None:
        dependents = list(self._dependents.get(uid, ()))
        blocking = [
            dependent
            for dependent in dependents
            if any(owner == uid and blocks for owner, blocks in self._nodes[dependent].owners)
        ]
        for dependent in dependents:
            if not self._nodes[dependent].deleting:
                self.enqueue(dependent)
        if not blocking:
            self._remove_finalizer(uid, node, FOREGROUND)

    def _remove_finalizer(self, uid: str, node: _Node, finalizer: str) -> None:
        found = self.client.get(node.gvk, node.namespace, node.name)
        if found is None or found["metadata"]["uid"] != uid:
            return
        obj = copied(found)
        kept = [entry for entry in obj["metadata"].get("finalizers") or () if entry != finalizer]
        if kept:
            obj["metadata"]["finalizers"] = kept
        else:
            obj["metadata"].pop("finalizers", None)
        self.client.update(obj)
