"""What ``config/`` says, and that the embedded server takes it as a real one does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from postgres_operator.main import main
from pyoperator.apiserver.http import EmbeddedServer
from tests.deploy.manifests import CONFIG, KUBECTL, build, needs_kubectl, of_kind, read

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_kubectl
LABELS = {"control-plane": "controller-manager", "app": "postgres-operator"}


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_the_deployment_is_as_the_lesson_names_it() -> None:
    deployment = read("manager", "manager.yaml")
    assert deployment["metadata"]["name"] == "controller-manager"
    assert deployment["metadata"]["namespace"] == "system"
    spec, container = deployment["spec"], _container(deployment)
    assert spec["replicas"] == 3
    assert spec["template"]["metadata"]["labels"] == LABELS == spec["selector"]["matchLabels"]
    assert (container["name"], container["image"], container["args"]) == (
        "manager",
        "controller:latest",
        ["--leader-elect"],
    )
    assert container["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": 8081},
        "initialDelaySeconds": 15,
        "periodSeconds": 20,
    }
    assert container["readinessProbe"] == {
        "httpGet": {"path": "/readyz", "port": 8081},
        "initialDelaySeconds": 5,
        "periodSeconds": 10,
    }
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "500m", "memory": "512Mi"},
    }


def test_a_rolling_update_neither_deadlocks_nor_cuts_a_stop_short() -> None:
    deployment = read("manager", "manager.yaml")
    spec, pod = deployment["spec"], deployment["spec"]["template"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert set(pod["affinity"]["podAntiAffinity"]) == {"preferredDuringSchedulingIgnoredDuringExecution"}
    assert [spread["whenUnsatisfiable"] for spread in pod["topologySpreadConstraints"]] == ["ScheduleAnyway"]
    # The manager's defaults: drain delay, time for stopping, and the flag's renew deadline.
    renew_deadline = next(option.default for option in main.params if option.name == "renew_deadline")
    assert renew_deadline == "10s"
    assert pod["terminationGracePeriodSeconds"] >= 0 + 30 + 10 / 2 + 5


def test_the_budget_protects_the_managers_and_no_database() -> None:
    budget, deployment = read("manager", "pdb.yaml"), read("manager", "manager.yaml")
    assert budget["metadata"]["name"] == "postgres-operator-pdb"
    assert budget["spec"] == {
        "minAvailable": 2,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {"app": "postgres-operator"}},
    }
    assert (
        budget["spec"]["selector"]["matchLabels"].items()
        <= deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_pods_are_restricted() -> None:
    objects = build(CONFIG / "default")
    namespace, deployment, account = (of_kind(objects, kind) for kind in ("Namespace", "Deployment", "ServiceAccount"))
    for mode in ("enforce", "audit", "warn"):
        assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    pod, container = deployment["spec"]["template"]["spec"], _container(deployment)
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert "emptyDir" in pod["volumes"][0]
    assert account["automountServiceAccountToken"] is False
    assert pod["automountServiceAccountToken"] is True
    fields = {entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] for entry in container["env"]}
    assert fields == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


def test_default_adds_prefix_and_namespace() -> None:
    objects = build(CONFIG / "default")
    deployment = of_kind(objects, "Deployment")
    assert deployment["metadata"]["name"] == "postgres-operator-controller-manager"
    assert of_kind(objects, "Namespace")["metadata"]["name"] == "postgres-operator-system"
    assert {obj["metadata"]["namespace"] for obj in objects if "namespace" in obj["metadata"]} == {
        "postgres-operator-system"
    }
    assert "--leader-elect" in _container(deployment)["args"]
    assert of_kind(objects, "RoleBinding")["roleRef"]["name"] == of_kind(objects, "Role")["metadata"]["name"]
    (subject,) = of_kind(objects, "ClusterRoleBinding")["subjects"]
    assert subject["name"] == of_kind(objects, "ServiceAccount")["metadata"]["name"]
    assert subject["namespace"] == "postgres-operator-system"


@pytest.mark.parametrize("overlay", ["default", "secure-metrics"])
def test_the_operator_knows_every_flag(overlay: str) -> None:
    known = {flag for option in main.params for flag in option.opts}
    args = _container(of_kind(build(CONFIG / overlay), "Deployment"))["args"]
    assert {argument.partition("=")[0] for argument in args} <= known


def test_secure_metrics_serve_what_the_policy_lets_in() -> None:
    objects = build(CONFIG / "secure-metrics")
    container = _container(of_kind(objects, "Deployment"))
    assert container["ports"] == [
        {"name": "metrics", "containerPort": 8443, "protocol": "TCP"},
        {"name": "probes", "containerPort": 8081, "protocol": "TCP"},
    ]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] != "/tmp"]
    assert f"--metrics-cert-path={mount['mountPath']}" in container["args"]
    assert of_kind(objects, "Service")["spec"]["ports"][0]["port"] == 8443
    assert of_kind(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABELS


@pytest.mark.parametrize(
    ("option", "kind"),
    [("prometheus", "ServiceMonitor"), ("network-policy", "NetworkPolicy"), ("priority-class", "PriorityClass")],
)
def test_options_are_added_one_by_one(tmp_path: Path, option: str, kind: str) -> None:
    objects = _with(tmp_path, option)
    added = of_kind(objects, kind)
    assert added["metadata"]["name"].startswith("postgres-operator-")
    if kind == "PriorityClass":
        pod = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
        assert pod["priorityClassName"] == added["metadata"]["name"]


def test_the_option_for_owner_references_adds_its_rules(tmp_path: Path) -> None:
    before, after = (
        of_kind(build(CONFIG / "default"), "ClusterRole"),
        of_kind(_with(tmp_path, "owner-reference-permissions"), "ClusterRole"),
    )
    assert len(after["rules"]) == len(before["rules"]) + 2


def _with(folder: Path, option: str) -> list[dict[str, Any]]:
    """Build a copy of config/default with a component."""
    import shutil

    shutil.copytree(CONFIG, folder / "config")
    with (folder / "config" / "default" / "kustomization.yaml").open("a") as file:
        file.write(f"components:\n- ../{option}\n")
    return build(folder / "config" / "default")


async def test_the_embedded_server_takes_all_of_it_twice() -> None:
    """The second time nothing changes; kubectl alone says otherwise of budgets, whose selector it always sends."""
    async with EmbeddedServer() as server:

        async def kubectl(*arguments: str) -> list[str]:
            assert KUBECTL is not None
            process = await asyncio.create_subprocess_exec(
                KUBECTL,
                f"--kubeconfig={server.kubeconfig}",
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            async with asyncio.timeout(60):
                output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()
            return output.decode().splitlines()

        default = str(CONFIG / "default")
        await kubectl("apply", "-k", str(CONFIG / "crd"))
        await kubectl("create", "namespace", "postgres-operator-system")
        assert len(await kubectl("apply", "--dry-run=server", "-k", default)) >= 10
        await kubectl("apply", "-k", default)
        versions = await kubectl("get", "-k", default, "-o", "custom-columns=V:.metadata.resourceVersion")
        again = await kubectl("apply", "-k", default)
        assert [line for line in again if not line.endswith(" unchanged")] == [
            "poddisruptionbudget.policy/postgres-operator-postgres-operator-pdb configured"
        ]
        assert await kubectl("get", "-k", default, "-o", "custom-columns=V:.metadata.resourceVersion") == versions
