"""Nodes, the scheduler and the kubelet in one: pods get a node, an address, start, become ready, finish, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver.controllers._engine import Context, Controller, Delays
from pyoperator.apiserver.controllers._kinds import CLAIM, NODE, POD, STORAGE_CLASS
from pyoperator.apiserver.controllers._nodes import admits, is_external
from pyoperator.apiserver.controllers._object import Object, controller_uid, copied
from pyoperator.apiserver.controllers._workloads import (
    SimulationOptions,
    is_finished,
    is_ready,
    is_terminating,
    set_conditions,
)
from pyoperator.objects import format_time

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent

READY_ANNOTATION = "simulation.pyoperator.dev/ready"
EXIT_CODE_ANNOTATION = "simulation.pyoperator.dev/exit-code"

# Runs in every simulated container, and says so to whoever looks at the node.
_RUNTIME = "simulated://1.0"


class PodController(Controller):
    """Walk each pod through its life. A key is (namespace, name).

    Annotations on a pod steer it: ``simulation.pyoperator.dev/ready: "false"`` keeps it from becoming ready,
    ``simulation.pyoperator.dev/exit-code: "1"`` makes a pod that runs to completion fail. A pod on an external node
    (``simulation.pyoperator.dev/external: "true"``) is scheduled, and then left to whoever runs that node.
    """

    name = "pod-simulator"

    def __init__(self, context: Context, options: SimulationOptions) -> None:
        super().__init__(context)
        self._options = options
        self._addresses = 0
        self._delays = Delays(context)
        # Where pods are that need a place, by key; those without one ("") wait for a node or a volume.
        self._places: dict[tuple[str, str], str] = {}
        self._waiting: dict[tuple[str, str], None] = {}
        self._load: dict[str, int] = {}

    def begin(self) -> None:
        self._make_nodes()
        self._make_storage_class()
        for pod in self.view.all(POD):
            key = pod["metadata"]["namespace"], pod["metadata"]["name"]
            self._remember_address(pod)
            self._remember_place(key, pod)
            self.enqueue(key)

    def _make_nodes(self) -> None:
        now = format_time(self.context.clock.wall())
        for number in range(self._options.nodes):
            name = f"simulated-{number}"
            if self.client.get(NODE, "", name) is not None:
                continue
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            node = self.client.create(
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            )
            resources = {"cpu": "32", "memory": "128Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
            condition = {
                "type": "Ready",
                "status": "True",
                "reason": "Simulated",
                "message": "pods here are simulated: they become ready, and do not run",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            node["status"] = {
                "capacity": resources,
                "allocatable": resources,
                "conditions": [condition],
                "addresses": [
                    {"type": "InternalIP", "address": f"10.0.0.{number + 1}"},
                    {"type": "Hostname", "address": name},
                ],
                "nodeInfo": {
                    "machineID": "",
                    "systemUUID": "",
                    "bootID": "",
                    "kernelVersion": "simulated",
                    "osImage": "simulated",
                    "containerRuntimeVersion": _RUNTIME,
                    "kubeletVersion": "v1.36.0-simulated",
                    "kubeProxyVersion": "",
                    "operatingSystem": "linux",
                    "architecture": "amd64",
                },
            }
            self.client.update_status(node)

    def _make_storage_class(self) -> None:
        if self.view.all(STORAGE_CLASS):
            return
        self.client.create(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {
                    "name": "standard",
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                },
                "provisioner": "simulation.pyoperator.dev/volume",
                "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate",
                "allowVolumeExpansion": True,
            }
        )

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == POD:
            self._remember_place((event.namespace, event.name), event.new)
            if event.new is None:
                self._delays.forget(event.uid)
            else:
                self.enqueue((event.namespace, event.name))
        elif event.gvk == CLAIM and event.new is not None:
            for key in self._waiting:
                if key[0] == event.namespace:
                    self.enqueue(key)
        elif event.gvk == NODE:
            for key in self._waiting:
                self.enqueue(key)

    def _remember_place(self, key: tuple[str, str], pod: Object | None) -> None:
        before = self._places.pop(key, "")
        if before:
            self._load[before] -= 1
        if pod is None or is_finished(pod):
            self._waiting.pop(key, None)
            return
        node = self._places[key] = (pod.get("spec") or {}).get("nodeName") or ""
        if node:
            self._load[node] = self._load.get(node, 0) + 1
            self._waiting.pop(key, None)
        else:
            self._waiting[key] = None

    def sync(self, key: tuple[str, str]) -> float | None:
        pod = self.view.get(POD, *key)
        if pod is None or is_external(self.view.get(NODE, "", pod["spec"].get("nodeName", ""))):
            return None
        if is_terminating(pod):
            return self._stop(pod)
        if is_finished(pod):
            return None
        if not pod["spec"].get("nodeName"):
            return self._schedule(pod)
        phase = (pod.get("status") or {}).get("phase", "Pending")
        if phase == "Pending":
            return self._delays.after(pod["metadata"]["uid"], "start", self._options.start, lambda: self._start(pod))
        if pod["spec"].get("restartPolicy", "Always") != "Always":
            return self._delays.after(pod["metadata"]["uid"], "finish", self._options.finish, lambda: self._finish(pod))
        wanted = (pod["metadata"].get("annotations") or {}).get(READY_ANNOTATION) != "false"
        if is_ready(pod) != wanted:
            return self._delays.after(
                pod["metadata"]["uid"], "ready", self._options.ready, lambda: self._set_ready(pod)
            )
        return None

    def _schedule(self, pod: Object) -> float | None:
        problem = self._unschedulable(pod)
        node = self._pick_node(pod) if not problem else None
        if node is None:
            self._set_unschedulable(pod, problem or "0 nodes are available")
            return None
        return self._delays.after(
            pod["metadata"]["uid"], "schedule", self._options.schedule, lambda: self._bind(pod, node)
        )

    def _unschedulable(self, pod: Object) -> str:
        for volume in pod["spec"].get("volumes") or ():
            claim_name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not claim_name:
                continue
            claim = self.view.get(CLAIM, pod["metadata"]["namespace"], claim_name)
            if claim is None:
                return f'persistentvolumeclaim "{claim_name}" not found'
            if (claim.get("status") or {}).get("phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    def _pick_node(self, pod: Object) -> str | None:
        load: dict[str, int] = {}
        for node in self.view.all(NODE):
            if not (node.get("spec") or {}).get("unschedulable") and admits(node, pod["spec"]):
                load[node["metadata"]["name"]] = self._load.get(node["metadata"]["name"], 0)
        owner = controller_uid(pod)
        for sibling in self.view.owned_by(POD, owner) if owner else ():
            name = sibling["spec"].get("nodeName")
            if name in load and not is_finished(sibling):
                # Siblings are spread first: that is what preferred anti-affinity asks for, and what people expect.
                load[name] += 999
        return min(load, key=lambda name: (load[name], name)) if load else None

    def _bind(self, pod: Object, node: str) -> None:
        made = copied(pod)
        made["spec"]["nodeName"] = node
        bound = self.client.update(made)
        status = bound.setdefault("status", {})
        status.setdefault("phase", "Pending")
        set_conditions(status, [{"type": "PodScheduled", "status": "True"}], self.context.clock.wall())
        self.client.update_status(bound)

    def _set_unschedulable(self, pod: Object, why: str) -> None:
        made = copied(pod)
        status = made.setdefault("status", {})
        status.setdefault("phase", "Pending")
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        set_conditions(status, [condition], self.context.clock.wall())
        if status != pod.get("status"):
            self.client.update_status(made)

    def _start(self, pod: Object) -> None:
        now = self.context.clock.wall()
        made = copied(pod)
        status = made.setdefault("status", {})
        host = self._host_address(pod["spec"]["nodeName"])
        address = self._next_address()
        status.update(
            phase="Running",
            hostIP=host,
            hostIPs=[{"ip": host}],
            podIP=address,
            podIPs=[{"ip": address}],
            startTime=format_time(now),
            qosClass=status.get("qosClass", "BestEffort"),
            containerStatuses=[
                self._container(made, spec, now, ready=False) for spec in made["spec"].get("containers") or ()
            ],
        )
        initial = [self._exited(made, spec, now, 0) for spec in made["spec"].get("initContainers") or ()]
        if initial:
            status["initContainerStatuses"] = initial
        not_ready = {"reason": "ContainersNotReady", "message": "containers with unready status"}
        set_conditions(
            status,
            [
                {"type": "PodReadyToStartContainers", "status": "True"},
                {"type": "Initialized", "status": "True"},
                {"type": "Ready", "status": "False", **not_ready},
                {"type": "ContainersReady", "status": "False", **not_ready},
                {"type": "PodScheduled", "status": "True"},
            ],
            now,
        )
        self.client.update_status(made)

    def _set_ready(self, pod: Object) -> None:
        now = self.context.clock.wall()
        made = copied(pod)
        status = made["status"]
        ready = not is_ready(pod)
        for container in status.get("containerStatuses") or ():
            container["ready"] = ready
        why = {} if ready else {"reason": "ContainersNotReady", "message": "containers with unready status"}
        value = "True" if ready else "False"
        set_conditions(status, [{"type": type_, "status": value, **why} for type_ in ("Ready", "ContainersReady")], now)
        self.client.update_status(made)

    def _finish(self, pod: Object) -> None:
        now = self.context.clock.wall()
        made = copied(pod)
        status = made["status"]
        code = int((pod["metadata"].get("annotations") or {}).get(EXIT_CODE_ANNOTATION) or 0)
        status["phase"] = "Failed" if code else "Succeeded"
        status["containerStatuses"] = [
            self._exited(made, spec, now, code) for spec in made["spec"].get("containers") or ()
        ]
        why = {"reason": "PodFailed" if code else "PodCompleted"}
        set_conditions(
            status, [{"type": type_, "status": "False", **why} for type_ in ("Ready", "ContainersReady")], now
        )
        self.client.update_status(made)

    def _stop(self, pod: Object) -> float | None:
        grace = pod["metadata"].get("deletionGracePeriodSeconds") or 0
        if not grace:
            return None  # over already; finalizers hold it
        return self._delays.after(
            pod["metadata"]["uid"], "stop", min(self._options.stop, float(grace)), lambda: self._remove(pod)
        )

    def _remove(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            self.client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace=0)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    def _container(self, pod: Object, spec: Object, now: float, *, ready: bool) -> Object:
        return {
            "name": spec["name"],
            "image": spec.get("image", ""),
            "imageID": spec.get("image", ""),
            "containerID": f"simulated://{pod['metadata']['uid']}/{spec['name']}",
            "ready": ready,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": format_time(now)}},
            "lastState": {},
        }

    def _exited(self, pod: Object, spec: Object, now: float, code: int) -> Object:
        container = self._container(
            pod, spec, now, ready=not code and spec in (pod["spec"].get("initContainers") or ())
        )
        ended = {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": format_time(now),
            "finishedAt": format_time(now),
        }
        return {**container, "started": False, "state": {"terminated": ended}}

    def _host_address(self, node_name: str) -> str:
        node = self.view.get(NODE, "", node_name)
        for address in ((node or {}).get("status") or {}).get("addresses") or ():
            if address.get("type") == "InternalIP":
                return str(address["address"])
        return "10.0.0.254"

    def _next_address(self) -> str:
        self._addresses += 1
        return f"10.{244 + self._addresses // 65_536}.{self._addresses // 256 % 256}.{self._addresses % 256}"

    def _remember_address(self, pod: Object) -> None:
        parts = (pod.get("status") or {}).get("podIP", "").split(".")
        if len(parts) == 4 and all(part.isdigit() for part in parts):
            _, high, middle, low = (int(part) for part in parts)
            self._addresses = max(self._addresses, (high - 244) * 65_536 + middle * 256 + low)
