"""PodDisruptionBudgets: how many pods may be evicted now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver._object_selectors import selects
from pyoperator.apiserver.controllers._engine import Controller
from pyoperator.apiserver.controllers._kinds import (
    BUDGET,
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    STATEFUL_SET,
)
from pyoperator.apiserver.controllers._object import Object, controller_reference
from pyoperator.apiserver.controllers._workloads import (
    is_finished,
    is_ready,
    is_terminating,
    set_conditions,
    share,
    write_status,
)
from pyoperator.objects import parse_time

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent
    from pyoperator.objects import GroupVersionKind

_FORGET = 120.0  # seconds after which an eviction that did not lead to a deletion no longer counts


class BudgetController(Controller):
    """Keep each budget's status. A key is (namespace, name)."""

    name = "disruption-simulator"

    def begin(self) -> None:
        for budget in self.view.all(BUDGET):
            self.enqueue((budget["metadata"]["namespace"], budget["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == BUDGET and event.new is not None:
            self.enqueue((event.namespace, event.name))
        elif event.gvk in (POD, STATEFUL_SET, REPLICA_SET, DEPLOYMENT):
            for obj in (event.old, event.new):
                if obj is None:
                    continue
                labels = _pod_labels(event.gvk, obj)
                for budget in self.view.selecting(BUDGET, event.namespace, labels):
                    if selects(budget["spec"]["selector"], labels):
                        self.enqueue((event.namespace, budget["metadata"]["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        budget = self.view.get(BUDGET, *key)
        if budget is None or is_terminating(budget):
            return None
        selector = (budget.get("spec") or {}).get("selector")
        pods = [
            pod
            for pod in self.view.pods(key[0], (selector or {}).get("matchLabels") or {})
            if selects(selector, pod["metadata"].get("labels")) and not is_finished(pod)
        ]
        now = self.context.clock.wall()
        disrupted = self._disrupted(budget, pods, now)
        healthy = sum(
            is_ready(pod) and not is_terminating(pod) and pod["metadata"]["name"] not in disrupted for pod in pods
        )
        expected, desired = self._expected(budget, pods)
        allowed = max(healthy - desired, 0) if expected > 0 else 0
        status: Object = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": budget["metadata"].get("generation", 1),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        before = (budget.get("status") or {}).get("conditions")
        if before:
            status["conditions"] = [dict(condition) for condition in before]
        condition = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": budget["metadata"].get("generation", 1),
        }
        set_conditions(status, [condition], now)
        write_status(self.client, budget, status)
        return min(parse_time(time) + _FORGET - now for time in disrupted.values()) if disrupted else None

    def _disrupted(self, budget: Object, pods: list[Object], now: float) -> dict[str, str]:
        alive = {pod["metadata"]["name"] for pod in pods if not is_terminating(pod)}
        return {
            name: time
            for name, time in ((budget.get("status") or {}).get("disruptedPods") or {}).items()
            if name in alive and parse_time(time) + _FORGET > now
        }

    def _expected(self, budget: Object, pods: list[Object]) -> tuple[int, int]:
        spec = budget.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if most is not None:
            expected = self._scale(pods)
            return expected, max(expected - share(most, expected, up=True), 0)
        if isinstance(least, str):
            expected = self._scale(pods)
            return expected, share(least, expected, up=True)
        return len(pods), int(least if least is not None else 1)

    def _scale(self, pods: list[Object]) -> int:
        """Sum what the pods' controllers want: a pod that is missing counts against the budget."""
        owners: dict[str, int] = {}
        for pod in pods:
            reference = controller_reference(pod)
            if reference is None:
                continue
            namespace = pod["metadata"]["namespace"]
            owner: Object | None = None
            if reference["kind"] == "StatefulSet":
                owner = self.view.get(STATEFUL_SET, namespace, reference["name"])
            elif reference["kind"] == "ReplicaSet":
                owner = self.view.get(REPLICA_SET, namespace, reference["name"])
                above = controller_reference(owner) if owner is not None else None
                if above is not None and above["kind"] == "Deployment":
                    owner = self.view.get(DEPLOYMENT, namespace, above["name"]) or owner
            if owner is not None:
                owners[owner["metadata"]["uid"]] = int(owner["spec"].get("replicas", 1))
        return sum(owners.values())


def _pod_labels(gvk: GroupVersionKind, obj: Object) -> dict[str, str]:
    """Return the labels of a pod, or of the pods that a workload makes."""
    source = obj if gvk == POD else (obj.get("spec") or {}).get("template") or {}
    return (source.get("metadata") or {}).get("labels") or {}
