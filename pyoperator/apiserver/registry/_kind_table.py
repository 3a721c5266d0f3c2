"""The built-in kinds, one row each: facts that differ per kind and nothing else.

Subresources name what is served besides the object. ``version_needed``: an update must carry a resourceVersion.
``put_creates``: a PUT to a name that does not exist creates the object. ``generation``: ``metadata.generation`` counts
changes of intent. All as kube-apiserver 1.36 answers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short: str = ""
    categories: str = ""
    subresources: str = ""
    verbs: str = ""
    version_needed: bool = False
    put_creates: bool = False
    generation: bool = False

    @property
    def singular(self) -> str:
        return self.kind.lower()


_NO_COLLECTION_DELETE = "create delete get list patch update watch"
_API = "api-extensions"
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"

ROWS: tuple[Row, ...] = (
    Row(group="", version="v1", kind="ConfigMap", plural="configmaps", short="cm"),
    Row(group="", version="v1", kind="Endpoints", plural="endpoints", short="ep", put_creates=True),
    Row(group="", version="v1", kind="Event", plural="events", short="ev", put_creates=True),
    Row(group="", version="v1", kind="Namespace", plural="namespaces", short="ns", namespaced=False, subresources="finalize status", verbs=_NO_COLLECTION_DELETE),
    Row(group="", version="v1", kind="Node", plural="nodes", short="no", namespaced=False, subresources="status"),
    Row(group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims", short="pvc", subresources="status"),
    Row(group="", version="v1", kind="PersistentVolume", plural="persistentvolumes", short="pv", namespaced=False, subresources="status"),
    Row(group="", version="v1", kind="Pod", plural="pods", short="po", categories="all", subresources="attach binding ephemeralcontainers eviction exec log portforward resize status", generation=True),
    Row(group="", version="v1", kind="ReplicationController", plural="replicationcontrollers", short="rc", categories="all", subresources="scale status", generation=True),
    Row(group="", version="v1", kind="Secret", plural="secrets"),
    Row(group="", version="v1", kind="ServiceAccount", plural="serviceaccounts", short="sa", subresources="token"),
    Row(group="", version="v1", kind="Service", plural="services", short="svc", categories="all", subresources="status", put_creates=True),
    Row(group=_ADMISSION, version="v1", kind="MutatingWebhookConfiguration", plural="mutatingwebhookconfigurations", namespaced=False, categories=_API, version_needed=True, generation=True),
    Row(group=_ADMISSION, version="v1", kind="ValidatingAdmissionPolicy", plural="validatingadmissionpolicies", namespaced=False, categories=_API, subresources="status", version_needed=True, generation=True),
    Row(group=_ADMISSION, version="v1", kind="ValidatingAdmissionPolicyBinding", plural="validatingadmissionpolicybindings", namespaced=False, categories=_API, version_needed=True, generation=True),
    Row(group=_ADMISSION, version="v1", kind="ValidatingWebhookConfiguration", plural="validatingwebhookconfigurations", namespaced=False, categories=_API, version_needed=True, generation=True),
    Row(group="apiextensions.k8s.io", version="v1", kind="CustomResourceDefinition", plural="customresourcedefinitions", short="crd crds", namespaced=False, categories=_API, subresources="status", version_needed=True, generation=True),
    Row(group="apps", version="v1", kind="ControllerRevision", plural="controllerrevisions"),
    Row(group="apps", version="v1", kind="DaemonSet", plural="daemonsets", short="ds", categories="all", subresources="status", generation=True),
    Row(group="apps", version="v1", kind="Deployment", plural="deployments", short="deploy", categories="all", subresources="scale status", generation=True),
    Row(group="apps", version="v1", kind="ReplicaSet", plural="replicasets", short="rs", categories="all", subresources="scale status", generation=True),
    Row(group="apps", version="v1", kind="StatefulSet", plural="statefulsets", short="sts", categories="all", subresources="scale status", generation=True),
    Row(group=_AUTHENTICATION, version="v1", kind="SelfSubjectReview", plural="selfsubjectreviews", namespaced=False, verbs="create"),
    Row(group=_AUTHENTICATION, version="v1", kind="TokenReview", plural="tokenreviews", namespaced=False, verbs="create"),
    Row(group=_AUTHORIZATION, version="v1", kind="LocalSubjectAccessReview", plural="localsubjectaccessreviews", verbs="create"),
    Row(group=_AUTHORIZATION, version="v1", kind="SelfSubjectAccessReview", plural="selfsubjectaccessreviews", namespaced=False, verbs="create"),
    Row(group=_AUTHORIZATION, version="v1", kind="SelfSubjectRulesReview", plural="selfsubjectrulesreviews", namespaced=False, verbs="create"),
    Row(group=_AUTHORIZATION, version="v1", kind="SubjectAccessReview", plural="subjectaccessreviews", namespaced=False, verbs="create"),
    Row(group="autoscaling", version="v2", kind="HorizontalPodAutoscaler", plural="horizontalpodautoscalers", short="hpa", categories="all", subresources="status"),
    Row(group="batch", version="v1", kind="CronJob", plural="cronjobs", short="cj", categories="all", subresources="status", generation=True),
    Row(group="batch", version="v1", kind="Job", plural="jobs", categories="all", subresources="status", generation=True),
    Row(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", version_needed=True, put_creates=True),
    Row(group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices", generation=True),
    Row(group="events.k8s.io", version="v1", kind="Event", plural="events", short="ev", put_creates=True),
    Row(group="networking.k8s.io", version="v1", kind="Ingress", plural="ingresses", short="ing", subresources="status", generation=True),
    Row(group="networking.k8s.io", version="v1", kind="NetworkPolicy", plural="networkpolicies", short="netpol", generation=True),
    Row(group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets", short="pdb", subresources="status", version_needed=True, generation=True),
    Row(group=_RBAC, version="v1", kind="ClusterRoleBinding", plural="clusterrolebindings", namespaced=False, put_creates=True),
    Row(group=_RBAC, version="v1", kind="ClusterRole", plural="clusterroles", namespaced=False, put_creates=True),
    Row(group=_RBAC, version="v1", kind="RoleBinding", plural="rolebindings", put_creates=True),
    Row(group=_RBAC, version="v1", kind="Role", plural="roles", put_creates=True),
    Row(group="scheduling.k8s.io", version="v1", kind="PriorityClass", plural="priorityclasses", short="pc", namespaced=False, generation=True),
    Row(group="storage.k8s.io", version="v1", kind="StorageClass", plural="storageclasses", short="sc", namespaced=False),
)  # fmt: skip
