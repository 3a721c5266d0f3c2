"""A real kube-apiserver, found by its kubeconfig; nothing in it runs pods, so a stand-in does their bookkeeping."""

from __future__ import annotations

import asyncio
import contextlib
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from postgres_operator import names
from pyoperator.client import AiohttpTransport, AlreadyExists, ApiError, Client, Configuration, MergePatch, NotFound
from pyoperator.objects import GroupVersionKind, Unstructured, metadata_of
from tests.deploy.manifests import CONFIG, KUBECTL, build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

KUBECONFIG = os.environ.get("PYOPERATOR_REAL_KUBECONFIG", "")
AUDIT_LOG = Path(
    os.environ.get("PYOPERATOR_REAL_AUDIT_LOG", "") or Path(KUBECONFIG or "kubeconfig").with_name("audit.log")
)
SYSTEM = "postgres-operator-system"
MANAGER = "postgres-operator-controller-manager"
STORAGE_CLASS = GroupVersionKind("storage.k8s.io", "v1", "StorageClass")
VOLUME = GroupVersionKind("", "v1", "PersistentVolume")
_NAMESPACE = GroupVersionKind("", "v1", "Namespace")

needs_real_server = pytest.mark.skipif(
    not KUBECONFIG or KUBECTL is None,
    reason="MISSING TOOL: a real kube-apiserver and kubectl: set PYOPERATOR_REAL_KUBECONFIG (make e2e-real does)",
)


async def kubectl(*arguments: str, stdin: str = "", check: bool = True) -> str:
    """Run kubectl as administrator and return its output."""
    assert KUBECTL is not None
    process = await asyncio.create_subprocess_exec(
        KUBECTL,
        f"--kubeconfig={KUBECONFIG}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate(stdin.encode())
    assert not check or process.returncode == 0, output.decode()
    return output.decode()


async def until(what: str, condition: Callable[[], Awaitable[object]], within: float = 30.0) -> None:
    """Ask until the condition holds: the other side is another process, there is nothing to await."""
    try:
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(ApiError):
                    if await condition():
                        return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not so within {within} s: {what}") from None


@asynccontextmanager
async def administrator() -> AsyncIterator[Client]:
    """Yield a client with all rights."""
    transport = AiohttpTransport(Configuration.load(KUBECONFIG, environ={}))
    try:
        yield Client(transport)
    finally:
        await transport.aclose()


async def install(client: Client) -> list[dict[str, Any]]:
    """Apply config/default, all but the Deployment: CRDs and Namespace first, as a dry run of the rest needs them."""
    objects = build(CONFIG / "default")
    first = [obj for obj in objects if obj["kind"] in {"CustomResourceDefinition", "Namespace"}]
    rest = [obj for obj in objects if obj not in first and obj["kind"] != "Deployment"]
    for obj in (*first, *rest):
        await apply(client, obj)
    await kubectl("wait", "--for=condition=Established", "crd/postgreses.database.example.com", "--timeout=20s")
    return objects


async def apply(client: Client, obj: dict[str, Any]) -> None:
    """Create an object, or bring an existing one to what is given."""
    with contextlib.suppress(AlreadyExists):
        await client.create(Unstructured(obj))
        return
    wanted = Unstructured(obj)
    await client.patch(wanted.gvk, wanted.key, MergePatch(dict(obj)))


async def fresh_namespace(client: Client, prefix: str) -> str:
    """Make a namespace of a new name."""
    made = await client.create(Unstructured(apiVersion="v1", kind="Namespace", metadata={"generateName": f"{prefix}-"}))
    return made.name


class StandIn:
    """Does what kube-controller-manager and kubelets would, as far as the operator can see: instances are ready at once.

    It makes the claims of a StatefulSet, binds them to a class that allows expansion, and reports all pods as ready.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def run(self) -> None:
        """Work until cancelled."""
        storage_class = Unstructured.new(
            STORAGE_CLASS, "expandable", provisioner="example.com/none", allowVolumeExpansion=True
        )
        with contextlib.suppress(AlreadyExists):
            await self._client.create(storage_class)
        while True:
            with contextlib.suppress(ApiError):  # changed or gone meanwhile: the next round sees to it
                await self._round()
            await asyncio.sleep(0.05)

    async def _round(self) -> None:
        for stateful_set in (await self._client.list(names.STATEFUL_SET, namespace=self._namespace)).items:
            if metadata_of(stateful_set).deletion_timestamp:
                continue
            for claim in _claims(stateful_set):
                await self._bind(claim)
            replicas, generation = stateful_set["spec"]["replicas"], stateful_set.metadata["generation"]
            status = {
                "observedGeneration": generation,
                **dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), replicas),
            }
            if any((stateful_set.get("status") or {}).get(key) != value for key, value in status.items()):
                await self._client.status.patch(stateful_set.gvk, stateful_set.key, MergePatch({"status": status}))
        for claim in (await self._client.list(names.CLAIM, namespace=self._namespace)).items:
            # No controller takes the protection away here.
            if metadata_of(claim).deletion_timestamp and claim.metadata.get("finalizers"):
                await self._client.patch(claim.gvk, claim.key, MergePatch({"metadata": {"finalizers": None}}))

    async def _bind(self, claim: Unstructured) -> None:
        try:
            live = await self._client.get(claim.gvk, claim.key)
        except NotFound:
            live = await self._client.create(claim)
        if (live.get("status") or {}).get("phase") != "Bound":
            status = {"phase": "Bound", "capacity": live["spec"]["resources"]["requests"]}
            await self._client.status.patch(live.gvk, live.key, MergePatch({"status": status}))


def _claims(stateful_set: Unstructured) -> Iterator[Unstructured]:
    for template in stateful_set["spec"]["volumeClaimTemplates"]:
        for ordinal in range(stateful_set["spec"]["replicas"]):
            name = f"{template['metadata']['name']}-{stateful_set.name}-{ordinal}"
            spec = {**template["spec"], "storageClassName": "expandable", "volumeName": f"none-{name}"}
            claim = Unstructured.new(names.CLAIM, name, stateful_set.namespace, spec=spec)
            claim.metadata["labels"] = template["metadata"]["labels"]
            yield claim


@asynccontextmanager
async def stand_in(client: Client, namespace: str) -> AsyncIterator[None]:
    """Let a stand-in work for a while."""
    task = asyncio.create_task(StandIn(client, namespace).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def denied(client: Client, user: str, group: str, resource: str, verb: str, **more: str) -> bool:
    """Tell whether the server denies something to a user by now; it learns of changed roles a moment later."""
    resource, _, subresource = resource.partition("/")
    attributes = {"group": group, "resource": resource, "subresource": subresource, "verb": verb, **more}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = await client.raw("POST", path, body=msgspec.json.encode(review))
    return not msgspec.json.decode(answer.body)["status"].get("allowed")
