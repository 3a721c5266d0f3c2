"""Faults of a pod's or template's spec that an operator's author makes: names, images, ports, mounts, probes, amounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry.kinds._fields import (
    label_name,
    label_selector,
    non_negative,
    one_of,
    port_name,
    port_number,
    port_reference,
)
from pyoperator.objects import Quantity
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.apiserver.registry._kind import Object

_STANDARD = ("cpu", "memory", "ephemeral-storage")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_NAMED_SOURCES = (
    ("secret", "secretName"),
    ("configMap", "name"),
    ("persistentVolumeClaim", "claimName"),
    ("hostPath", "path"),
)


def check_pod_spec(spec: Object, field: str) -> Iterator[FieldError]:
    """Return the faults of a pod's spec that stands at ``field``."""
    volumes = spec.get("volumes") or []
    yield from _volumes(volumes, f"{field}.volumes")
    mountable = {volume.get("name", "") for volume in volumes if volume.get("name")}
    names: set[str] = set()
    if not spec.get("containers"):
        yield FieldError.required(f"{field}.containers")
    for part in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(part) or ()):
            where = f"{field}.{part}[{index}]"
            yield from _container(container, where, mountable)
            if container.get("name") in names:
                yield FieldError.duplicate(f"{where}.name", container["name"])
            names.add(container.get("name", ""))
    yield from one_of(spec, field, "restartPolicy", ("Always", "OnFailure", "Never"))
    yield from one_of(spec, field, "dnsPolicy", _DNS)
    yield from non_negative(spec, field, "terminationGracePeriodSeconds")
    yield from _users(
        spec.get("securityContext") or {}, f"{field}.securityContext", ("fsGroup", "runAsUser", "runAsGroup")
    )
    yield from _affinity(spec.get("affinity") or {}, f"{field}.affinity")
    for index, rule in enumerate(spec.get("topologySpreadConstraints") or ()):
        where = f"{field}.topologySpreadConstraints[{index}]"
        if rule.get("maxSkew", 0) <= 0:
            yield FieldError.invalid(f"{where}.maxSkew", rule.get("maxSkew", 0), "must be greater than zero")
        if not rule.get("topologyKey"):
            yield FieldError.required(f"{where}.topologyKey", "can not be empty")
        yield from one_of(rule, where, "whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway"))
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration(toleration, f"{field}.tolerations[{index}]")


def _toleration(toleration: Object, field: str) -> Iterator[FieldError]:
    operator = toleration.get("operator")
    if not toleration.get("key") and operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield FieldError.invalid(f"{field}.operator", operator or "", detail)
    if operator == "Exists" and toleration.get("value"):
        detail = "value must be empty when `operator` is 'Exists'"
        yield FieldError.invalid(f"{field}.operator", toleration["value"], detail)
    yield from one_of(toleration, field, "operator", ("Equal", "Exists"))


def _container(container: Object, field: str, mountable: set[str]) -> Iterator[FieldError]:
    name, image = container.get("name", ""), container.get("image", "")
    if not name:
        yield FieldError.required(f"{field}.name")
    else:
        yield from label_name(name, f"{field}.name")
    if not image:
        yield FieldError.required(f"{field}.image")
    elif image != image.strip():
        yield FieldError.invalid(f"{field}.image", image, "must not have leading or trailing whitespace")
    yield from _ports(container.get("ports") or [], f"{field}.ports")
    yield from _environment(container, field)
    yield from _mounts(container.get("volumeMounts") or [], f"{field}.volumeMounts", mountable)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            yield from _probe(container[probe], f"{field}.{probe}")
    yield from one_of(container, field, "imagePullPolicy", ("Always", "IfNotPresent", "Never"))
    yield from _resources(container.get("resources") or {}, f"{field}.resources")
    yield from _users(container.get("securityContext") or {}, f"{field}.securityContext", ("runAsUser", "runAsGroup"))


