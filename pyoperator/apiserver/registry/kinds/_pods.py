"""Pods themselves: what admission adds, the first status, what an update may change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from pyoperator.apiserver.registry.kinds._pod_checks import check_pod_spec
from pyoperator.apiserver.registry.kinds._pod_defaults import default_pod_spec
from pyoperator.apiserver.registry.kinds._rules import Rules, fields
from pyoperator.objects import Quantity
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind import Object, WriteContext

_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SPEC_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)


def _create(obj: Object, ctx: WriteContext) -> None:
    spec = obj["spec"]
    tolerations = spec.setdefault("tolerations", [])
    for key in _NOT_READY:
        if not any(entry.get("key") == key and entry.get("effect") in ("NoExecute", None) for entry in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}


def quality_of_service(spec: Object) -> str:
    """Return the pod's QoS class: Guaranteed if all containers have equal cpu and memory limits and requests."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    counted = ("cpu", "memory")
    amounts = [
        {
            part: {name: Quantity(amount) for name, amount in (resources.get(part) or {}).items() if name in counted}
            for part in ("requests", "limits")
        }
        for resources in ((container.get("resources") or {}) for container in containers)
    ]
    if not any(entry["requests"] or entry["limits"] for entry in amounts):
        return "BestEffort"
    if all(set(entry["limits"]) == set(counted) and entry["limits"] == entry["requests"] for entry in amounts):
        return "Guaranteed"
    return "Burstable"


def _check(obj: Object, old: Object | None) -> list[FieldError]:
    faults = [*check_pod_spec(obj["spec"], "spec")]
    if old is None:
        return faults
    new_spec, old_spec = obj["spec"], old["spec"]
    for part in ("containers", "initContainers"):
        if len(new_spec.get(part) or ()) != len(old_spec.get(part) or ()):
            faults.append(FieldError.forbidden(f"spec.{part}", "pod updates may not add or remove containers"))
            return faults
    if _fixed(new_spec, old_spec) != _fixed(old_spec, old_spec):
        faults.append(FieldError.forbidden("spec", _SPEC_CHANGE))
    return faults


def _fixed(spec: Object, old: Object) -> Object:
    """Return the part of a spec that may not change."""
    fixed = copy.deepcopy(spec)
    fixed.pop("activeDeadlineSeconds", None)
    for part in ("containers", "initContainers"):
        for container in fixed.get(part) or ():
            container.pop("image", None)
    if old.get("terminationGracePeriodSeconds", 0) < 0 and fixed.get("terminationGracePeriodSeconds") == 1:
        fixed["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
    kept = old.get("tolerations") or []
    if all(entry in (fixed.get("tolerations") or ()) for entry in kept):
        fixed["tolerations"] = kept
    if not old.get("nodeName"):
        # Scheduling (here: the simulator) binds a pod by writing its node.
        fixed.pop("nodeName", None)
    return fixed


PODS = Rules(
    default=_default,
    create=_create,
    check=_check,
    selectable=fields(
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
)  # fmt: skip
