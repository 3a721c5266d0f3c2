"""The kinds that controllers work with."""

from __future__ import annotations

from pyoperator.objects import GroupVersionKind

POD = GroupVersionKind("", "v1", "Pod")
SERVICE = GroupVersionKind("", "v1", "Service")
ENDPOINTS = GroupVersionKind("", "v1", "Endpoints")
ENDPOINT_SLICE = GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice")
CLAIM = GroupVersionKind("", "v1", "PersistentVolumeClaim")
VOLUME = GroupVersionKind("", "v1", "PersistentVolume")
STORAGE_CLASS = GroupVersionKind("storage.k8s.io", "v1", "StorageClass")
NODE = GroupVersionKind("", "v1", "Node")
NAMESPACE = GroupVersionKind("", "v1", "Namespace")
STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
REPLICA_SET = GroupVersionKind("apps", "v1", "ReplicaSet")
DAEMON_SET = GroupVersionKind("apps", "v1", "DaemonSet")
CONTROLLER_REVISION = GroupVersionKind("apps", "v1", "ControllerRevision")
JOB = GroupVersionKind("batch", "v1", "Job")
BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
CLUSTER_ROLE = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole")
EVENT = GroupVersionKind("", "v1", "Event")
LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")

SIMULATED = (
    POD,
    SERVICE,
    ENDPOINTS,
    ENDPOINT_SLICE,
    CLAIM,
    VOLUME,
    STORAGE_CLASS,
    NODE,
    STATEFUL_SET,
    DEPLOYMENT,
    REPLICA_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    JOB,
    BUDGET,
)
