"""The roles and bindings that every cluster starts with, as objects to be stored at the first start.

Written out as compact tables: which resources each of the user-facing roles may read and write. ``admin``, ``edit`` and
``view`` are aggregated, so that a cluster role with a label adds the rules of a custom resource to them.
"""

from __future__ import annotations

from typing import Any

_RBAC = "rbac.authorization.k8s.io"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_BOTH = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

# (groups, resources, verbs); a leading "/" makes a path.
_Rules = tuple[tuple[str, str, tuple[str, ...]], ...]

_VIEW: _Rules = (
    (
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
        _READ,
    ),
    (
        "core",
        "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas "
        "resourcequotas/status",
        _READ,
    ),
    ("core", "namespaces", _READ),
    ("core events.k8s.io", "events", _READ),
    ("discovery.k8s.io", "endpointslices", _READ),
    (
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        _READ,
    ),
    ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", _READ),
    ("batch", "cronjobs cronjobs/status jobs jobs/status", _READ),
    (
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status "
        "networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
        _READ,
    ),
    ("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
    ("networking.k8s.io", "ingresses ingresses/status networkpolicies", _READ),
    ("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", _READ),
)
_EDIT: _Rules = (
    ("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", _READ),
    ("core", "serviceaccounts", ("impersonate",)),
    ("core", "pods pods/attach pods/exec pods/portforward pods/proxy", _WRITE),
    ("core", "pods/eviction", ("create",)),
    (
        "core",
        "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts "
        "services services/proxy",
        _WRITE,
    ),
    ("core", "serviceaccounts/token", ("create",)),
    ("core events.k8s.io", "events", _WRITE),
    (
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
        "statefulsets/scale",
        _WRITE,
    ),
    ("autoscaling", "horizontalpodautoscalers", _WRITE),
    ("batch", "cronjobs jobs", _WRITE),
    (
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
        "replicasets/scale replicationcontrollers/scale",
        _WRITE,
    ),
    ("policy", "poddisruptionbudgets", _WRITE),
    ("networking.k8s.io", "ingresses networkpolicies", _WRITE),
    ("coordination.k8s.io", "leases", _BOTH),
    ("resource.k8s.io", "resourceclaims resourceclaimtemplates", _WRITE),
)
_ADMIN: _Rules = (
    ("authorization.k8s.io", "localsubjectaccessreviews", ("create",)),
    (_RBAC, "rolebindings roles", _BOTH),
)
_BASIC_USER: _Rules = (
    ("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ("create",)),
    ("authentication.k8s.io", "selfsubjectreviews", ("create",)),
)
_AUTH_DELEGATOR: _Rules = (
    ("authentication.k8s.io", "tokenreviews", ("create",)),
    ("authorization.k8s.io", "subjectaccessreviews", ("create",)),
)
_DISCOVERY: _Rules = (
    (
        "",
        "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
        ("get",),
    ),
)
_PUBLIC_INFO: _Rules = (("", "/healthz /livez /readyz /version /version/", ("get",)),)
_MONITORING: _Rules = (("", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*", ("get",)),)
_EVERYTHING: _Rules = (("*", "*", ("*",)), ("", "/*", ("*",)))

# name -> (rules, labels, the label that other roles carry to be part of it)
_CLUSTER_ROLES: dict[str, tuple[_Rules, str, str]] = {
    "cluster-admin": (_EVERYTHING, "", ""),
    "system:discovery": (_DISCOVERY, "", ""),
    "system:monitoring": (_MONITORING, "", ""),
    "system:basic-user": (_BASIC_USER, "", ""),
    "system:public-info-viewer": (_PUBLIC_INFO, "", ""),
    "system:auth-delegator": (_AUTH_DELEGATOR, "", ""),
    "admin": ((), "", "admin"),
    "edit": ((), "admin", "edit"),
    "view": ((), "edit", "view"),
    "system:aggregate-to-admin": (_ADMIN, "admin", ""),
    "system:aggregate-to-edit": (_EDIT, "edit", ""),
    "system:aggregate-to-view": (_VIEW, "view", ""),
}
# name of role and binding -> groups
_CLUSTER_ROLE_BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("system:masters",),
    "system:monitoring": ("system:monitoring",),
    "system:discovery": ("system:authenticated",),
    "system:basic-user": ("system:authenticated",),
    "system:public-info-viewer": ("system:authenticated", "system:unauthenticated"),
}


def default_roles() -> list[dict[str, Any]]:
    """Return the default cluster roles and their bindings, fresh dicts without uid and version."""
    return [*_cluster_roles(), *_cluster_role_bindings()]


def _cluster_roles() -> list[dict[str, Any]]:
    roles: dict[str, dict[str, Any]] = {}
    for name, (rules, part_of, selects) in _CLUSTER_ROLES.items():
        role: dict[str, Any] = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": _metadata(name),
            "rules": [_rule(*rule) for rule in rules],
        }
        if part_of:
            role["metadata"]["labels"][f"{_RBAC}/aggregate-to-{part_of}"] = "true"
        if selects:
            label = {f"{_RBAC}/aggregate-to-{selects}": "true"}
            role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": label}]}
        roles[name] = role
    # Aggregated from the start, as a cluster whose controller manager has run: from the smallest role upwards.
    for name, parts in (("view", ["view"]), ("edit", ["edit", "view"]), ("admin", ["admin", "edit", "view"])):
        roles[name]["rules"] = [
            _rule(*rule) for part in parts for rule in _CLUSTER_ROLES[f"system:aggregate-to-{part}"][0]
        ]
    return list(roles.values())


def _cluster_role_bindings() -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(name),
            "subjects": [{"kind": "Group", "apiGroup": _RBAC, "name": group} for group in groups],
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        }
        for name, groups in _CLUSTER_ROLE_BINDINGS.items()
    ]


def _metadata(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }


def _rule(groups: str, names: str, verbs: tuple[str, ...]) -> dict[str, Any]:
    if names.startswith("/"):
        return {"nonResourceURLs": ["*"] if names == "/*" else names.split(), "verbs": list(verbs)}
    return {
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": names.split(),
        "verbs": list(verbs),
    }
