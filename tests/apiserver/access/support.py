"""Objects of access control, short to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.access import Authorizer, default_roles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.objects import GroupVersionKind

RBAC = "rbac.authorization.k8s.io"


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_795_261_014.0

    def wall(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now


class ObjectTable:
    """Objects by kind, with a revision that grows with each change."""

    def __init__(self, objects: Iterable[dict[str, Any]] = ()) -> None:
        self.objects = list(objects)
        self.revision = 1
        self.lists = 0

    def add(self, *objects: dict[str, Any]) -> None:
        self.objects.extend(objects)
        self.revision += 1

    def list(self, gvk: GroupVersionKind, namespace: str) -> list[dict[str, Any]]:
        self.lists += 1
        return [obj for obj in self.objects if obj["kind"] == gvk.kind]

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> dict[str, Any] | None:
        for obj in self.objects:
            metadata = obj["metadata"]
            if (obj["kind"], metadata.get("namespace", ""), metadata["name"]) == (gvk.kind, namespace, name):
                return obj
        return None


def rbac(*objects: dict[str, Any], defaults: bool = True) -> tuple[Authorizer, ObjectTable]:
    table = ObjectTable([*(default_roles() if defaults else []), *objects])
    return Authorizer(table.list, revision=lambda: table.revision), table


def rule(verbs: str, resources: str = "", group: str = "", names: str = "", urls: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"verbs": verbs.split()}
    if resources:
        made["apiGroups"], made["resources"] = [group], resources.split()
    if names:
        made["resourceNames"] = names.split()
    if urls:
        made["nonResourceURLs"] = urls.split()
    return made


def cluster_role(name: str, *rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    labels = fields.pop("labels", {})
    return {"kind": "ClusterRole", "metadata": {"name": name, "labels": labels}, "rules": list(rules), **fields}


def role(namespace: str, name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def subject(text: str) -> dict[str, str]:
    kind, _, name = text.partition(":")
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "namespace": namespace, "name": name}
    return {"kind": kind, "name": name, "apiGroup": RBAC}


def cluster_binding(name: str, to: str, *subjects: str) -> dict[str, Any]:
    return {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "subjects": [subject(text) for text in subjects],
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": to},
    }


def binding(namespace: str, name: str, to: str, *subjects: str) -> dict[str, Any]:
    kind, _, role_name = to.partition(":")
    return {
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "subjects": [subject(text) for text in subjects],
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role_name},
    }
