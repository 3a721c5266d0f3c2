"""Empty namespaces that are being deleted; keep aggregated cluster roles up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.access import PolicyRule, aggregated_rules
from pyoperator.apiserver.controllers._engine import Context, Controller
from pyoperator.apiserver.controllers._kinds import CLUSTER_ROLE, NAMESPACE
from pyoperator.apiserver.controllers._object import Object, copied
from pyoperator.objects import GroupVersionKind, format_time

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent

_KUBERNETES = "kubernetes"


class NamespaceController(Controller):
    """Delete a terminating namespace's contents, then its ``kubernetes`` finalizer. A key is a namespace's name."""

    name = "namespace"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._terminating: set[str] = set()

    def begin(self) -> None:
        for namespace in self.client.list(NAMESPACE):
            self._note(namespace)

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == NAMESPACE:
            if event.new is None:
                self._terminating.discard(event.name)
            else:
                self._note(event.new)
        elif event.type == "DELETED" and event.namespace in self._terminating:
            self.enqueue(event.namespace)

    def _note(self, namespace: Object) -> None:
        if namespace["metadata"].get("deletionTimestamp"):
            self._terminating.add(namespace["metadata"]["name"])
            self.enqueue(namespace["metadata"]["name"])

    def sync(self, key: str) -> float | None:
        namespace = self.client.get(NAMESPACE, "", key)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return None
        if _KUBERNETES not in ((namespace.get("spec") or {}).get("finalizers") or ()):
            return None
        remaining: dict[GroupVersionKind, int] = {}
        finalizers: dict[str, int] = {}
        for gvk, namespaced in self.client.kinds():
            if not namespaced:
                continue
            for obj in self.client.list(gvk, key):
                metadata = obj["metadata"]
                if not metadata.get("deletionTimestamp"):
                    self.client.delete(gvk, key, metadata["name"], uid=metadata["uid"])
            left = self.client.list(gvk, key)
            if left:
                remaining[gvk] = len(left)
                for obj in left:
                    for finalizer in obj["metadata"].get("finalizers") or ():
                        finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        if remaining:
            self._report(key, remaining, finalizers)
            return None  # the deletion of the last object brings us back
        current = self.client.get(NAMESPACE, "", key)
        if current is not None:
            kept = [entry for entry in current["spec"].get("finalizers") or () if entry != _KUBERNETES]
            self.client.finalize({**current, "spec": {**current["spec"], "finalizers": kept}})
        return None

    def _report(self, name: str, remaining: dict[GroupVersionKind, int], finalizers: dict[str, int]) -> None:
        namespace = self.client.get(NAMESPACE, "", name)
        if namespace is None:
            return
        content = ", ".join(f"{gvk.kind} has {count} resource instances" for gvk, count in remaining.items())
        held = ", ".join(f"{finalizer} in {count} resource instances" for finalizer, count in finalizers.items())
        wanted = [
            ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {content}"),
            (
                "NamespaceFinalizersRemaining",
                "True" if held else "False",
                "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
                f"Some content in the namespace has finalizers remaining: {held}"
                if held
                else "All content-preserving finalizers finished",
            ),
        ]
        status = namespace.setdefault("status", {})
        before = {condition["type"]: condition for condition in status.get("conditions") or ()}
        now = format_time(self.context.clock.wall())
        conditions = [
            {"type": type_, "status": value, "lastTransitionTime": now, "reason": reason, "message": message}
            for type_, value, reason, message in wanted
        ]
        for condition in conditions:
            old = before.get(condition["type"])
            if old is not None and old["status"] == condition["status"]:
                condition["lastTransitionTime"] = old["lastTransitionTime"]
        if [before.get(condition["type"]) for condition in conditions] != conditions:
            status["conditions"] = conditions
            self.client.update_status(namespace)


class RoleAggregationController(Controller):
    """Write the rules of aggregated cluster roles (``admin``, ``edit``, ``view``, users' own). Its one key is ""."""

    name = "cluster-role-aggregation"

    def begin(self) -> None:
        self.enqueue("")

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == CLUSTER_ROLE:
            self.enqueue("")

    def sync(self, key: str) -> float | None:
        roles = {role["metadata"]["name"]: role for role in self.client.list(CLUSTER_ROLE)}
        for role in roles.values():
            if not role.get("aggregationRule"):
                continue
            wanted = aggregated_rules(role, roles)
            written = [PolicyRule.parse(rule) for rule in role.get("rules") or ()]
            if set(written) != set(wanted):
                made: Any = copied(role)
                made["rules"] = [rule.shape() for rule in wanted]
                self.client.update(made)
        return None
