"""The columns of the built-in kinds and how their cells are made; None stands for the Name column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry._cells import (
    age,
    age_of,
    container_columns,
    get,
    node_roles,
    node_status,
    pod_cells,
    selector_text,
    service_external_addresses,
    service_ports,
    short_modes,
)
from pyoperator.objects import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.apiserver.registry._kind import Object

    Cells = Callable[[Object, float], list[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


Layout = tuple["tuple[Column | None, ...]", "Cells"]


def _columns(text: str) -> tuple[Column | None, ...]:
    """Read column names parted by commas: ``*`` = shown in wide output only, ``#`` = integer, ``?`` = boolean."""
    columns: list[Column | None] = [None]
    for raw in text.split(","):
        name = raw.strip()
        priority = 1 if name.startswith("*") else 0
        name = name.removeprefix("*")
        kind = "integer" if name.startswith("#") else "boolean" if name.startswith("?") else "string"
        columns.append(Column(name.lstrip("#?"), kind, priority=priority))
    return tuple(columns)


def _rows(text: str, cells: Callable[[Object, float], list[Any]]) -> Layout:
    def with_name(obj: Object, now: float) -> list[Any]:
        return [obj.get("metadata", {}).get("name", ""), *cells(obj, now)]

    return _columns(text), with_name


def _count(path: str) -> Callable[[Object], int]:
    return lambda obj: len(get(obj, path) or ())


def _or_none(value: Any) -> Any:
    return "<none>" if value in (None, "") else value


def _unset(value: Any) -> Any:
    return "<unset>" if value in (None, "") else value


def _ready(obj: Object, wanted: str = "spec.replicas") -> str:
    return f"{get(obj, 'status.readyReplicas') or 0}/{get(obj, wanted) or 0}"


def _numbers(obj: Object, *paths: str) -> list[int]:
    return [get(obj, path) or 0 for path in paths]


def _workload(obj: Object, *, selector: bool = True) -> list[str]:
    names, images = container_columns(get(obj, "spec.template.spec") or {})
    return [names, images, *([selector_text(get(obj, "spec.selector"))] if selector else [])]


def _claim(obj: Object, now: float) -> list[Any]:
    phase = "Terminating" if get(obj, "metadata.deletionTimestamp") else get(obj, "status.phase") or ""
    bound = bool(get(obj, "spec.volumeName"))
    return [
        phase,
        get(obj, "spec.volumeName") or "",
        (get(obj, "status.capacity.storage") or "") if bound else "",
        short_modes(get(obj, "status.accessModes")) if bound else "",
        get(obj, "spec.storageClassName") or "",
        _unset(get(obj, "spec.volumeAttributesClassName")),
        age_of(obj, now),
        _unset(get(obj, "spec.volumeMode")),
    ]


def _volume(obj: Object, now: float) -> list[Any]:
    claim = get(obj, "spec.claimRef")
    phase = "Terminating" if get(obj, "metadata.deletionTimestamp") else get(obj, "status.phase") or ""
    return [
        get(obj, "spec.capacity.storage") or "",
        short_modes(get(obj, "spec.accessModes")),
        get(obj, "spec.persistentVolumeReclaimPolicy") or "",
        phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        get(obj, "spec.storageClassName") or "",
        _unset(get(obj, "spec.volumeAttributesClassName")),
        get(obj, "status.reason") or "",
        age_of(obj, now),
        _unset(get(obj, "spec.volumeMode")),
    ]


