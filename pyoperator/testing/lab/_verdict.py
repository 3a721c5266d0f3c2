"""Asks the judge: what a project's objects and children are, in its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.testing._audit_lines import read_audit
from pyoperator.testing._judge import Child, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pyoperator.client import Client
    from pyoperator.objects import Scheme, Unstructured
    from pyoperator.testing._judge import Verdict
    from pyoperator.testing.lab._project import ChildKind, Project
    from pyoperator.testing.lab._replica import Replica


async def final_state(client: Client, project: Project) -> tuple[list[Unstructured], list[Unstructured]]:
    """Read from the server what is there at the end: custom resources, and everything that may be their child."""
    objects = (await client.list(project.resource.gvk)).items
    children: list[Unstructured] = []
    for kind in project.children:
        children.extend((await client.list(kind.gvk, label_selector=project.role_label)).items)
    return objects, children


def verdict_of(
    audit_log: Path,
    project: Project,
    scheme: Scheme,
    replicas: Sequence[Replica],
    objects: Sequence[Unstructured],
    children: Sequence[Unstructured],
) -> Verdict:
    """Judge a run that has ended."""
    return judge(
        read_audit(audit_log),
        lease_namespace=project.lease.namespace,
        lease_name=project.lease.name,
        processes=[replica.start for replica in replicas],
        objects=objects,
        children=children,
        child_of=child_finder(project, scheme),
        role_of=lambda child: _role(child, project.role_label),
        retained=lambda child: project.retained_label in _labels(child),
        condition=project.ready_condition,
    )


def child_finder(project: Project, scheme: Scheme) -> Callable[[str, str, str], Child | None]:
    """Return what tells by resource, namespace and name of a created object whose child it is, and as what."""
    kinds: dict[str, ChildKind] = {scheme.resource(kind.gvk).plural: kind for kind in project.children}

    def find(resource: str, namespace: str, name: str) -> Child | None:
        kind = kinds.get(resource)
        found = kind.owner_and_role(name) if kind is not None else None
        if found is None:
            return None
        owner, role = found
        return Child(owner=f"{project.resource.plural}/{namespace}/{owner}", role=f"{resource}/{role}")

    return find


def _role(child: Mapping[str, Any], label: str) -> str | None:
    role = _labels(child).get(label)
    return f"{child.get('kind', '')}/{role}" if role else None


def _labels(child: Mapping[str, Any]) -> Mapping[str, str]:
    return child["metadata"].get("labels") or {}
