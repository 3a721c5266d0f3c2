"""The client against a real kube-apiserver."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from pyoperator.client import (
    AiohttpTransport,
    BadRequest,
    Client,
    CollectionOptions,
    Configuration,
    Conflict,
    DryRunClient,
    FieldValidationClient,
    InternalError,
    JSONPatch,
    NamespacedClient,
    NoKindMatch,
    NotFound,
    OperationResult,
    StrategicMergePatch,
)
from pyoperator.clock import Randomness
from pyoperator.objects import GroupVersionKind, Unstructured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
NAMESPACE = GroupVersionKind("", "v1", "Namespace")
POD = GroupVersionKind("", "v1", "Pod")
KUBECONFIG = os.environ.get("PYOPERATOR_REAL_KUBECONFIG", "")

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.skipif(not KUBECONFIG, reason="PYOPERATOR_REAL_KUBECONFIG names no real kube-apiserver"),
]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client with a namespace of its own."""
    namespace = f"client-{Randomness().getrandbits(32):08x}"
    transport = AiohttpTransport(Configuration.load(KUBECONFIG))
    async with contextlib.aclosing(transport):
        client = Client(transport, field_manager="client-test", namespace=namespace)
        await client.create(Unstructured.new(NAMESPACE, namespace))
        yield client
        await client.delete(NAMESPACE, namespace)


def deployment(**spec: Any) -> Unstructured:
    labels = {"app": "web"}
    container = {"name": "main", "image": "nginx:1", **spec.pop("container", {})}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return Unstructured.new(DEPLOYMENT, "web", spec={"selector": {"matchLabels": labels}, "template": template, **spec})


async def test_server_side_apply(client: Client) -> None:
    """Fields have owners: another one's are a Conflict unless forced, and what an owner leaves out is removed."""
    client = NamespacedClient(client, client.namespace)
    first = await client.apply(deployment(replicas=2), field_manager="first")
    assert first["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"]
    sidecar = deployment()
    sidecar["spec"]["template"]["spec"]["containers"] = [{"name": "sidecar", "image": "envoy:1"}]
    both = await client.apply(sidecar, field_manager="second")
    assert [one["name"] for one in both["spec"]["template"]["spec"]["containers"]] == ["main", "sidecar"]
    with pytest.raises(Conflict) as caught:
        await client.apply(deployment(replicas=3), field_manager="third")
    assert [cause["field"] for cause in caught.value.status.causes] == [".spec.replicas"]
    assert (await client.apply(deployment(replicas=3), field_manager="third", force=True))["spec"]["replicas"] == 3
    stale = deployment(replicas=4)
    stale.metadata["resourceVersion"] = first.metadata["resourceVersion"]
    with pytest.raises(Conflict):
        await client.apply(stale, field_manager="third", force=True)
    await client.apply(Unstructured.new(CONFIG_MAP, "s", data={"a": "1", "b": "2"}))
    left = await client.apply(Unstructured.new(CONFIG_MAP, "s", data={"a": "1"}))
    assert left["data"] == {"a": "1"}
    assert left.metadata["managedFields"][0]["manager"] == "client-test"
    # The subresource: nothing but the status is owned and changed.
    status = Unstructured.new(DEPLOYMENT, "web", status={"replicas": 3, "observedGeneration": 1})
    written = await client.status.apply(status, field_manager="status")
    assert (written["status"]["replicas"], written["spec"]["replicas"]) == (3, 3)
    with pytest.raises(InternalError, match="replica: field not declared in schema"):  # that server's word for it
        await client.apply(deployment(replica=1), field_manager="first")


