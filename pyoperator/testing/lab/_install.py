"""What is put into a fresh API server before replicas start: namespace, CRDs, permissions, samples."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyoperator.client import AlreadyExists, ApiError, NoKindMatch, TransportError
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.testing.lab._errors import LabError

if TYPE_CHECKING:
    from pyoperator.client import Client
    from pyoperator.testing.lab._project import Project

REPLICAS_GROUP = "lab:replicas"
"""The group of all replicas' users: what the operator's roles are bound to."""

_NAMESPACE = GroupVersionKind("", "v1", "Namespace")
_CRD = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
_RBAC = "rbac.authorization.k8s.io"
_ESTABLISHED_WITHIN = 10.0


async def install(client: Client, project: Project) -> None:
    """Create all but the samples, and wait for the CRDs; raises LabError naming what was refused."""
    for name in dict.fromkeys((project.lease.namespace, project.namespace)):
        await create(client, Unstructured.new(_NAMESPACE, name))
    crds = project.manifests("crds")
    for crd in crds:
        await create(client, crd)
    for crd in crds:
        await _wait_established(client, crd.name)
    for role in project.manifests("rbac"):
        namespace = role.namespace or project.lease.namespace
        if role.gvk.kind == "Role":
            role.metadata["namespace"] = namespace
        await create(client, role)
        if role.gvk.kind in {"Role", "ClusterRole"}:
            await create(client, binding_of(role))


async def apply_samples(client: Client, project: Project) -> list[Unstructured]:
    """Create the samples and return them as the server keeps them; raises LabError."""
    samples = project.manifests("samples")
    return [await create(client, in_namespace(sample, project)) for sample in samples]


def in_namespace(obj: Unstructured, project: Project) -> Unstructured:
    """Return an object of the operator's kind with the project's namespace, if it names none."""
    if obj.gvk == project.resource.gvk and project.resource.namespaced:
        obj.metadata.setdefault("namespace", project.namespace)
    return obj


def binding_of(role: Unstructured) -> Unstructured:
    """Return the binding that gives a Role or ClusterRole to all replicas."""
    kind = role.gvk.kind
    binding: dict[str, Any] = {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role.name},
        "subjects": [{"kind": "Group", "apiGroup": _RBAC, "name": REPLICAS_GROUP}],
    }
    name = f"lab-{role.name}"
    return Unstructured.new(GroupVersionKind(_RBAC, "v1", f"{kind}Binding"), name, role.namespace, **binding)


async def create(client: Client, obj: Unstructured) -> Unstructured:
    try:
        return await client.create(obj)
    except AlreadyExists:
        return await client.get(obj.gvk, obj.key)
    except (ApiError, NoKindMatch, TransportError) as error:
        raise LabError(f"{obj.gvk.kind} {obj.key} can't be created: {error}") from error


async def _wait_established(client: Client, name: str) -> None:
    try:
        async with asyncio.timeout(_ESTABLISHED_WITHIN):
            while True:
                crd = await client.get(_CRD, name)
                conditions = (crd.get("status") or {}).get("conditions") or ()
                if any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions):
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise LabError(
            f"the CRD {name} was not established within {_ESTABLISHED_WITHIN:.0f} s: look at its conditions"
        ) from None
