"""Kinds that hold data or belong to the cluster: ConfigMap, Secret, ServiceAccount, Namespace, Node, Lease, PriorityClass."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._name_rules import qualified_name_faults
from pyoperator.apiserver.registry._kind import MalformedObject
from pyoperator.apiserver.registry.kinds._fields import config_keys, non_negative, one_of
from pyoperator.apiserver.registry.kinds._rules import Rules, fields
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.apiserver.registry._kind import Object, WriteContext

_SIZE_LIMIT = 1024 * 1024
_NAME_LABEL = "kubernetes.io/metadata.name"
_NEEDED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _locked(new: Object, old: Object | None, *names: str) -> Iterator[FieldError]:
    """Check what an object that declared itself immutable may not change."""
    if old is None or not old.get("immutable"):
        return
    detail = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        yield FieldError.forbidden("immutable", detail)
    for name in names:
        if (new.get(name) or {}) != (old.get(name) or {}):
            yield FieldError.forbidden(name, detail)


def _decoded_size(text: str) -> int:
    """Return the length of base64 text's bytes; raises MalformedObject, as the server's decoder refuses the body."""
    try:
        return len(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        position = next(
            (index for index, char in enumerate(text) if not (char.isalnum() or char in "+/=")), len(text) // 4 * 4
        )
        raise MalformedObject(f"illegal base64 data at input byte {position}") from error


def _default_config_map(obj: Object) -> None:
    for text in (obj.get("binaryData") or {}).values():
        _decoded_size(text)


def _check_config_map(obj: Object, old: Object | None) -> list[FieldError]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    faults = [*config_keys(data, "data"), *config_keys(binary, "binaryData")]
    faults += [
        FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in data
        if key in binary
    ]
    size = sum(len(value.encode()) for value in data.values()) + sum(_decoded_size(text) for text in binary.values())
    if size > _SIZE_LIMIT:
        faults.append(FieldError.too_long("[]", _SIZE_LIMIT))
    return [*faults, *_locked(obj, old, "data", "binaryData")]


_ACCOUNT = "kubernetes.io/service-account.name"


def _default_secret(obj: Object) -> None:
    for text in (obj.get("data") or {}).values():
        _decoded_size(text)
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})
    obj.setdefault("type", "Opaque")


def _check_secret(obj: Object, old: Object | None) -> list[FieldError]:
    data = obj.get("data") or {}
    faults = [*config_keys(data, "data")]
    if sum(_decoded_size(text) for text in data.values()) > _SIZE_LIMIT:
        faults.append(FieldError.too_long("data", _SIZE_LIMIT))
    kind = obj["type"]
    faults += [FieldError.required(f"data[{key}]") for key in _NEEDED_KEYS.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        faults += [FieldError.required(f"data[{key}]") for key in ("username", "password")]
    if kind == "kubernetes.io/service-account-token" and not (obj["metadata"].get("annotations") or {}).get(_ACCOUNT):
        faults.append(FieldError.required(f"metadata.annotations[{_ACCOUNT}]"))
    if old is not None and kind != old.get("type"):
        faults.append(FieldError.invalid("type", kind, "field is immutable"))
    return [*faults, *_locked(obj, old, "data")]


def _default_namespace(obj: Object) -> None:
    metadata = obj.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})[_NAME_LABEL] = metadata["name"]
    obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("phase", "Active")


def _create_namespace(obj: Object, ctx: WriteContext) -> None:
    finalizers = obj["spec"].setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")


def _update_namespace(new: Object, old: Object, ctx: WriteContext) -> None:
    # Only /finalize changes these.
    new["spec"] = {**new.get("spec", {}), "finalizers": (old.get("spec") or {}).get("finalizers")}
    if not new["spec"]["finalizers"]:
        del new["spec"]["finalizers"]


def _check_namespace(obj: Object, old: Object | None) -> list[FieldError]:
    faults: list[FieldError] = []
    for name in obj["spec"].get("finalizers") or ():
        faults += [FieldError.invalid("spec.finalizers", name, fault) for fault in qualified_name_faults(name)]
        if "/" not in name and name != "kubernetes":
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            faults.append(FieldError.invalid("spec.finalizers", name, detail))
    return faults


def _default_node(obj: Object) -> None:
    obj.setdefault("spec", {})
    status = obj.setdefault("status", {})
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
    info = status.setdefault("nodeInfo", {})
    for name in (
        "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
        "kubeProxyVersion", "operatingSystem", "architecture",
    ):  # fmt: skip
        info.setdefault(name, "")
    if status.get("capacity"):
        status.setdefault("allocatable", dict(status["capacity"]))


def _default_lease(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    # Fields of coordinated election, which is off by default in the server: it drops them.
    spec.pop("strategy", None)
    spec.pop("preferredHolder", None)


def _check_lease(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    duration = spec.get("leaseDurationSeconds")
    faults: list[FieldError] = []
    if duration is not None and duration <= 0:
        faults.append(FieldError.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    return [*faults, *non_negative(spec, "spec", "leaseTransitions")]


def _default_priority(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
    obj.setdefault("value", 0)


def _check_priority(obj: Object, old: Object | None) -> list[FieldError]:
    value = obj["value"]
    faults: list[FieldError] = []
    if value > 1_000_000_000 and not obj["metadata"].get("name", "").startswith("system-"):
        detail = "maximum allowed value of a user defined priority is 1000000000"
        faults.append(FieldError.forbidden("value", detail))
    faults += one_of(obj, "", "preemptionPolicy", ("PreemptLowerPriority", "Never"))
    if old is not None and value != old.get("value"):
        faults.append(FieldError.forbidden("value", "may not be changed in an update."))
    return faults


def _no_status(obj: Object) -> Any:
    return None


PLAIN: dict[tuple[str, str], Rules] = {
    ("", "ConfigMap"): Rules(default=_default_config_map, check=_check_config_map),
    ("", "Secret"): Rules(default=_default_secret, check=_check_secret, selectable=fields("type")),
    ("", "Namespace"): Rules(
        default=_default_namespace,
        create=_create_namespace,
        update=_update_namespace,
        check=_check_namespace,
        selectable=fields("status.phase"),
    ),
    ("", "Node"): Rules(default=_default_node, client_sets_status=True, selectable=fields("spec.unschedulable")),
    ("coordination.k8s.io", "Lease"): Rules(default=_default_lease, check=_check_lease),
    ("scheduling.k8s.io", "PriorityClass"): Rules(default=_default_priority, check=_check_priority),
}
