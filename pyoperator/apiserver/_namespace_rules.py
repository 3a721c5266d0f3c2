"""The life cycle of namespaces as far as writes are concerned (the admission plugin NamespaceLifecycle)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver import _status

if TYPE_CHECKING:
    from pyoperator.apiserver.registry import Kind
    from pyoperator.apiserver.storage import Store

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


def check_namespace(store: Store, kind: Kind, namespace: str, name: str) -> None:
    """Refuse a creation in a namespace that does not exist (404) or is being terminated (403)."""
    if not kind.namespaced:
        return
    stored = store.get("namespaces", "", namespace)
    if stored is None:
        raise _status.not_found("", "namespaces", namespace)
    if b'"deletionTimestamp"' in stored.data and stored.decode()["metadata"].get("deletionTimestamp"):
        raise _status.forbidden(
            kind.gvk.group,
            kind.plural,
            name or "Unknown",
            f"unable to create new content in namespace {namespace} because it is being terminated",
            [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ],
        )


def check_namespace_deletion(kind: Kind, name: str) -> None:
    """Refuse to delete the namespaces that a cluster always has."""
    if kind.storage == ("", "namespaces") and name in IMMORTAL:
        raise _status.forbidden("", "namespaces", name, "this namespace may not be deleted")
