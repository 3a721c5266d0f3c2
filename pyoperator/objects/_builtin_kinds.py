"""Built-in kinds that operators touch, as data: enough to build a URL without asking the server first."""

from __future__ import annotations

from pyoperator.objects._kinds import GroupVersionKind, ResourceKind

_NAMESPACED: dict[tuple[str, str], dict[str, str]] = {
    ("", "v1"): {
        "Pod": "pods",
        "Service": "services",
        "Endpoints": "endpoints",
        "ConfigMap": "configmaps",
        "Secret": "secrets",
        "ServiceAccount": "serviceaccounts",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "ReplicationController": "replicationcontrollers",
        "Event": "events",
    },
    ("apps", "v1"): {
        "Deployment": "deployments",
        "ReplicaSet": "replicasets",
        "StatefulSet": "statefulsets",
        "DaemonSet": "daemonsets",
        "ControllerRevision": "controllerrevisions",
    },
    ("batch", "v1"): {"Job": "jobs", "CronJob": "cronjobs"},
    ("policy", "v1"): {"PodDisruptionBudget": "poddisruptionbudgets"},
    ("networking.k8s.io", "v1"): {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"},
    ("autoscaling", "v2"): {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    ("rbac.authorization.k8s.io", "v1"): {"Role": "roles", "RoleBinding": "rolebindings"},
    ("coordination.k8s.io", "v1"): {"Lease": "leases"},
    ("events.k8s.io", "v1"): {"Event": "events"},
    ("discovery.k8s.io", "v1"): {"EndpointSlice": "endpointslices"},
    ("authorization.k8s.io", "v1"): {"LocalSubjectAccessReview": "localsubjectaccessreviews"},
}
_CLUSTER: dict[tuple[str, str], dict[str, str]] = {
    ("", "v1"): {"Namespace": "namespaces", "Node": "nodes", "PersistentVolume": "persistentvolumes"},
    ("rbac.authorization.k8s.io", "v1"): {
        "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings",
    },
    ("storage.k8s.io", "v1"): {"StorageClass": "storageclasses"},
    ("scheduling.k8s.io", "v1"): {"PriorityClass": "priorityclasses"},
    ("apiextensions.k8s.io", "v1"): {"CustomResourceDefinition": "customresourcedefinitions"},
    ("admissionregistration.k8s.io", "v1"): {
        "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
        "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
        "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    },
    ("authentication.k8s.io", "v1"): {"TokenReview": "tokenreviews", "SelfSubjectReview": "selfsubjectreviews"},
    ("authorization.k8s.io", "v1"): {
        "SubjectAccessReview": "subjectaccessreviews",
        "SelfSubjectAccessReview": "selfsubjectaccessreviews",
        "SelfSubjectRulesReview": "selfsubjectrulesreviews",
    },
}

BUILTIN_KINDS: tuple[ResourceKind, ...] = tuple(
    ResourceKind(GroupVersionKind(group, version, kind), plural, namespaced)
    for table, namespaced in ((_NAMESPACED, True), (_CLUSTER, False))
    for (group, version), kinds in table.items()
    for kind, plural in kinds.items()
)