def _event(obj: Object, now: float) -> list[Any]:
    """Either view of an event, by whatever names its fields have there."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    series = obj.get("series")
    if series:
        last, count = series.get("lastObservedTime") or last, series.get("count", count)
    target = about.get("kind", "").lower()
    if about.get("name"):
        target = f"{target}/{about['name']}"
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return [
        age(last, now) if last else "<unknown>",
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        ", ".join(part for part in (component, host) if part),
        (obj.get("message") or obj.get("note") or "").strip(),
        age(first, now) if first else "<unknown>",
        count,
        obj.get("metadata", {}).get("name", ""),
    ]


def _binding(obj: Object, now: float) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or []
    named = {
        kind: ", ".join(
            f"{entry.get('namespace', '')}/{entry['name']}" if kind == "ServiceAccount" else entry["name"]
            for entry in subjects
            if entry.get("kind") == kind
        )
        for kind in ("User", "Group", "ServiceAccount")
    }
    return [f"{role.get('kind')}/{role.get('name')}", age_of(obj, now), *named.values()]


def _node(obj: Object, now: float) -> list[Any]:
    addresses = {entry.get("type"): entry.get("address") for entry in get(obj, "status.addresses") or ()}
    return [
        node_status(obj),
        node_roles(obj),
        age_of(obj, now),
        get(obj, "status.nodeInfo.kubeletVersion") or "",
        _or_none(addresses.get("InternalIP")),
        _or_none(addresses.get("ExternalIP")),
        get(obj, "status.nodeInfo.osImage") or "<unknown>",
        get(obj, "status.nodeInfo.kernelVersion") or "<unknown>",
        get(obj, "status.nodeInfo.containerRuntimeVersion") or "<unknown>",
    ]


def _endpoints(obj: Object, now: float) -> list[Any]:
    targets = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    shown = ",".join(targets[:3]) + (f" + {len(targets) - 3} more..." if len(targets) > 3 else "")
    return [shown or "<none>", age_of(obj, now)]


def _slice(obj: Object, now: float) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return [
        obj.get("addressType", ""),
        ",".join(ports) or "<unset>",
        (",".join(addresses[:3]) + more) or "<unset>",
        age_of(obj, now),
    ]


def _job(obj: Object, now: float) -> list[Any]:
    wanted, done = get(obj, "spec.completions"), get(obj, "status.succeeded") or 0
    conditions = {entry.get("type"): entry.get("status") for entry in get(obj, "status.conditions") or ()}
    status = "Running"
    for name, text in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if conditions.get(name) == "True":
            status = text
    start, end = get(obj, "status.startTime"), get(obj, "status.completionTime")
    duration = ""
    if start:
        duration = age(start, now if not end else parse_time(end))
    return [status, f"{done}/{wanted if wanted is not None else 1}", duration, age_of(obj, now), *_workload(obj)]


def _cron_job(obj: Object, now: float) -> list[Any]:
    last = get(obj, "status.lastScheduleTime")
    names, images = container_columns(get(obj, "spec.jobTemplate.spec.template.spec") or {})
    return [
        get(obj, "spec.schedule") or "",
        _or_none(get(obj, "spec.timeZone")),
        str(bool(get(obj, "spec.suspend"))),  # a text in a boolean column, as the server has it
        len(get(obj, "status.active") or ()),
        age(last, now) if last else "<none>",
        age_of(obj, now),
        names,
        images,
        selector_text(get(obj, "spec.jobTemplate.spec.selector")),
    ]


def _autoscaler(obj: Object, now: float) -> list[Any]:
    target = get(obj, "spec.scaleTargetRef") or {}
    metrics = [
        f"{entry.get('resource', {}).get('name')}: <unknown>/{get(entry, 'resource.target.averageUtilization')}%"
        for entry in get(obj, "spec.metrics") or ()
        if entry.get("type") == "Resource"
    ]
    return [
        f"{target.get('kind')}/{target.get('name')}",
        ", ".join(metrics) or "<none>",
        str(_unset(get(obj, "spec.minReplicas"))),
        str(get(obj, "spec.maxReplicas") or 0),
        str(get(obj, "status.currentReplicas") or 0),
        age_of(obj, now),
    ]


def _ingress(obj: Object, now: float) -> list[Any]:
    hosts = [rule["host"] for rule in get(obj, "spec.rules") or () if rule.get("host")]
    addresses = [
        entry.get("ip") or entry.get("hostname", "") for entry in get(obj, "status.loadBalancer.ingress") or ()
    ]
    return [
        _or_none(get(obj, "spec.ingressClassName")),
        ",".join(hosts) or "*",
        ",".join(addresses),
        "80, 443" if get(obj, "spec.tls") else "80",
        age_of(obj, now),
    ]


def _controller(obj: Object) -> str:
    owner = next((entry for entry in get(obj, "metadata.ownerReferences") or () if entry.get("controller")), None)
    if owner is None:
        return "<none>"
    group = owner.get("apiVersion", "").rpartition("/")[0]
    return f"{owner.get('kind', '').lower()}{'.' if group else ''}{group}/{owner.get('name')}"


def _kind_and_group(kind: Any) -> str:
    return f"{kind.get('apiVersion')}/{kind.get('kind')}" if kind else "<unset>"


_SETS = "#Desired,#Current,#Ready,Age,*Containers,*Images,*Selector"
_EVENT_COLUMNS = _columns("Last Seen,Type,Reason,Object,*Subobject,*Source,Message,*First Seen,*Count")[1:]
_WEBHOOKS = _rows("#Webhooks,Age", lambda obj, now: [_count("webhooks")(obj), age_of(obj, now)])

BUILTIN_TABLES: dict[str, Layout] = {
    "Pod": _rows("Ready,Status,Restarts,Age,*IP,*Node,*Nominated Node,*Readiness Gates", pod_cells),
    "Service": _rows(
        "Type,Cluster-IP,External-IP,Port(s),Age,*Selector",
        lambda obj, now: [
            get(obj, "spec.type") or "", _or_none(get(obj, "spec.clusterIP")), service_external_addresses(obj),
            service_ports(obj), age_of(obj, now), selector_text(get(obj, "spec.selector")),
        ],
    ),
    "ConfigMap": _rows(
        "Data,Age", lambda obj, now: [_count("data")(obj) + _count("binaryData")(obj), age_of(obj, now)]
    ),
    "Secret": _rows("Type,Data,Age", lambda obj, now: [obj.get("type", ""), _count("data")(obj), age_of(obj, now)]),
    "ServiceAccount": _rows("Age", lambda obj, now: [age_of(obj, now)]),
    "Namespace": _rows("Status,Age", lambda obj, now: [get(obj, "status.phase") or "", age_of(obj, now)]),
    "Node": _rows("Status,Roles,Age,Version,*Internal-IP,*External-IP,*OS-Image,*Kernel-Version,*Container-Runtime", _node),
    "PersistentVolumeClaim": _rows(
        "Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,*VolumeMode", _claim
    ),
    "PersistentVolume": _rows(
        "Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age,*VolumeMode", _volume
    ),
    "Endpoints": _rows("Endpoints,Age", _endpoints),
    "EndpointSlice": _rows("AddressType,Ports,Endpoints,Age", _slice),
    "Event": ((*_EVENT_COLUMNS, Column("Name", format="name", priority=1)), _event),
    "Deployment": _rows(
        "Ready,Up-to-date,Available,Age,*Containers,*Images,*Selector",
        lambda obj, now: [
            _ready(obj), *_numbers(obj, "status.updatedReplicas", "status.availableReplicas"),
            age_of(obj, now), *_workload(obj),
        ],
    ),
    "StatefulSet": _rows(
        "Ready,Age,*Containers,*Images", lambda obj, now: [_ready(obj), age_of(obj, now), *_workload(obj, selector=False)]
    ),
    "ReplicaSet": _rows(
        _SETS,
        lambda obj, now: [
            *_numbers(obj, "spec.replicas", "status.replicas", "status.readyReplicas"), age_of(obj, now), *_workload(obj)
        ],
    ),
    "ReplicationController": _rows(
        _SETS,
        lambda obj, now: [
            *_numbers(obj, "spec.replicas", "status.replicas", "status.readyReplicas"), age_of(obj, now), *_workload(obj)
        ],
    ),
    "DaemonSet": _rows(
        "#Desired,#Current,#Ready,#Up-to-date,#Available,Node Selector,Age,*Containers,*Images,*Selector",
        lambda obj, now: [
            *_numbers(
                obj, "status.desiredNumberScheduled", "status.currentNumberScheduled", "status.numberReady",
                "status.updatedNumberScheduled", "status.numberAvailable",
            ),
            selector_text(get(obj, "spec.template.spec.nodeSelector")), age_of(obj, now), *_workload(obj),
        ],
    ),
    "ControllerRevision": _rows(
        "Controller,Revision,Age", lambda obj, now: [_controller(obj), obj.get("revision", 0), age_of(obj, now)]
    ),
    "Job": _rows("Status,Completions,Duration,Age,*Containers,*Images,*Selector", _job),
    "CronJob": _rows(
        "Schedule,Timezone,?Suspend,#Active,Last Schedule,Age,*Containers,*Images,*Selector", _cron_job
    ),
    "PodDisruptionBudget": _rows(
        "Min Available,Max Unavailable,#Allowed Disruptions,Age",
        lambda obj, now: [
            *("N/A" if get(obj, path) is None else str(get(obj, path)) for path in ("spec.minAvailable", "spec.maxUnavailable")),
            get(obj, "status.disruptionsAllowed") or 0, age_of(obj, now),
        ],
    ),
    "Lease": _rows("Holder,Age", lambda obj, now: [get(obj, "spec.holderIdentity") or "", age_of(obj, now)]),
    "RoleBinding": _rows("Role,Age,*Users,*Groups,*ServiceAccounts", _binding),
    "ClusterRoleBinding": _rows("Role,Age,*Users,*Groups,*ServiceAccounts", _binding),
    "NetworkPolicy": _rows(
        "Pod-Selector,Age", lambda obj, now: [selector_text(get(obj, "spec.podSelector")), age_of(obj, now)]
    ),
    "Ingress": _rows("Class,Hosts,Address,Ports,Age", _ingress),
    "HorizontalPodAutoscaler": _rows("Reference,Targets,MinPods,MaxPods,Replicas,Age", _autoscaler),
    "StorageClass": _rows(
        "Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age",
        lambda obj, now: [
            obj.get("provisioner", ""), obj.get("reclaimPolicy", ""), obj.get("volumeBindingMode", ""),
            bool(obj.get("allowVolumeExpansion")), age_of(obj, now),
        ],
    ),
    "PriorityClass": _rows(
        "#Value,?Global-Default,Age,PreemptionPolicy",
        lambda obj, now: [
            obj.get("value", 0), bool(obj.get("globalDefault")), age_of(obj, now), obj.get("preemptionPolicy", "")
        ],
    ),
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingAdmissionPolicy": _rows(
        "#Validations,ParamKind,Age",
        lambda obj, now: [_count("spec.validations")(obj), _kind_and_group(get(obj, "spec.paramKind")), age_of(obj, now)],
    ),
    "ValidatingAdmissionPolicyBinding": _rows(
        "PolicyName,ParamRef,Age",
        lambda obj, now: [
            get(obj, "spec.policyName") or "", _unset(get(obj, "spec.paramRef.name")), age_of(obj, now)
        ],
    ),
}  # fmt: skip