def _ports(ports: list[Object], field: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{field}[{index}]"
        name = port.get("name")
        if name:
            faults = [*port_name(name, f"{where}.name")]
            yield from faults
            if not faults and name in names:
                yield FieldError.duplicate(f"{where}.name", name)
            names.add(name)
        if not port.get("containerPort"):
            yield FieldError.required(f"{where}.containerPort")
        else:
            yield from port_number(port["containerPort"], f"{where}.containerPort")
        yield from one_of(port, where, "protocol", ("SCTP", "TCP", "UDP"))


def _environment(container: Object, field: str) -> Iterator[FieldError]:
    for index, variable in enumerate(container.get("env") or ()):
        where = f"{field}.env[{index}]"
        name = variable.get("name", "")
        if not name:
            yield FieldError.required(f"{where}.name")
        elif "=" in name or not name.isascii() or not name.isprintable():
            detail = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            yield FieldError.invalid(f"{where}.name", name, detail)
        source = variable.get("valueFrom")
        if source is None:
            continue
        if not source:
            detail = (
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            )
            yield FieldError.invalid(f"{where}.valueFrom", "", detail)
        elif variable.get("value"):
            yield FieldError.invalid(f"{where}.valueFrom", "", "may not be specified when `value` is not empty")
        for kind in ("configMapKeyRef", "secretKeyRef"):
            if isinstance(source.get(kind), dict) and not source[kind].get("key"):
                yield FieldError.required(f"{where}.valueFrom.{kind}.key")
    for index, source in enumerate(container.get("envFrom") or ()):
        for kind in ("configMapRef", "secretRef"):
            if isinstance(source.get(kind), dict) and not source[kind].get("name"):
                yield FieldError.required(f"{field}.envFrom[{index}].{kind}.name")


def _mounts(mounts: list[Object], field: str, mountable: set[str]) -> Iterator[FieldError]:
    for index, mount in enumerate(mounts):
        where, name = f"{field}[{index}]", mount.get("name", "")
        if not name:
            yield FieldError.required(f"{where}.name")
        if name not in mountable:
            yield FieldError(f"{where}.name", "FieldValueNotFound", f'Not found: "{name}"')
        if not mount.get("mountPath"):
            yield FieldError.required(f"{where}.mountPath")


def _probe(probe: Object, field: str) -> Iterator[FieldError]:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if isinstance(probe.get(name), dict)]
    if not handlers:
        yield FieldError.required(field, "must specify a handler type")
    for name in handlers[1:]:
        yield FieldError.forbidden(f"{field}.{name}", "may not specify more than 1 handler type")
    for name in handlers[:1]:
        handler = probe[name]
        if name == "exec" and not handler.get("command"):
            yield FieldError.required(f"{field}.exec.command")
        if name in ("httpGet", "tcpSocket"):
            yield from port_reference(handler.get("port", 0), f"{field}.{name}.port")
    yield from non_negative(
        probe, field, "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"
    )


def _resources(resources: Object, field: str) -> Iterator[FieldError]:
    limits: Object = resources.get("limits") or {}
    for part in ("limits", "requests"):
        for name, amount in (resources.get(part) or {}).items():
            where = f"{field}.{part}[{name}]"
            if name not in _STANDARD and "/" not in name and not name.startswith("hugepages-"):
                yield FieldError.invalid(where, name, "must be a standard resource type or fully qualified")
                yield FieldError.invalid(where, name, "must be a standard resource for containers")
            if Quantity(amount).value < 0:
                yield FieldError.invalid(where, amount, "must be greater than or equal to 0")
            if part == "requests" and name in limits and Quantity(amount) > Quantity(limits[name]):
                detail = f"must be less than or equal to {name} limit of {limits[name]}"
                yield FieldError.invalid(f"{field}.requests", amount, detail)


def _users(context: Object, field: str, names: tuple[str, ...]) -> Iterator[FieldError]:
    for name in names:
        value = context.get(name)
        if value is not None and not 0 <= value <= 2147483647:
            yield FieldError.invalid(f"{field}.{name}", value, "must be between 0 and 2147483647, inclusive")
    profile = context.get("seccompProfile") or {}
    yield from one_of(profile, f"{field}.seccompProfile", "type", ("Localhost", "RuntimeDefault", "Unconfined"))


def _affinity(affinity: Object, field: str) -> Iterator[FieldError]:
    preferred, required = (
        "preferredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution",
    )
    node = (affinity.get("nodeAffinity") or {}).get(required)
    if node is not None and not node.get("nodeSelectorTerms"):
        yield FieldError.required(
            f"{field}.nodeAffinity.{required}.nodeSelectorTerms", "must have at least one node selector term"
        )
    for part in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(part) or {}
        for index, term in enumerate(rules.get(required) or ()):
            yield from _pod_term(term, f"{field}.{part}.{required}[{index}]")
        for index, weighted in enumerate(rules.get(preferred) or ()):
            where = f"{field}.{part}.{preferred}[{index}]"
            if not 1 <= weighted.get("weight", 0) <= 100:
                yield FieldError.invalid(f"{where}.weight", weighted.get("weight", 0), "must be in the range 1-100")
            yield from _pod_term(weighted.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")


def _pod_term(term: Object, field: str) -> Iterator[FieldError]:
    selector: Any = term.get("labelSelector")
    if isinstance(selector, dict):
        yield from label_selector(selector, f"{field}.labelSelector")
    if not term.get("topologyKey"):
        yield FieldError.required(f"{field}.topologyKey", "can not be empty")


def _volumes(volumes: list[Object], field: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        where, name = f"{field}[{index}]", volume.get("name", "")
        if not name:
            yield FieldError.required(f"{where}.name")
        else:
            yield from label_name(name, f"{where}.name")
        sources = [key for key in volume if key != "name"]
        if name in names:
            yield FieldError.duplicate(f"{where}.name", name)
        elif len(sources) == 1 and name:
            names.add(name)
        for extra in sources[1:]:
            yield FieldError.forbidden(f"{where}.{extra}", "may not specify more than 1 volume type")
        for source, key in _NAMED_SOURCES:
            if sources[:1] == [source] and not volume[source].get(key):
                yield FieldError.required(f"{where}.{source}.{key}")