async def test_subresources_and_preconditions(client: Client) -> None:
    client = NamespacedClient(client, client.namespace)
    created = await client.create(deployment(replicas=1))
    assert (await client.scale.set_replicas(DEPLOYMENT, "web", 5)).replicas == 5
    assert (await client.scale.replicas(DEPLOYMENT, "web")).selector == "app=web"
    with pytest.raises(Conflict):
        await client.patch_status(created, lambda obj: obj["status"].update(replicas=5))
    changed = await client.patch_status(DEPLOYMENT, "web", lambda obj: obj["status"].update(replicas=5))
    assert changed["status"]["replicas"] == 5

    def rebuild(obj: Unstructured) -> None:
        # Without the server's defaults: a difference, but none to the server.
        obj["spec"]["template"]["spec"]["containers"] = [{"name": "main", "image": "nginx:1"}]

    assert (await client.create_or_patch(DEPLOYMENT, "web", rebuild))[1] is OperationResult.UNCHANGED
    with pytest.raises(Conflict):
        await client.delete(DEPLOYMENT, "web", uid="another")
    with pytest.raises(Conflict):
        await client.delete(DEPLOYMENT, "web", resource_version="1")
    await client.delete(DEPLOYMENT, "web", dry_run=True, propagation_policy="Background")
    await client.delete(changed, grace_period_seconds=0)
    with pytest.raises(NotFound):
        await client.delete(DEPLOYMENT, "web")
    pod = Unstructured.new(POD, "p", spec={"containers": [{"name": "main", "image": "nginx:1"}]})
    await client.create(pod)
    await client.pods.evict("p")
    with pytest.raises(NotFound):
        await client.pods.evict("p")


async def test_a_collection_in_pages_and_as_a_stream(client: Client) -> None:
    names = [f"c{number:03d}" for number in range(30)]
    await asyncio.gather(
        *(
            client.create(Unstructured.new(CONFIG_MAP, name, client.namespace, data={"text": "x" * 10_000}))
            for name in names
        )
    )
    selected: CollectionOptions = {"namespace": client.namespace, "field_selector": "metadata.name!=kube-root-ca.crt"}
    pages = [page async for page in client.pages(CONFIG_MAP, page_size=7, **selected)]
    assert [len(page) for page in pages] == [7, 7, 7, 7, 2]
    stream = client.stream(CONFIG_MAP, page_size=7, **selected)
    assert [obj.name async for obj in stream] == names
    assert stream.resource_version == pages[0].resource_version
    assert client.transport.statistics().requests["200", "GET", _host(client)] >= 10  # type: ignore[attr-defined]
    await client.delete_all_of(CONFIG_MAP, namespace=client.namespace)
    assert [obj async for obj in client.stream(CONFIG_MAP, **selected)] == []


def _host(client: Client) -> str:
    return Configuration.load(KUBECONFIG).server.removeprefix("https://")


async def test_the_servers_warnings_are_logged_once(client: Client) -> None:
    with capture_logs() as lines:
        transport = AiohttpTransport(Configuration.load(KUBECONFIG))
        async with contextlib.aclosing(transport):
            warned = FieldValidationClient(Client(transport, namespace=client.namespace), "Warn")
            for number in range(3):
                await warned.create(Unstructured.new(CONFIG_MAP, f"w{number}", client.namespace, dataa={}))
        assert transport.statistics().server_warnings == 3
    assert [line["warning"] for line in lines if "warning" in line] == ['unknown field "dataa"']


async def test_the_verbs_on_a_real_server(client: Client) -> None:
    namespace = client.namespace
    created = await client.create(Unstructured.new(CONFIG_MAP, "s", data={"a": "1"}))
    stale = Unstructured(created | {"data": {"a": "0"}})
    _, result = await client.create_or_patch(CONFIG_MAP, "s", lambda obj: obj["data"].update(b="2"))
    assert result is OperationResult.UPDATED
    _, result = await client.create_or_patch(CONFIG_MAP, "s", lambda obj: obj["data"].update(b="2"))
    assert result is OperationResult.UNCHANGED
    with pytest.raises(Conflict):
        await client.update(stale)
    applied = await client.apply(Unstructured.new(CONFIG_MAP, "s", namespace, data={"z": "9"}), force=True)
    assert applied["data"] == {"a": "1", "b": "2", "z": "9"}
    await client.patch(CONFIG_MAP, "s", StrategicMergePatch({"data": {"a": None}}))
    patched = await client.patch(CONFIG_MAP, "s", JSONPatch([{"op": "remove", "path": "/data/b"}]))
    assert patched["data"] == {"z": "9"}
    with pytest.raises(BadRequest, match="unknown field"):
        await FieldValidationClient(DryRunClient(client), "Strict").create(Unstructured.new(CONFIG_MAP, "q", dataa={}))
    with pytest.raises(NoKindMatch):
        await client.get(GroupVersionKind("x.example", "v1", "Foo"), "a")
    async with client.watch(CONFIG_MAP, namespace=namespace, timeout_seconds=1) as events:
        assert [event.object.key.name async for event in events] == ["s"]
    await client.delete(patched)
