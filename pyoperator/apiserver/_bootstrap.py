"""What every cluster has from its first second: the standing namespaces and the default roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.access import default_roles
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from pyoperator.apiserver._system import SystemClient

_NAMESPACE = GroupVersionKind("", "v1", "Namespace")
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def bootstrap(system: SystemClient) -> None:
    """Create what is missing; objects that are there (from a data directory) stay as they are."""
    for name in NAMESPACES:
        if system.get(_NAMESPACE, "", name) is None:
            system.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for role in default_roles():
        gvk = GroupVersionKind.of(role["apiVersion"], role["kind"])
        metadata = role["metadata"]
        if system.get(gvk, metadata.get("namespace", ""), metadata["name"]) is None:
            system.create(role)
