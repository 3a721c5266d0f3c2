from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyoperator.apiserver.controllers import EXIT_CODE_ANNOTATION, READY_ANNOTATION
from pyoperator.apiserver.controllers._kinds import (
    BUDGET,
    CLAIM,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    JOB,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    VOLUME,
)
from tests.apiserver.controllers.support import (
    NAMESPACE,
    Cluster,
    Object,
    cluster,
    set_image,
    set_replicas,
    template,
    workload,
)
from tests.support import run_virtual


def claims(size: str = "1Gi") -> list[Object]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return [{"metadata": {"name": "data"}, "spec": spec}]


def stateful_set(made: Cluster, name: str = "pg", **spec: Any) -> Object:
    return made.make(STATEFUL_SET, name, spec=workload(name, serviceName=name, replicas=3, **spec))


def test_a_stateful_set_comes_up_in_order_with_its_claims() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, volumeClaimTemplates=claims())
            seen: list[str] = []

            def note(event: Any) -> None:
                if event.gvk == POD and event.type == "ADDED":
                    ready = [
                        pod["metadata"]["name"]
                        for pod in made.client.list(POD)
                        for entry in (pod.get("status") or {}).get("conditions") or ()
                        if (entry["type"], entry["status"]) == ("Ready", "True")
                    ]
                    seen.append(f"{event.name} after {sorted(ready)}")

            made.client.subscribe(note)
            await made.settle()
            assert seen == ["pg-0 after []", "pg-1 after ['pg-0']", "pg-2 after ['pg-0', 'pg-1']"]
            assert made.names(CLAIM) == ["data-pg-0", "data-pg-1", "data-pg-2"]
            status = made.get(STATEFUL_SET, "pg")["status"]
            assert status["readyReplicas"] == status["availableReplicas"] == status["updatedReplicas"] == 3
            assert status["currentRevision"] == status["updateRevision"]
            assert status["observedGeneration"] == 1
            pod = made.get(POD, "pg-1")
            assert pod["metadata"]["labels"] == {
                "app": "pg",
                "apps.kubernetes.io/pod-index": "1",
                "controller-revision-hash": status["updateRevision"],
                "statefulset.kubernetes.io/pod-name": "pg-1",
            }
            assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("pg-1", "pg")
            assert pod["spec"]["volumes"][-1] == {"name": "data", "persistentVolumeClaim": {"claimName": "data-pg-1"}}
            assert pod["status"]["phase"] == "Running"
            assert pod["status"]["podIP"]
            assert pod["status"]["startTime"]
            nodes = {made.get(POD, f"pg-{index}")["spec"]["nodeName"] for index in range(3)}
            assert nodes == set(made.names(NODE))

    run_virtual(main)


def test_parallel_sets_do_not_wait() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, podManagementPolicy="Parallel")
            await made.until(lambda: len(made.names(POD)) == 3)
            assert not (made.get(STATEFUL_SET, "pg").get("status") or {}).get("readyReplicas")

    run_virtual(main)


def test_a_deleted_pod_comes_back_on_the_same_claim() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, volumeClaimTemplates=claims())
            await made.settle()
            before, claim = made.get(POD, "pg-1"), made.get(CLAIM, "data-pg-1")
            made.client.delete(POD, NAMESPACE, "pg-1")
            assert made.get(POD, "pg-1")["metadata"]["deletionGracePeriodSeconds"] == 30
            await made.settle()
            after = made.get(POD, "pg-1")
            assert after["metadata"]["uid"] != before["metadata"]["uid"]
            assert made.get(CLAIM, "data-pg-1")["metadata"]["uid"] == claim["metadata"]["uid"]
            assert made.get(STATEFUL_SET, "pg")["status"]["readyReplicas"] == 3

    run_virtual(main)


