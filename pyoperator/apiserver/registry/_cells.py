"""How single cells of the built-in tables are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.objects import parse_time

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind import Object

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_ROLE = "node-role.kubernetes.io/"


def get(obj: Any, path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    for part in path.split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def age_of(obj: Object, now: float) -> str:
    """Return the object's age."""
    created = obj.get("metadata", {}).get("creationTimestamp")
    return age(created, now) if created else "<unknown>"


def age(text: str, now: float) -> str:
    """Return how long ago an instant was, in at most two units; raises ValueError for what is no instant."""
    return duration(now - parse_time(text))


def duration(seconds: float) -> str:
    """Render seconds as ``kubectl`` does: 90s, 3m5s, 2h, 3d4h, 2y10d; the finer the shorter it is."""
    whole = int(seconds)
    if seconds < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    years = days // 365
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def selector_text(selector: Any) -> str:
    """Return a selector (either form) as text; ``<none>`` for an absent or empty one."""
    if not isinstance(selector, dict) or not selector:
        return "<none>"
    structured = "matchLabels" in selector or "matchExpressions" in selector
    labels = selector.get("matchLabels") or {} if structured else selector
    terms = [f"{key}={value}" for key, value in sorted(labels.items())]
    for rule in selector.get("matchExpressions") or () if structured else ():
        values = ",".join(rule.get("values") or ())
        terms.append(
            {
                "In": f"{rule.get('key')} in ({values})",
                "NotIn": f"{rule.get('key')} notin ({values})",
                "Exists": f"{rule.get('key')}",
            }.get(rule.get("operator", ""), f"!{rule.get('key')}")
        )
    return ",".join(terms) or "<none>"


def container_columns(spec: Object) -> tuple[str, str]:
    """Return the names and the images of a pod spec's containers."""
    containers = spec.get("containers") or ()
    return (
        ",".join(entry.get("name", "") for entry in containers),
        ",".join(entry.get("image", "") for entry in containers),
    )


def short_modes(modes: Any) -> str:
    """Return access modes in short: RWO,ROX."""
    return ",".join(dict.fromkeys(_MODES.get(mode, mode) for mode in modes or ()))


def service_ports(obj: Object) -> str:
    """Return ``80/TCP,443:30443/TCP``."""
    ports = [
        f"{port.get('port')}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port.get('protocol', 'TCP')}"
        for port in get(obj, "spec.ports") or ()
    ]
    return ",".join(ports) or "<none>"


def service_external_addresses(obj: Object) -> str:
    """Return where a service can be reached from outside."""
    spec = obj.get("spec") or {}
    given = spec.get("externalIPs") or []
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec.get("type") == "LoadBalancer":
        balancers = [
            entry.get("ip") or entry.get("hostname", "") for entry in get(obj, "status.loadBalancer.ingress") or ()
        ]
        return ",".join([*balancers, *given]) or "<pending>"
    return ",".join(given) or "<none>"


def node_status(obj: Object) -> str:
    """Return Ready or NotReady, and whether pods may be scheduled there."""
    ready = next((entry for entry in get(obj, "status.conditions") or () if entry.get("type") == "Ready"), None)
    text = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{text},SchedulingDisabled" if get(obj, "spec.unschedulable") else text


def node_roles(obj: Object) -> str:
    """Return the roles that labels give."""
    labels = obj.get("metadata", {}).get("labels") or {}
    roles = [key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE]
    roles += [value for key, value in labels.items() if key == "kubernetes.io/role" and value]
    return ",".join(sorted(set(roles))) or "<none>"


def pod_cells(obj: Object, now: float) -> list[Any]:
    """Return a pod's row without the name."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    statuses = status.get("containerStatuses") or []
    restarts = sum(entry.get("restartCount", 0) for entry in statuses)
    gates = spec.get("readinessGates") or []
    met = {entry.get("type") for entry in status.get("conditions") or () if entry.get("status") == "True"}
    reason, ready = pod_state(obj)
    return [
        f"{ready}/{len(spec.get('containers') or ())}",
        reason,
        _restarts(restarts, statuses, now),
        age_of(obj, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{sum(gate.get('conditionType') in met for gate in gates)}/{len(gates)}" if gates else "<none>",
    ]


def _restarts(count: int, statuses: list[Object], now: float) -> str:
    ends = [get(entry, "lastState.terminated.finishedAt") for entry in statuses if entry.get("restartCount")]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


def pod_state(obj: Object) -> tuple[str, int]:
    """Return the word for a pod's state, and how many of its containers are ready."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    reason = status.get("reason") or status.get("phase") or ""
    initializing = _init_state(spec, status)
    ready = 0
    if initializing:
        reason = initializing
    else:
        running = False
        for entry in reversed(status.get("containerStatuses") or ()):
            state = entry.get("state") or {}
            waiting, terminated = state.get("waiting") or {}, state.get("terminated")
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif terminated is not None:
                reason = terminated.get("reason") or _exit(terminated)
            elif entry.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            is_ready = any(
                c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ()
            )
            reason = "Running" if is_ready else "NotReady"
    if obj.get("metadata", {}).get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason, ready


def _exit(terminated: Object) -> str:
    signal = terminated.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_state(spec: Object, status: Object) -> str:
    total = len(spec.get("initContainers") or ())
    for index, entry in enumerate(status.get("initContainerStatuses") or ()):
        state = entry.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if terminated is not None:
            return f"Init:{terminated.get('reason') or _exit(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""
