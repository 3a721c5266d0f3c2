"""What a node says about pods: which ones it lets in, and who runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTERNAL_ANNOTATION = "simulation.pyoperator.dev/external"
"""On a Node: ``"true"`` if somebody outside runs its pods. The simulator schedules onto it and does nothing else."""


def is_external(node: Mapping[str, Any] | None) -> bool:
    """Tell whether the simulator is not this node's kubelet."""
    return node is not None and (node["metadata"].get("annotations") or {}).get(EXTERNAL_ANNOTATION) == "true"


def admits(node: Mapping[str, Any], pod_spec: Mapping[str, Any]) -> bool:
    """Tell whether labels and taints of a node let pods in; whether it is cordoned is not asked here."""
    labels = node["metadata"].get("labels") or {}
    if not (pod_spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    taints = (node.get("spec") or {}).get("taints") or ()
    # A cordon's own taint comes and goes with spec.unschedulable, which whoever asks looks at.
    repelling = [taint for taint in taints if taint.get("effect") in ("NoSchedule", "NoExecute")]
    tolerations = pod_spec.get("tolerations") or ()
    return all(any(_tolerates(toleration, taint) for toleration in tolerations) for taint in repelling)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