def test_scaling_down_goes_from_the_top_and_keeps_claims() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, volumeClaimTemplates=claims())
            await made.settle()
            made.change(STATEFUL_SET, "pg", set_replicas(1))
            await made.settle()
            assert made.names(POD) == ["pg-0"]
            assert len(made.names(CLAIM)) == 3
            made.change(STATEFUL_SET, "pg", set_replicas(0))
            await made.settle()
            assert made.get(STATEFUL_SET, "pg")["status"]["replicas"] == 0

    run_virtual(main)


def test_an_update_rolls_from_the_highest_ordinal() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made)
            await made.settle()
            deleted: list[str] = []

            def note(event: Any) -> None:
                if event.gvk == POD and event.type == "DELETED":
                    deleted.append(event.name)

            made.client.subscribe(note)
            made.change(STATEFUL_SET, "pg", set_image("y"))
            await made.settle()
            assert deleted == ["pg-2", "pg-1", "pg-0"]
            status = made.get(STATEFUL_SET, "pg")["status"]
            assert status["currentRevision"] == status["updateRevision"]
            assert status["updatedReplicas"] == 3
            assert len(made.names(CONTROLLER_REVISION)) == 2

    run_virtual(main)


def test_a_partition_holds_the_lower_ordinals_back() -> None:
    async def main() -> None:
        async with cluster() as made:
            strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
            stateful_set(made, updateStrategy=strategy)
            await made.settle()
            made.change(STATEFUL_SET, "pg", set_image("y"))
            await made.settle()
            made.client.delete(POD, NAMESPACE, "pg-0")  # comes back as it was
            await made.settle()
            images = [made.get(POD, f"pg-{index}")["spec"]["containers"][0]["image"] for index in range(3)]
            assert images == ["x", "x", "y"]
            status = made.get(STATEFUL_SET, "pg")["status"]
            assert status["updatedReplicas"] == 1
            assert status["currentRevision"] != status["updateRevision"]

    run_virtual(main)


def test_a_broken_update_can_be_corrected() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made)
            await made.settle()

            def break_it(obj: Object) -> None:
                obj["spec"]["template"]["metadata"]["annotations"] = {READY_ANNOTATION: "false"}

            made.change(STATEFUL_SET, "pg", break_it)
            await made.settle()
            assert made.get(STATEFUL_SET, "pg")["status"]["readyReplicas"] == 2
            made.change(STATEFUL_SET, "pg", lambda obj: obj["spec"]["template"]["metadata"].pop("annotations"))
            await made.settle()
            assert made.get(STATEFUL_SET, "pg")["status"]["readyReplicas"] == 3

    run_virtual(main)


def test_on_delete_waits_for_the_user() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, updateStrategy={"type": "OnDelete"})
            await made.settle()
            made.change(STATEFUL_SET, "pg", set_image("y"))
            await made.settle()
            assert made.get(POD, "pg-1")["spec"]["containers"][0]["image"] == "x"
            made.client.delete(POD, NAMESPACE, "pg-1")
            await made.settle()
            assert made.get(POD, "pg-1")["spec"]["containers"][0]["image"] == "y"

    run_virtual(main)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_a_deleted_set_takes_its_pods_along(propagation: str) -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, volumeClaimTemplates=claims())
            await made.settle()
            made.client.delete(STATEFUL_SET, NAMESPACE, "pg", propagation=propagation)
            await made.settle()
            assert made.names(POD) == []
            assert made.names(STATEFUL_SET) == []
            assert made.names(CONTROLLER_REVISION) == []
            assert len(made.names(CLAIM)) == 3

    run_virtual(main)


