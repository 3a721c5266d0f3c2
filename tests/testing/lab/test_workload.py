"""The Deployment and the nodes that the lab installs, against the embedded server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyoperator.apiserver import APIServer
from pyoperator.client import Client
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.testing import InProcessTransport
from pyoperator.testing.lab import LabError, Project
from pyoperator.testing.lab._install import create
from pyoperator.testing.lab._workload import DEPLOYMENT, NODE, install_nodes, install_workload, restart
from tests.e2e.support import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
NAMESPACE = GroupVersionKind("", "v1", "Namespace")


@pytest.fixture
def client() -> Client:
    return Client(InProcessTransport(APIServer()))


async def with_namespace(client: Client) -> Project:
    project = Project.read(PROJECT)
    await create(client, Unstructured.new(NAMESPACE, project.lease.namespace))
    return project


async def test_what_is_deployed_is_what_config_has(client: Client) -> None:
    project = await with_namespace(client)
    await install_nodes(client, project, 2)
    key = await install_workload(client, project, 5)
    deployment = await client.get(DEPLOYMENT, key)
    pods = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 5
    assert pods["spec"]["containers"][0]["name"] == "manager"
    budget = await client.get(BUDGET, f"{project.lease.namespace}/postgres-operator-pdb")
    assert budget["spec"]["minAvailable"] == 2
    assert budget["spec"]["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
    nodes = (await client.list(NODE)).items
    assert [node.name for node in nodes] == ["lab-node-0", "lab-node-1"]
    for node in nodes:
        assert pods["spec"]["nodeSelector"].items() <= node.metadata["labels"].items()
        assert {taint["key"] for taint in node["spec"]["taints"]} <= {
            entry["key"] for entry in pods["spec"]["tolerations"]
        }
    before = deployment.metadata["generation"]
    await restart(client, key)
    assert (await client.get(DEPLOYMENT, key)).metadata["generation"] == before + 1


async def test_a_project_without_a_deployment_gets_a_plain_one(client: Client) -> None:
    project = (await with_namespace(client)).model_copy(update={"manager": ()})
    deployment = await client.get(DEPLOYMENT, await install_workload(client, project, 1))
    assert deployment["spec"]["template"]["metadata"]["labels"]["app"] == project.name


async def test_two_deployments_are_one_too_many(client: Client, tmp_path: Path) -> None:
    project = await with_namespace(client)
    manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n"
    (tmp_path / "two.yaml").write_text(manifest + manifest.replace("name: a", "name: b"))
    two = project.model_copy(update={"manager": ("two.yaml",), "folder": tmp_path})
    with pytest.raises(LabError, match="one Deployment runs the operator, and there are 2: a, b"):
        await install_workload(client, two, 1)
