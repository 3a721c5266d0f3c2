"""What ``metadata`` may hold, with the messages of ``apimachinery/pkg/api/validation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._name_rules import (
    label_faults,
    label_value_faults,
    path_segment_faults,
    qualified_name_faults,
    subdomain_faults,
)
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.apiserver.registry import Kind

_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_ANNOTATIONS_LIMIT = 256 * 1024
_NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_SUFFIX = 5
GENERATED_BASE_LIMIT = 63 - GENERATED_SUFFIX

_NAME_RULES: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("", "Namespace"): label_faults,
    ("", "Service"): label_faults,
    ("rbac.authorization.k8s.io", "Role"): path_segment_faults,
    ("rbac.authorization.k8s.io", "RoleBinding"): path_segment_faults,
    ("rbac.authorization.k8s.io", "ClusterRole"): path_segment_faults,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): path_segment_faults,
}


def validate_metadata(kind: Kind, metadata: dict[str, Any]) -> list[FieldError]:
    """Return the faults of a new object's metadata."""
    faults: list[FieldError] = []
    rule = _NAME_RULES.get((kind.gvk.group, kind.gvk.kind), subdomain_faults)
    generate_name = metadata.get("generateName") or ""
    name = metadata.get("name") or ""
    if generate_name:
        # A trailing dash is what a generated name may have and a name may not.
        base = generate_name[:-1] + "a" if generate_name.endswith("-") else generate_name
        faults += [FieldError.invalid("metadata.generateName", generate_name, fault) for fault in rule(base)]
    if not name:
        faults.append(FieldError.required("metadata.name", "name or generateName is required"))
    else:
        faults += [FieldError.invalid("metadata.name", name, fault) for fault in rule(name)]
    namespace = metadata.get("namespace") or ""
    if kind.namespaced:
        if not namespace:
            faults.append(FieldError.required("metadata.namespace"))
        else:
            faults += [FieldError.invalid("metadata.namespace", namespace, fault) for fault in label_faults(namespace)]
    elif namespace:
        faults.append(FieldError.forbidden("metadata.namespace", "not allowed on this type"))
    return faults + _accessor_faults(kind, metadata)


def validate_metadata_update(kind: Kind, new: dict[str, Any], old: dict[str, Any]) -> list[FieldError]:
    """Return the faults of a changed object's metadata."""
    faults = _accessor_faults(kind, new)
    faults += [
        FieldError.invalid(f"metadata.{field}", new.get(field, ""), "field is immutable")
        for field in (
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
        if new.get(field) != old.get(field)
    ]
    if old.get("deletionTimestamp"):
        before = set(old.get("finalizers") or ())
        added = [finalizer for finalizer in new.get("finalizers") or () if finalizer not in before]
        if added:
            listed = ", ".join(f'"{finalizer}"' for finalizer in added)
            faults.append(
                FieldError.forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}",
                )
            )
    # The real server runs this check twice, for every kind, and reports each fault as often.
    return [*faults, *faults]


def _accessor_faults(kind: Kind, metadata: dict[str, Any]) -> list[FieldError]:
    faults: list[FieldError] = []
    for key, value in (metadata.get("labels") or {}).items():
        faults += [FieldError.invalid("metadata.labels", key, fault) for fault in qualified_name_faults(key)]
        faults += [FieldError.invalid("metadata.labels", value, fault) for fault in label_value_faults(value)]
    annotations = metadata.get("annotations") or {}
    size = 0
    for key, value in annotations.items():
        # Keys of annotations may be written in capitals.
        faults += [
            FieldError.invalid("metadata.annotations", key, fault) for fault in qualified_name_faults(key.lower())
        ]
        size += len(key) + len(value.encode())
    if size > _ANNOTATIONS_LIMIT:
        faults.append(FieldError.too_long("metadata.annotations", _ANNOTATIONS_LIMIT))
    faults += _owner_faults(metadata.get("ownerReferences") or [])
    finalizers = metadata.get("finalizers") or ()
    for finalizer in finalizers:
        faults += [
            FieldError.invalid("metadata.finalizers", finalizer, fault) for fault in qualified_name_faults(finalizer)
        ]
    if not kind.custom:
        faults += [
            FieldError.invalid(
                f"metadata.finalizers[{index}]",
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
            for index, finalizer in enumerate(finalizers)
            if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
        ]
    return faults


def _owner_faults(references: list[dict[str, Any]]) -> list[FieldError]:
    faults: list[FieldError] = []
    controller = ""
    path = "metadata.ownerReferences"
    for reference in references:
        version = reference.get("apiVersion") or ""
        if not version.rpartition("/")[2]:
            faults.append(FieldError.invalid(f"{path}.apiVersion", version, "version must not be empty"))
        for field, said in (("kind", "must not be empty"), ("name", "must not be empty"), ("uid", "must not be empty")):
            if not reference.get(field):
                faults.append(FieldError.invalid(f"{path}.{field}", "", said))
        if reference.get("controller"):
            if controller:
                faults.append(
                    FieldError.invalid(
                        path,
                        references,
                        'Only one reference can have Controller set to true. Found "true" in references for '
                        f"{controller} and {reference.get('kind')}/{reference.get('name')}",
                    )
                )
            controller = f"{reference.get('kind')}/{reference.get('name')}"
    return faults


def generated_name(base: str, choose: Callable[[str], str]) -> str:
    """Return ``base`` with five random characters; vowels and look-alikes are left out, as the real server does."""
    return base[:GENERATED_BASE_LIMIT] + "".join(choose(_NAME_CHARACTERS) for _ in range(GENERATED_SUFFIX))