def test_volumes_are_bound_grow_and_are_reclaimed() -> None:
    async def main() -> None:
        async with cluster() as made:
            claim = made.make(CLAIM, "c", spec=claims()[0]["spec"])
            await made.settle(1)
            bound = made.get(CLAIM, "c")
            assert bound["status"] == {
                "phase": "Bound",
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
            }
            assert bound["spec"]["storageClassName"] == "standard"
            volume_name = bound["spec"]["volumeName"]
            assert volume_name == f"pvc-{claim['metadata']['uid']}"
            assert made.get(VOLUME, volume_name, "")["status"]["phase"] == "Bound"
            made.change(CLAIM, "c", lambda obj: obj["spec"]["resources"]["requests"].update(storage="2Gi"))
            await made.until(lambda: bool(made.get(CLAIM, "c")["status"].get("conditions")))
            assert made.get(CLAIM, "c")["status"]["conditions"][0]["type"] == "Resizing"
            await made.settle(1)
            grown = made.get(CLAIM, "c")["status"]
            assert grown["capacity"] == {"storage": "2Gi"}
            assert "conditions" not in grown
            assert made.get(VOLUME, volume_name, "")["spec"]["capacity"] == {"storage": "2Gi"}
            made.client.delete(CLAIM, NAMESPACE, "c")
            await made.settle(1)
            assert made.names(VOLUME) == []

    run_virtual(main)


