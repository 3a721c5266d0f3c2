"""ReplicaSets and DaemonSets: so many equal pods, or one on each node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._engine import Controller
from pyoperator.apiserver.controllers._kinds import DAEMON_SET, NODE, POD, REPLICA_SET
from pyoperator.apiserver.controllers._nodes import admits
from pyoperator.apiserver.controllers._object import Object, controller_reference
from pyoperator.apiserver.controllers._workloads import (
    is_finished,
    is_ready,
    is_terminating,
    pod_from_template,
    random_suffix,
    seconds_until_available,
    share,
    template_hash,
    write_status,
)

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent


class ReplicaSetController(Controller):
    """Keep the number of pods. A key is (namespace, name)."""

    name = "replicaset-simulator"

    def begin(self) -> None:
        for found in self.view.all(REPLICA_SET):
            self.enqueue((found["metadata"]["namespace"], found["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == REPLICA_SET and event.new is not None:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == POD:
            owner = controller_reference(event.new or event.old or {"metadata": {}})
            if owner is not None and owner["kind"] == "ReplicaSet":
                self.enqueue((event.namespace, owner["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        found = self.view.get(REPLICA_SET, *key)
        if found is None:
            return None
        if not is_terminating(found):
            self._keep(found)
        return self._write_status(found)

    def _active(self, owner: Object) -> list[Object]:
        return [pod for pod in self.view.owned(POD, owner) if not is_terminating(pod) and not is_finished(pod)]

    def _keep(self, owner: Object) -> None:
        active, wanted = self._active(owner), owner["spec"].get("replicas", 1)
        for _ in range(wanted - len(active)):
            name = f"{owner['metadata']['name']}-{random_suffix(self.context.random)}"
            pod = pod_from_template(owner, owner["spec"]["template"], name, {})
            pod["metadata"]["generateName"] = f"{owner['metadata']['name']}-"
            self.client.create(pod)
        # The least useful go first: without a node, not ready, youngest (last in order of creation).
        ranked = sorted(
            range(len(active)),
            key=lambda index: (bool(active[index]["spec"].get("nodeName")), is_ready(active[index]), -index),
        )
        for index in ranked[: max(len(active) - wanted, 0)]:
            metadata = active[index]["metadata"]
            self.client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _write_status(self, owner: Object) -> float | None:
        active = self._active(owner)
        now, minimum = self.context.clock.wall(), owner["spec"].get("minReadySeconds") or 0
        waits = [seconds_until_available(pod, minimum, now) for pod in active]
        wanted = owner["spec"]["template"].get("metadata", {}).get("labels") or {}
        counts = {
            "fullyLabeledReplicas": sum(
                wanted.items() <= (pod["metadata"].get("labels") or {}).items() for pod in active
            ),
            "readyReplicas": sum(is_ready(pod) for pod in active),
            "availableReplicas": sum(wait == 0.0 for wait in waits),
        }
        status: Object = {
            "replicas": len(active),
            **{field: count for field, count in counts.items() if count},
            "observedGeneration": owner["metadata"].get("generation", 1),
        }
        write_status(self.client, owner, status)
        later = [wait for wait in waits if wait]
        return min(later) if later else None


class DaemonSetController(Controller):
    """Keep one pod on each node that the template's node selector matches. A key is (namespace, name)."""

    name = "daemonset-simulator"

    def begin(self) -> None:
        self._enqueue_all()

    def _enqueue_all(self) -> None:
        for found in self.view.all(DAEMON_SET):
            self.enqueue((found["metadata"]["namespace"], found["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == DAEMON_SET and event.new is not None:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == NODE:
            self._enqueue_all()
        elif event.gvk == POD:
            owner = controller_reference(event.new or event.old or {"metadata": {}})
            if owner is not None and owner["kind"] == "DaemonSet":
                self.enqueue((event.namespace, owner["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        found = self.view.get(DAEMON_SET, *key)
        if found is None or is_terminating(found):
            return None
        revision = template_hash(found["spec"]["template"])
        nodes = self._nodes(found)
        self._keep(found, revision, nodes)
        self._write_status(found, revision, nodes)
        return None

    def _nodes(self, owner: Object) -> list[str]:
        spec = owner["spec"]["template"].get("spec") or {}
        return [node["metadata"]["name"] for node in self.view.all(NODE) if admits(node, spec)]

    def _by_node(self, owner: Object) -> dict[str, Object]:
        return {
            pod["spec"].get("nodeName", ""): pod
            for pod in self.view.owned(POD, owner)
            if not is_terminating(pod) and not is_finished(pod)
        }

    def _keep(self, owner: Object, revision: str, nodes: list[str]) -> None:
        pods = self._by_node(owner)
        for node, pod in pods.items():
            if node not in nodes:
                self._delete(pod)
        for node in nodes:
            if node in pods:
                continue
            name = f"{owner['metadata']['name']}-{random_suffix(self.context.random)}"
            labels = {"controller-revision-hash": revision, "pod-template-generation": "1"}
            pod = pod_from_template(owner, owner["spec"]["template"], name, labels)
            pod["metadata"]["generateName"] = f"{owner['metadata']['name']}-"
            pod["spec"]["nodeName"] = node
            self.client.create(pod)
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        allowed = share((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(nodes), up=True)
        pods = self._by_node(owner)
        unavailable = len(nodes) - sum(is_ready(pod) for pod in pods.values())
        for pod in list(pods.values()):
            if pod["metadata"]["labels"].get("controller-revision-hash") == revision:
                continue
            if is_ready(pod):
                if unavailable >= max(allowed, 1):
                    continue
                unavailable += 1
            self._delete(pod)

    def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self.client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _write_status(self, owner: Object, revision: str, nodes: list[str]) -> None:
        pods = [pod for node, pod in self._by_node(owner).items() if node in nodes]
        ready = sum(is_ready(pod) for pod in pods)
        updated = sum(pod["metadata"]["labels"].get("controller-revision-hash") == revision for pod in pods)
        optional = {
            "updatedNumberScheduled": updated,
            "numberAvailable": ready,
            "numberUnavailable": len(nodes) - ready,
        }
        status: Object = {
            "currentNumberScheduled": len(pods),
            "numberMisscheduled": 0,
            "desiredNumberScheduled": len(nodes),
            "numberReady": ready,
            "observedGeneration": owner["metadata"].get("generation", 1),
            **{field: count for field, count in optional.items() if count},
        }
        write_status(self.client, owner, status)
