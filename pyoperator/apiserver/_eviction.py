"""Evictions: a pod's deletion that asks its PodDisruptionBudget first, as ``kubectl drain`` does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import _status
from pyoperator.apiserver._object_selectors import selects
from pyoperator.objects import GroupVersionKind, format_time

if TYPE_CHECKING:
    from pyoperator.apiserver._eviction_body import EvictionRequest
    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver._system import SystemClient
    from pyoperator.apiserver.registry import Kind
    from pyoperator.clock import Clock

_BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
# A pod in such a phase serves nobody: no budget is asked.
_IDLE = frozenset({"Pending", "Succeeded", "Failed"})
_ALLOWED = "DisruptionAllowed"
_MOST_DISRUPTED = 2000
"""Evictions that the budget's controller has not accounted for: the real server stops there."""
_LATER = 10  # seconds: a budget that nobody has looked at yet


class Evictions:
    """Carry out evictions on one store.

    Each is one transaction, as everything in the core: what a budget allows is spent together with the deletion, and
    the real server's retries on conflicts have no counterpart here.
    """

    def __init__(self, operations: Operations, system: SystemClient, *, clock: Clock) -> None:
        self._operations = operations
        self._system = system
        self._clock = clock

    def evict(self, kind: Kind, request: EvictionRequest) -> dict[str, Any]:
        """Delete the pod if its budget allows; raises 404, 409, 429 (the budget forbids it) and 500 (two budgets)."""
        options = request.options
        pod = self._operations.view(kind, self._operations.get(kind, request.namespace, request.name))
        if (pod.get("status") or {}).get("phase") not in _IDLE and not pod["metadata"].get("deletionTimestamp"):
            self._ask_budget(pod, dry_run=options.dry_run)
        # Preconditions and options are judged after the budget is spent, and before the pod is touched.
        self._operations.delete(kind, request.namespace, request.name, replace(options, dry_run=True))
        if not options.dry_run:
            self._tell_why(pod)
            done = replace(options, precondition_uid="", precondition_version="")
            self._operations.delete(kind, request.namespace, request.name, done)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _ask_budget(self, pod: dict[str, Any], *, dry_run: bool) -> None:
        """Take one disruption from the pod's budget, if it has one and the pod is one of its healthy ones."""
        metadata = pod["metadata"]
        budgets = [
            budget
            for budget in self._system.list(_BUDGET, metadata["namespace"])
            if selects((budget.get("spec") or {}).get("selector"), metadata.get("labels"))
        ]
        if len(budgets) > 1:
            message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise _status.StatusError(500, "", message)
        if budgets and not _goes_uncounted(pod, budgets[0]):
            self._spend(budgets[0], metadata["name"], dry_run=dry_run)

    def _spend(self, budget: dict[str, Any], pod: str, *, dry_run: bool) -> None:
        name, status = budget["metadata"]["name"], budget["status"]
        if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
            raise _refused(f"The disruption budget {name} is still being processed by the server.", retry_after=_LATER)
        if len(status.get("disruptedPods") or ()) > _MOST_DISRUPTED:
            why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
            raise _status.forbidden("policy", "poddisruptionbudget", name, why)
        if status.get("disruptionsAllowed", 0) <= 0:
            raise _refused(_why_not(name, status))
        if dry_run:
            return
        now = format_time(self._clock.wall())
        status["disruptionsAllowed"] -= 1
        # The budget's controller must not count the pod as available while it ends.
        status.setdefault("disruptedPods", {})[pod] = now
        if status["disruptionsAllowed"] == 0:
            _note_exhausted(status, now)
        self._system.update_status(budget)

    def _tell_why(self, pod: dict[str, Any]) -> None:
        """Leave in the pod's status why it ends: whoever restarts it elsewhere can tell a disruption from a failure."""
        status = pod.setdefault("status", {})
        told: dict[str, Any] = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self._clock.wall()),
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        conditions = status.setdefault("conditions", [])
        before = _condition(status, "DisruptionTarget")
        if before is None:
            conditions.append(told)
        else:
            if before.get("status") == "True":
                told["lastTransitionTime"] = before.get("lastTransitionTime")
            conditions[conditions.index(before)] = told
        self._system.update_status(pod)


def _goes_uncounted(pod: dict[str, Any], budget: dict[str, Any]) -> bool:
    """Tell whether a pod that is not ready may go without being counted (``unhealthyPodEvictionPolicy``)."""
    ready = _condition(pod.get("status") or {}, "Ready")
    if ready is not None and ready.get("status") == "True":
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    wanted = int(budget["status"].get("desiredHealthy", 0))
    return 0 < wanted <= int(budget["status"].get("currentHealthy", 0))


def _why_not(name: str, status: dict[str, Any]) -> str:
    condition = _condition(status, _ALLOWED) or {}
    message = condition.get("message") if condition.get("status") == "False" else ""
    refused = f"The disruption budget {name} does not allow evicting pods currently"
    if message and condition.get("reason") == "SyncFailed":
        return f"{refused} because it failed sync: {message}"
    wanted, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    if healthy <= wanted:
        return f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
    return f"{refused} ({condition.get('reason')}): {message}" if message else refused


def _note_exhausted(status: dict[str, Any], now: str) -> None:
    before = _condition(status, _ALLOWED)
    told = {
        "type": _ALLOWED,
        "status": "False",
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": now,
        "reason": "InsufficientPods",
        "message": "",
    }
    conditions = status.setdefault("conditions", [])
    if before is None:
        conditions.append(told)
        return
    if before.get("status") == "False":
        told["lastTransitionTime"] = before.get("lastTransitionTime", now)
    conditions[conditions.index(before)] = told


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any] | None:
    return next((entry for entry in status.get("conditions") or () if entry.get("type") == type_), None)


def _refused(detail: str, *, retry_after: int | None = None) -> _status.StatusError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": detail}]}
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return _status.StatusError(429, "TooManyRequests", message, details, retry_after=retry_after)