def test_a_claim_of_an_unknown_class_waits_for_it() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(CLAIM, "c", spec={**claims()[0]["spec"], "storageClassName": "fast"})
            made.make(
                POD,
                "p",
                spec={
                    "containers": [{"name": "c", "image": "x"}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
                },
            )
            await made.settle(1)
            assert made.get(CLAIM, "c")["status"]["phase"] == "Pending"
            condition = made.get(POD, "p")["status"]["conditions"][0]
            assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
            made.make(STORAGE_CLASS, "fast", "", provisioner="example.com/fast", reclaimPolicy="Retain")
            await made.settle(1)
            assert made.get(CLAIM, "c")["status"]["phase"] == "Bound"
            assert made.get(POD, "p")["status"]["phase"] == "Running"

    run_virtual(main)


def test_services_reach_ready_pods_only() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(SERVICE, "pg", spec={"selector": {"app": "pg"}, "ports": [{"name": "sql", "port": 5432}]})
            stateful_set(made)
            await made.settle()
            endpoints = made.get(ENDPOINTS, "pg")["subsets"][0]
            assert len(endpoints["addresses"]) == 3
            assert endpoints["ports"] == [{"name": "sql", "port": 5432, "protocol": "TCP"}]
            [slice_] = made.client.list(ENDPOINT_SLICE)
            assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "pg"
            assert [endpoint["targetRef"]["name"] for endpoint in slice_["endpoints"]] == ["pg-0", "pg-1", "pg-2"]

            def unready(obj: Object) -> None:
                obj["metadata"]["annotations"] = {READY_ANNOTATION: "false"}

            made.change(POD, "pg-1", unready)
            await made.settle(1)
            endpoints = made.get(ENDPOINTS, "pg")["subsets"][0]
            assert [address["targetRef"]["name"] for address in endpoints["notReadyAddresses"]] == ["pg-1"]
            made.client.delete(SERVICE, NAMESPACE, "pg")
            await made.settle(1)
            assert made.names(ENDPOINTS) == []
            assert made.names(ENDPOINT_SLICE) == []

    run_virtual(main)


def test_budgets_count_healthy_pods() -> None:
    async def main() -> None:
        async with cluster() as made:
            selector = {"matchLabels": {"app": "pg"}}
            made.make(BUDGET, "pg", spec={"maxUnavailable": 1, "selector": selector})
            await made.settle(1)
            assert made.get(BUDGET, "pg")["status"]["disruptionsAllowed"] == 0
            stateful_set(made)
            await made.settle()
            status = made.get(BUDGET, "pg")["status"]
            assert {
                key: status[key] for key in ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
            } == {
                "currentHealthy": 3,
                "desiredHealthy": 2,
                "disruptionsAllowed": 1,
                "expectedPods": 3,
            }
            made.client.delete(POD, NAMESPACE, "pg-0")
            await made.until(lambda: made.get(BUDGET, "pg")["status"]["disruptionsAllowed"] == 0)
            await made.settle()
            assert made.get(BUDGET, "pg")["status"]["disruptionsAllowed"] == 1

    run_virtual(main)


def test_a_deployment_rolls_within_its_limits() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(DEPLOYMENT, "web", spec=workload("web", replicas=4))
            await made.settle()
            least, most = [99], [0]

            def note(event: Any) -> None:
                if event.gvk != POD:
                    return
                pods = [pod for pod in made.client.list(POD) if not pod["metadata"].get("deletionTimestamp")]
                ready = sum(
                    (entry["type"], entry["status"]) == ("Ready", "True")
                    for pod in pods
                    for entry in (pod.get("status") or {}).get("conditions") or ()
                )
                least[0], most[0] = min(least[0], ready), max(most[0], len(pods))

            made.client.subscribe(note)
            made.change(DEPLOYMENT, "web", set_image("y"))
            await made.settle()
            assert least[0] >= 3
            assert most[0] <= 5
            deployment = made.get(DEPLOYMENT, "web")
            status = deployment["status"]
            assert status["updatedReplicas"] == status["availableReplicas"] == status["replicas"] == 4
            assert {entry["type"]: entry["status"] for entry in status["conditions"]} == {
                "Available": "True",
                "Progressing": "True",
            }
            assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
            assert sorted(found["spec"]["replicas"] for found in made.client.list(REPLICA_SET)) == [0, 4]
            made.change(DEPLOYMENT, "web", set_image("x"))
            await made.settle()
            assert made.get(DEPLOYMENT, "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
            assert len(made.names(REPLICA_SET)) == 2
            made.client.delete(DEPLOYMENT, NAMESPACE, "web")
            await made.settle()
            assert made.names(POD) == made.names(REPLICA_SET) == []

    run_virtual(main)


def test_recreate_never_mixes() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(DEPLOYMENT, "web", spec=workload("web", replicas=2, strategy={"type": "Recreate"}))
            await made.settle()
            images: set[frozenset[str]] = set()

            def note(event: Any) -> None:
                images.add(frozenset(pod["spec"]["containers"][0]["image"] for pod in made.client.list(POD)))

            made.client.subscribe(note)
            made.change(DEPLOYMENT, "web", set_image("y"))
            await made.settle()
            assert images == {frozenset("x"), frozenset(), frozenset("y")}
            assert made.get(DEPLOYMENT, "web")["status"]["availableReplicas"] == 2

    run_virtual(main)


def test_scaling_a_deployment() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(DEPLOYMENT, "web", spec=workload("web", replicas=1))
            for replicas in (5, 2, 0):
                made.change(DEPLOYMENT, "web", set_replicas(replicas))
                await made.settle()
                assert len(made.names(POD)) == replicas
                assert made.get(DEPLOYMENT, "web")["status"].get("readyReplicas", 0) == replicas

    run_virtual(main)


def test_a_daemon_set_follows_the_nodes() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(DAEMON_SET, "agent", spec=workload("agent"))
            await made.settle()
            assert made.get(DAEMON_SET, "agent")["status"]["numberReady"] == 3
            made.make(NODE, "one-more", "")
            await made.settle()
            status = made.get(DAEMON_SET, "agent")["status"]
            assert status["desiredNumberScheduled"] == status["numberReady"] == 4
            made.change(DAEMON_SET, "agent", set_image("y"))
            await made.settle()
            assert {pod["spec"]["containers"][0]["image"] for pod in made.client.list(POD)} == {"y"}

    run_virtual(main)


def job_spec(**spec: Any) -> Object:
    return {"template": {"spec": template("job", restartPolicy="Never")["spec"]}, **spec}


def test_jobs_complete() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(JOB, "j", spec=job_spec(completions=3, parallelism=2))
            await made.settle()
            status = made.get(JOB, "j")["status"]
            assert status["succeeded"] == 3
            assert status["completionTime"]
            assert status["conditions"][-1]["type"] == "Complete"
            assert {pod["status"]["phase"] for pod in made.client.list(POD)} == {"Succeeded"}

    run_virtual(main)


def test_jobs_fail_after_their_limit() -> None:
    async def main() -> None:
        async with cluster() as made:
            spec = job_spec(backoffLimit=1)
            spec["template"]["metadata"] = {"annotations": {EXIT_CODE_ANNOTATION: "1"}}
            made.make(JOB, "j", spec=spec)
            await made.settle()
            status = made.get(JOB, "j")["status"]
            assert status["failed"] == 2
            assert status["conditions"][-1]["type"] == "Failed"

    run_virtual(main)


def test_finished_jobs_expire() -> None:
    async def main() -> None:
        async with cluster() as made:
            made.make(JOB, "j", spec=job_spec(ttlSecondsAfterFinished=60))
            await made.settle(30)
            assert made.names(JOB) == ["j"]
            await made.settle(60)
            assert made.names(JOB) == made.names(POD) == []

    run_virtual(main)


def test_cordoned_nodes_take_no_pods() -> None:
    async def main() -> None:
        async with cluster() as made:
            for name in made.names(NODE):
                made.change(NODE, name, lambda obj: obj.setdefault("spec", {}).update(unschedulable=True), "")
            made.make(POD, "p", spec=template("p")["spec"])
            await made.settle(1)
            assert "nodeName" not in made.get(POD, "p")["spec"]
            made.change(NODE, "simulated-1", lambda obj: obj["spec"].pop("unschedulable"), "")
            await made.settle(1)
            assert made.get(POD, "p")["spec"]["nodeName"] == "simulated-1"

    run_virtual(main)


def test_what_exists_at_the_start_is_looked_at() -> None:
    async def main() -> None:
        from pyoperator.apiserver.controllers import Controllers

        async with cluster() as made:
            stateful_set(made)
            await made.settle()
            again = Controllers(made.client, made.server.clock, made.server.random, simulate_workloads=True)
            task = asyncio.create_task(again.run())
            before = made.server.store.revision
            await made.settle()
            assert made.server.store.revision == before  # a settled cluster is left alone
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_virtual(main)


def test_two_runs_of_a_seed_are_identical() -> None:
    def run() -> list[Object]:
        final: list[Object] = []

        async def main() -> None:
            async with cluster(seed=7) as made:
                stateful_set(made, volumeClaimTemplates=claims())
                made.make(DEPLOYMENT, "web", spec=workload("web", replicas=3))
                made.make(SERVICE, "pg", spec={"selector": {"app": "pg"}, "ports": [{"port": 5432}]})
                await made.settle()
                made.change(DEPLOYMENT, "web", set_image("y"))
                await made.settle()
                for kind in (POD, REPLICA_SET, CLAIM, ENDPOINT_SLICE):
                    final.extend(made.client.list(kind))

        run_virtual(main)
        return final

    assert run() == run()


def test_a_claim_in_use_outlives_its_deletion() -> None:
    async def main() -> None:
        async with cluster() as made:
            stateful_set(made, volumeClaimTemplates=claims())
            await made.settle()
            made.client.delete(CLAIM, NAMESPACE, "data-pg-0")
            await made.settle()
            assert made.get(CLAIM, "data-pg-0")["metadata"]["deletionTimestamp"]
            made.client.delete(STATEFUL_SET, NAMESPACE, "pg")
            await made.settle()
            assert made.names(CLAIM) == ["data-pg-1", "data-pg-2"]
            assert len(made.names(VOLUME)) == 2

    run_virtual(main)


def test_objects_that_make_no_sense_disturb_nobody_else() -> None:
    async def main() -> None:
        async with cluster() as made:
            spec = {**claims()[0]["spec"], "resources": {"requests": {"storage": "1Gi"}}}
            made.make(CLAIM, "good", spec=spec)
            # Valid as a set; its pods' names do not fit into the label that names them.
            made.make(
                STATEFUL_SET, "x" * 62, spec=workload("pg", serviceName="pg", replicas=1, ordinals={"start": 100})
            )
            await asyncio.sleep(5)
            assert made.get(CLAIM, "good")["status"]["phase"] == "Bound"
            assert made.names(POD) == []
            assert 1 < made.controllers.statistics().failures < 10  # tried again, ever more rarely

    run_virtual(main)
