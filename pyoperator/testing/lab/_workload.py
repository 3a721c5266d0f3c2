"""The operator as the cluster sees it: its Deployment, its budget, and nodes whose pods are this machine's processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pyoperator.client import MergePatch
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured, format_time
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._install import create

if TYPE_CHECKING:
    from pyoperator.client import Client
    from pyoperator.testing.lab._project import Project

NODE: Final = GroupVersionKind("", "v1", "Node")
DEPLOYMENT: Final = GroupVersionKind("apps", "v1", "Deployment")

_LAB: Final = "lab.pyoperator.dev/operator"
"""Label and taint of the lab's nodes: the operator's pods come here, and nobody else's."""
EXTERNAL: Final = "simulation.pyoperator.dev/external"
"""The API server's word for a node that somebody else runs; written out, since importing it costs a start its speed."""
_RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"  # what kubectl rollout restart writes


async def install_nodes(client: Client, project: Project, count: int) -> None:
    """Make ``lab-node-0`` and so on; raises LabError."""
    for number in range(count):
        name = f"lab-node-{number}"
        node = Unstructured.new(NODE, name)
        node.metadata["labels"] = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", _LAB: project.name}
        node.metadata["annotations"] = {EXTERNAL: "true"}
        node["spec"] = {"taints": [{"key": _LAB, "value": project.name, "effect": "NoSchedule"}]}
        await create(client, node)
        await client.status.patch(NODE, name, MergePatch({"status": _node_status(name, client.clock.wall())}))


async def install_workload(client: Client, project: Project, replicas: int) -> ObjectKey:
    """Create what ``manager`` of the project names, the Deployment last, and return its key; raises LabError."""
    manifests = [found for found in project.manifests("manager") if found.gvk.kind != "Namespace"]
    deployments = [found for found in manifests if found.gvk == DEPLOYMENT] or [_plain_deployment(project)]
    if len(deployments) > 1:
        named = ", ".join(found.name for found in deployments)
        raise LabError(f"manager: one Deployment runs the operator, and there are {len(deployments)}: {named}")
    for found in manifests:
        if found.gvk != DEPLOYMENT:
            found.metadata["namespace"] = project.lease.namespace
            await create(client, found)
    (deployment,) = deployments
    deployment.metadata["namespace"] = project.lease.namespace
    spec: dict[str, Any] = deployment["spec"]
    spec["replicas"] = replicas
    pods: dict[str, Any] = spec["template"].setdefault("spec", {})
    pods["nodeSelector"] = {**(pods.get("nodeSelector") or {}), _LAB: project.name}
    pods["tolerations"] = [*(pods.get("tolerations") or ()), {"key": _LAB, "operator": "Exists"}]
    await create(client, deployment)
    return deployment.key


async def restart(client: Client, deployment: ObjectKey) -> None:
    """Begin a rolling update, as ``kubectl rollout restart`` does."""
    annotations = {_RESTARTED_AT: format_time(client.clock.wall())}
    await client.patch(
        DEPLOYMENT, deployment, MergePatch({"spec": {"template": {"metadata": {"annotations": annotations}}}})
    )


def _plain_deployment(project: Project) -> Unstructured:
    """Return the Deployment of a project that names none: kubebuilder's, without what only matters in containers."""
    labels = {"control-plane": "controller-manager", "app": project.name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "manager", "image": "controller:latest", "args": ["--leader-elect"]}]},
    }
    spec = {
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    return Unstructured.new(DEPLOYMENT, "controller-manager", project.lease.namespace, spec=spec)


def _node_status(name: str, now: float) -> dict[str, Any]:
    resources = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    moment = format_time(now)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "LabReady",
        "message": "pods here are processes of this machine",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
    return {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": "",
            "osImage": "this machine",
            "containerRuntimeVersion": "process://1.0",
            "kubeletVersion": "v1.36.0-lab",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "",
        },
    }
