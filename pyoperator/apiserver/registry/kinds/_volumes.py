"""PersistentVolumeClaims, PersistentVolumes, StorageClasses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.registry.kinds._fields import one_of, unchanged
from pyoperator.apiserver.registry.kinds._rules import Rules
from pyoperator.objects import Quantity, format_time
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.apiserver.registry._kind import Object, WriteContext

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_CLAIM_CHANGE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def default_claim(obj: Object) -> None:
    """Default a claim or a template of one."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("resources", {})
    spec.setdefault("volumeMode", "Filesystem")


def _create_claim(obj: Object, ctx: WriteContext) -> None:
    _protect(obj, "kubernetes.io/pvc-protection")
    obj["status"] = {"phase": "Pending"}


def _protect(obj: Object, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def check_claim_spec(spec: Object, field: str) -> Iterator[FieldError]:
    """Check a claim's spec that stands at ``field``."""
    modes = spec.get("accessModes") or []
    if not modes:
        yield FieldError.required(f"{field}.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in _MODES:
            yield FieldError.not_supported(f"{field}.accessModes", mode, _MODES)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        yield FieldError.required(f"{field}.resources[storage]")
    elif Quantity(storage).value <= 0:
        yield FieldError.invalid(f"{field}.resources[storage]", storage, "must be greater than zero")
    yield from one_of(spec, field, "volumeMode", ("Block", "Filesystem"))


def _check_claim(obj: Object, old: Object | None) -> list[FieldError]:
    faults = [*check_claim_spec(obj["spec"], "spec")]
    if old is None:
        return faults
    bound = (old.get("status") or {}).get("phase") == "Bound"
    if _fixed(obj["spec"], old["spec"], bound=bound) != _fixed(old["spec"], old["spec"], bound=bound):
        faults.append(FieldError.forbidden("spec", _CLAIM_CHANGE))
    elif bound:
        asked, had = _storage(obj), _storage(old)
        if asked is not None and had is not None and asked < had:
            status_size = ((old.get("status") or {}).get("capacity") or {}).get("storage")
            if status_size is None or asked <= Quantity(status_size):
                detail = "field can not be less than status.capacity"
                faults.append(FieldError.forbidden("spec.resources.requests.storage", detail))
    return faults


def _fixed(spec: Object, old: Object, *, bound: bool) -> Object:
    fixed = dict(spec)
    if not old.get("volumeName"):
        fixed.pop("volumeName", None)  # binding writes it, once
    if old.get("storageClassName") is None:
        fixed.pop("storageClassName", None)  # the default class may be given to a claim afterwards
    if bound:
        fixed.pop("volumeAttributesClassName", None)
        resources = dict(fixed.get("resources") or {})
        resources.pop("requests", None)
        fixed["resources"] = resources
    return fixed


def _storage(claim: Object) -> Quantity | None:
    text = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    return None if text is None else Quantity(text)


def _default_volume(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        spec["hostPath"].setdefault("type", "")


def _create_volume(obj: Object, ctx: WriteContext) -> None:
    _protect(obj, "kubernetes.io/pv-protection")
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": format_time(ctx.now)}


_VOLUME_SETTINGS = {
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
}  # fmt: skip


def _check_volume(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [FieldError.required(f"spec.{name}") for name in ("accessModes", "capacity") if not spec.get(name)]
    if "storage" not in (spec.get("capacity") or {}):
        faults.append(FieldError.not_supported("spec.capacity", spec.get("capacity"), ("storage",)))
    if not set(spec) - _VOLUME_SETTINGS:
        faults.append(FieldError.required("spec", "must specify a volume type"))
    return faults


def _default_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _check_class(obj: Object, old: Object | None) -> list[FieldError]:
    faults = [] if obj.get("provisioner") else [FieldError.required("provisioner")]
    faults += one_of(obj, "", "reclaimPolicy", ("Delete", "Retain"))
    return [*faults, *unchanged(obj, old, "parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")]


VOLUMES: dict[tuple[str, str], Rules] = {
    ("", "PersistentVolumeClaim"): Rules(default=default_claim, create=_create_claim, check=_check_claim),
    ("", "PersistentVolume"): Rules(default=_default_volume, create=_create_volume, check=_check_volume),
    ("storage.k8s.io", "StorageClass"): Rules(default=_default_class, check=_check_class),
}
