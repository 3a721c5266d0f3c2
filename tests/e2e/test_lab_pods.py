"""Pods that are processes: readiness, grace, force, cordons."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.client import MergePatch
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.testing.lab import Lab, Project, Scale
from tests.e2e.support import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.testing.lab import Replica, Snapshot

pytestmark = pytest.mark.e2e

POD = GroupVersionKind("", "v1", "Pod")
NODE = GroupVersionKind("", "v1", "Node")
NAMESPACE = "postgres-operator-system"
SHORT = Scale(replicas=1, lease_duration=3.0, renew_deadline=2.0, retry_period=0.5)
WITHIN = 90.0


async def pods(lab: Lab) -> dict[str, Unstructured]:
    return {pod.name: pod for pod in (await lab.client.list(POD, namespace=NAMESPACE)).items}


def condition(pod: Unstructured, type_: str) -> Any:
    return next(entry["status"] for entry in pod["status"]["conditions"] if entry["type"] == type_)


def other_is_ready(than: Replica) -> Callable[[Snapshot], bool]:
    def reached(snapshot: Snapshot) -> bool:
        return [view.name == than.name or view.state for view in snapshot.replicas] == ["ready"]

    return reached


async def test_a_pod_is_its_process() -> None:
    async with Lab(Project.read(PROJECT), SHORT) as lab:
        await lab.start_replicas()
        assert await lab.until(lambda snapshot: [view.state for view in snapshot.replicas] == ["ready"], WITHIN)
        (first,) = lab.replicas
        pod = await wait_for_pod(lab, first.name, ready="True")
        assert (
            pod.metadata["labels"].items()
            >= {"app": "postgres-operator", "control-plane": "controller-manager"}.items()
        )
        assert pod.metadata["ownerReferences"][0]["kind"] == "ReplicaSet"
        assert pod["spec"]["nodeName"] == first.node == "lab-node-0"
        assert pod.metadata["annotations"]["lab.pyoperator.dev/pid"] == str(first.process.pid)
        assert [entry["name"] for entry in pod["status"]["containerStatuses"]] == ["manager"]

        # Paused: it answers no probe, is not ready, and does not hear SIGTERM; the grace period ends that.
        first.process.signal(signal.SIGSTOP)
        assert await lab.until(lambda snapshot: snapshot.replicas[0].state == "silent", WITHIN)
        await wait_for_pod(lab, first.name, ready="False")
        await lab.client.delete(POD, f"{NAMESPACE}/{first.name}", grace_period_seconds=1)
        assert await first.process.wait() == -signal.SIGKILL
        assert await lab.until(other_is_ready(first), WITHIN)
        assert first.terminated_at is not None
        assert first.killed_at is not None
        assert first.killed_at - first.terminated_at >= 0.9

        # Cordoned: the process ends in order, and the next pod waits for a node.
        (second,) = lab.replicas
        await lab.client.patch(NODE, "lab-node-0", MergePatch({"spec": {"unschedulable": True}}))
        await lab.client.delete(POD, f"{NAMESPACE}/{second.name}")
        assert await second.process.wait() == 0
        assert await lab.until(lambda snapshot: snapshot.replicas == (), WITHIN)
        (waiting,) = (await pods(lab)).values()
        assert waiting["status"]["phase"] == "Pending"
        await lab.client.patch(NODE, "lab-node-0", MergePatch({"spec": {"unschedulable": None}}))
        assert await lab.until(other_is_ready(second), WITHIN)

        # Without any grace the process goes with its object.
        (third,) = lab.replicas
        assert third.name == waiting.name
        await lab.client.delete(POD, f"{NAMESPACE}/{third.name}", grace_period_seconds=0)
        assert await third.process.wait() == -signal.SIGKILL
        assert await lab.until(other_is_ready(third), WITHIN)
        assert [replica.name for replica in lab.starts[:3]] == [first.name, second.name, third.name]
        assert len(lab.starts) == 4


async def wait_for_pod(lab: Lab, name: str, *, ready: str) -> Unstructured:
    async for event in lab.client.watch(POD, namespace=NAMESPACE):
        pod = event.object
        told = pod.name == name and "containerStatuses" in (pod.get("status") or {})
        if told and condition(pod, "Ready") == ready:
            return pod
    raise AssertionError("the watch ended")
