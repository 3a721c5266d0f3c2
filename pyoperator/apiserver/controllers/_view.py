"""Copies of the objects of some kinds, kept by the store's events and found by owner and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.controllers._kinds import BUDGET, POD, SERVICE
from pyoperator.apiserver.controllers._label_index import LabelIndex, SelectorIndex
from pyoperator.apiserver.controllers._object import controller_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyoperator.apiserver.controllers._client import ControllerClient, StoreEvent
    from pyoperator.apiserver.controllers._object import Object
    from pyoperator.objects import GroupVersionKind


class ObjectView:
    """Objects of some kinds as the last events left them, indexed by namespace and by controller.

    Events come synchronously with the commit, so the view is never older than the store. What it returns is shared and
    read only; :func:`copied` gives a dict to change.
    """

    def __init__(self, kinds: Iterable[GroupVersionKind]) -> None:
        self._objects: dict[GroupVersionKind, dict[str, dict[str, Object]]] = {gvk: {} for gvk in kinds}
        self._owned: dict[tuple[GroupVersionKind, str], dict[tuple[str, str], Object]] = {}
        self._labels = {POD: LabelIndex()}
        self._selectors = {SERVICE: SelectorIndex(_service_labels), BUDGET: SelectorIndex(_budget_labels)}

    def fill(self, client: ControllerClient) -> None:
        """Read what exists already."""
        for gvk in self._objects:
            for obj in client.list(gvk):
                self._put(gvk, obj)

    def observe(self, event: StoreEvent) -> None:
        if event.gvk not in self._objects:
            return
        old = self.get(event.gvk, event.namespace, event.name)
        if old is not None:
            self._owned.get((event.gvk, controller_uid(old)), {}).pop((event.namespace, event.name), None)
        if event.new is None:
            self._objects[event.gvk].get(event.namespace, {}).pop(event.name, None)
            for index in (self._labels.get(event.gvk), self._selectors.get(event.gvk)):
                if index is not None:
                    index.remove((event.namespace, event.name))
        else:
            self._put(event.gvk, event.new)

    def _put(self, gvk: GroupVersionKind, obj: Object) -> None:
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        self._objects[gvk].setdefault(namespace, {})[name] = obj
        for index in (self._labels.get(gvk), self._selectors.get(gvk)):
            if index is not None:
                index.put(obj)
        owner = controller_uid(obj)
        if owner:
            self._owned.setdefault((gvk, owner), {})[namespace, name] = obj

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None:
        return self._objects[gvk].get(namespace, {}).get(name)

    def all(self, gvk: GroupVersionKind, namespace: str | None = None) -> list[Object]:
        """Return the objects of one namespace, or of all (None), in order of creation in this view."""
        spaces = self._objects[gvk]
        if namespace is not None:
            return list(spaces.get(namespace, {}).values())
        return [obj for space in spaces.values() for obj in space.values()]

    def owned(self, gvk: GroupVersionKind, owner: Mapping[str, Any]) -> list[Object]:
        """Return the objects that ``owner`` controls."""
        return self.owned_by(gvk, owner["metadata"]["uid"])

    def owned_by(self, gvk: GroupVersionKind, uid: str) -> list[Object]:
        """Return the objects controlled by the owner of that uid."""
        return list(self._owned.get((gvk, uid), {}).values())

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Return the pods of a namespace that have all of ``labels``; with none, all of them."""
        return self._labels[POD].with_labels(namespace, labels) if labels else self.all(POD, namespace)

    def selecting(self, gvk: GroupVersionKind, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Return the services or budgets that may select a pod with ``labels``: what else they demand is not checked."""
        return self._selectors[gvk].candidates(namespace, labels)


def _service_labels(service: Mapping[str, Any]) -> Mapping[str, str] | None:
    return (service.get("spec") or {}).get("selector") or None


def _budget_labels(budget: Mapping[str, Any]) -> Mapping[str, str] | None:
    selector = (budget.get("spec") or {}).get("selector")
    return None if selector is None else selector.get("matchLabels") or {}
