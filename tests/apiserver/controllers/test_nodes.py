"""Cordons, taints, external nodes, and drains against a budget, on virtual time."""

from __future__ import annotations

from typing import Any

from pyoperator.apiserver import APIRequest
from pyoperator.apiserver.controllers import EXTERNAL_ANNOTATION
from pyoperator.objects import GroupVersionKind
from pyoperator.testing.lab._workload import EXTERNAL
from tests.apiserver.controllers.support import NAMESPACE, Cluster, cluster
from tests.apiserver.requests import ADMIN
from tests.support import run_virtual

NODE = GroupVersionKind("", "v1", "Node")
POD = GroupVersionKind("", "v1", "Pod")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
DAEMON_SET = GroupVersionKind("apps", "v1", "DaemonSet")
BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
LABELS = {"app": "web"}


def template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def deploy(made: Cluster, replicas: int = 3, **spec: Any) -> None:
    fields = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template(**spec)}
    made.make(DEPLOYMENT, "web", spec=fields)


def nodes_of_pods(made: Cluster) -> list[str]:
    return sorted(pod["spec"].get("nodeName", "") for pod in made.client.list(POD, NAMESPACE))


def cordon(made: Cluster, name: str, *, on: bool = True) -> None:
    made.change(NODE, name, lambda node: node.setdefault("spec", {}).update(unschedulable=on), "")


def evict(made: Cluster, name: str) -> int:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    body = b'{"metadata": {"name": "%s"}}' % name.encode()
    return made.server.handle(APIRequest("POST", path, [], {}, body, ADMIN)).status


def on(made: Cluster, node: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in made.client.list(POD, NAMESPACE) if pod["spec"].get("nodeName") == node]


def test_nothing_comes_to_a_cordoned_node() -> None:
    async def scenario() -> None:
        async with cluster() as made:
            cordon(made, "simulated-1")
            deploy(made)
            await made.settle()
            assert nodes_of_pods(made) == ["simulated-0", "simulated-0", "simulated-2"]
            for node in ("simulated-0", "simulated-2"):
                cordon(made, node)
            made.change(DEPLOYMENT, "web", lambda found: found["spec"].update(replicas=4))
            await made.settle()
            assert nodes_of_pods(made)[0] == ""  # pending
            cordon(made, "simulated-1", on=False)
            await made.settle()
            assert "simulated-1" in nodes_of_pods(made)

    run_virtual(scenario)


def test_taints_keep_pods_and_daemons_away() -> None:
    async def scenario() -> None:
        async with cluster() as made:
            taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
            for number in range(2):
                made.change(NODE, f"simulated-{number}", lambda node: node.update(spec={"taints": [taint]}), "")
            selector = {"matchLabels": LABELS}
            made.make(DAEMON_SET, "plain", spec={"selector": selector, "template": template()})
            tolerations = [{"key": "dedicated", "operator": "Equal", "value": "x", "effect": "NoSchedule"}]
            made.make(
                DAEMON_SET, "tolerant", spec={"selector": selector, "template": template(tolerations=tolerations)}
            )
            await made.settle()
            assert nodes_of_pods(made) == ["simulated-0", "simulated-1", "simulated-2", "simulated-2"]

    run_virtual(scenario)


def test_the_pods_of_an_external_node_are_left_alone() -> None:
    assert EXTERNAL == EXTERNAL_ANNOTATION

    async def scenario() -> None:
        async with cluster() as made:
            metadata = {"annotations": {EXTERNAL: "true"}, "labels": {"own": "yes"}}
            made.make(NODE, "outside", "", metadata=metadata)
            deploy(made, 1, nodeSelector={"own": "yes"})
            await made.settle(60.0)
            (pod,) = made.client.list(POD, NAMESPACE)
            assert (pod["spec"]["nodeName"], pod["status"]["phase"]) == ("outside", "Pending")
            made.client.delete(POD, NAMESPACE, pod["metadata"]["name"])
            await made.settle(60.0)
            # Its deletion is the outside's to carry out; the ReplicaSet has made another one meanwhile.
            assert made.get(POD, pod["metadata"]["name"])["metadata"]["deletionTimestamp"]
            assert len(made.names(POD, NAMESPACE)) == 2

    run_virtual(scenario)


def test_two_drains_at_once_wait_for_the_budget() -> None:
    async def scenario() -> None:
        async with cluster() as made:
            deploy(made)
            made.make(BUDGET, "web", spec={"minAvailable": 2, "selector": {"matchLabels": LABELS}})
            await made.settle()
            assert made.get(BUDGET, "web")["status"]["disruptionsAllowed"] == 1
            for number in range(2):
                cordon(made, f"simulated-{number}")
            (first,), (second,) = on(made, "simulated-0"), on(made, "simulated-1")
            assert evict(made, first) == 201
            assert evict(made, second) == 429
            await made.settle()
            # The first one's replacement is ready: now the second may go.
            assert evict(made, second) == 201
            await made.settle()
            assert nodes_of_pods(made) == ["simulated-2"] * 3
            assert made.get(BUDGET, "web")["status"]["disruptionsAllowed"] == 1
            assert "disruptedPods" not in made.get(BUDGET, "web")["status"]

    run_virtual(scenario)


def test_a_disruption_that_never_happened_is_given_back() -> None:
    async def scenario() -> None:
        async with cluster() as made:
            deploy(made)
            made.make(BUDGET, "web", spec={"minAvailable": 2, "selector": {"matchLabels": LABELS}})
            await made.settle()
            budget = made.get(BUDGET, "web")
            name = made.names(POD, NAMESPACE)[0]
            budget["status"] = {**budget["status"], "disruptionsAllowed": 0}
            budget["status"]["disruptedPods"] = {name: made.get(POD, name)["metadata"]["creationTimestamp"]}
            made.client.update_status(budget)
            await made.settle()
            assert made.get(BUDGET, "web")["status"]["disruptionsAllowed"] == 0
            await made.settle(130.0)
            assert made.get(BUDGET, "web")["status"]["disruptionsAllowed"] == 1

    run_virtual(scenario)
