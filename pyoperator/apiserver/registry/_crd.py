"""CustomResourceDefinitions: their defaults, their own validation, the names that they get, what they are warned of."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._name_rules import label_1035_faults, subdomain_faults
from pyoperator.apiserver.registry._jsonpath import JSONPathError, parse
from pyoperator.apiserver.registry.kinds import Rules
from pyoperator.objects import format_time
from pyoperator.schema import KNOWN_FORMATS, FieldError, check_structural, has_rules, unsupported_formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyoperator.apiserver.registry._kind import Object, WriteContext

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MOST_SELECTABLE = 8
_APPROVED = "api-approved.kubernetes.io"
Conflict = "tuple[str, str]"


def crd_rules(conflict_of: Callable[[Object], tuple[str, str] | None]) -> Rules:
    """Return the rules of CRDs; ``conflict_of`` tells which name another kind has already: (reason, name)."""

    def create(obj: Object, ctx: WriteContext) -> None:
        _accept(obj, None, conflict_of, ctx.now)

    def update(new: Object, old: Object, ctx: WriteContext) -> None:
        _default(new)
        if new.get("status") is None:
            new["status"] = copy.deepcopy(old.get("status") or {})
        _accept(new, old, conflict_of, ctx.now)

    return Rules(default=_default, create=create, update=update, check=check_crd)


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {}).setdefault("strategy", "None")
    client = (spec["conversion"].get("webhook") or {}).get("clientConfig") or {}
    if client.get("service"):
        client["service"].setdefault("port", 443)
    if spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]


def _accept(
    obj: Object, old: Object | None, conflict_of: Callable[[Object], tuple[str, str] | None], now: float
) -> None:
    """Set the status that the naming and establishing controllers would set a moment later."""
    status = obj.setdefault("status", {})
    spec = obj["spec"]
    stored = [version["name"] for version in spec.get("versions") or () if version.get("storage")]
    kept = status.get("storedVersions") or []
    versions = kept + [name for name in stored if name not in kept]
    if versions:
        status["storedVersions"] = versions
    if not spec.get("group") or not spec["names"].get("plural") or not spec["names"].get("kind"):
        return
    conflict = conflict_of(obj)
    if conflict is None:
        status["acceptedNames"] = copy.deepcopy(spec["names"])
        naming = ("True", "NoConflicts", "no conflicts found")
        serving = ("True", "InitialNamesAccepted", "the initial names have been accepted")
    else:
        status.setdefault("acceptedNames", {"plural": "", "kind": ""})
        naming = ("False", conflict[0], f'"{conflict[1]}" is already in use')
        serving = ("False", "NotAccepted", "not all names are accepted")
    conditions = status["conditions"] = list(status.get("conditions") or ())
    _set_condition(conditions, "NamesAccepted", naming, now)
    if conflict is None or not is_established(obj):  # an established CRD stays so
        _set_condition(conditions, "Established", serving, now)


def _set_condition(conditions: list[Object], name: str, value: tuple[str, str, str], now: float) -> None:
    status, reason, message = value
    found = next((entry for entry in conditions if entry.get("type") == name), None)
    if found is not None and found.get("status") == status:
        return
    entry = {
        "type": name,
        "status": status,
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }
    if found is None:
        conditions.append(entry)
    else:
        found.update(entry)


def is_established(crd: Object) -> bool:
    """Tell whether the CRD's kinds are to be served."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(entry.get("type") == "Established" and entry.get("status") == "True" for entry in conditions)


def crd_warnings(crd: Object) -> list[str]:
    """Return what a CRD asks for in vain on this server."""
    schemas = [(version.get("schema") or {}).get("openAPIV3Schema") for version in crd["spec"].get("versions") or ()]
    formats = dict.fromkeys(name for schema in schemas for name in unsupported_formats(schema, KNOWN_FORMATS))
    warnings = [f'unrecognized format "{name}"' for name in formats]
    if any(has_rules(schema) for schema in schemas):
        warnings.append("x-kubernetes-validations are stored but not evaluated by this server")
    if (crd["spec"].get("conversion") or {}).get("strategy") == "Webhook":
        warnings.append(
            "conversion webhooks are stored but not called by this server: versions differ in apiVersion only"
        )
    return warnings


def crd_faults(crd: Object) -> list[FieldError]:
    """Return why a server would not take a CRD that somebody is about to create, each as the server words it."""
    defaulted = copy.deepcopy(crd)
    _default(defaulted)
    stored = [version.get("name") for version in defaulted["spec"].get("versions") or () if version.get("storage")]
    defaulted["status"] = {"storedVersions": stored}
    return check_crd(defaulted, None)


def check_crd(crd: Object, old: Object | None) -> list[FieldError]:
    """Return the faults of a CRD, as the server words them."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    faults: list[FieldError] = []
    name = crd.get("metadata", {}).get("name", "")
    group, plural = spec.get("group", ""), names.get("plural", "")
    if name != f"{plural}.{group}":
        faults.append(FieldError.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if (group.endswith((".k8s.io", ".kubernetes.io")) or group in ("k8s.io", "kubernetes.io")) and (
        not (crd["metadata"].get("annotations") or {}).get(_APPROVED)
    ):
        detail = f'protected groups must have approval annotation "{_APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111'
        faults.append(FieldError.required(f"metadata.annotations[{_APPROVED}]", detail))
    faults += _group(group)
    scope = spec.get("scope", "")
    if not scope:
        faults.append(FieldError.required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        faults.append(FieldError.not_supported("spec.scope", scope, ("Cluster", "Namespaced")))
    faults += _versions(crd)
    faults += _names(names)
    faults += _conversion(spec.get("conversion") or {})
    if spec.get("preserveUnknownFields"):
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        faults.append(FieldError.invalid("spec.preserveUnknownFields", True, detail))
    if old is not None:
        faults += _changes(spec, old)
    return [*faults, *_stored_versions(crd)]


def _group(group: str) -> list[FieldError]:
    if not group:
        return [FieldError.required("spec.group")]
    faults = [FieldError.invalid("spec.group", group, fault) for fault in subdomain_faults(group)]
    if not faults and "." not in group:
        faults.append(FieldError.invalid("spec.group", group, "should be a domain with at least one dot"))
    return faults


def _names(names: Object) -> Iterator[FieldError]:
    field = "spec.names"
    for part in ("plural", "singular", "kind", "listKind"):
        value = names.get(part, "")
        if not value:
            yield FieldError.required(f"{field}.{part}")
            continue
        for fault in label_1035_faults(value.lower() if part in ("kind", "listKind") else value):
            yield FieldError.invalid(f"{field}.{part}", value, fault)
    for part in ("shortNames", "categories"):
        for index, value in enumerate(names.get(part) or ()):
            for fault in label_1035_faults(value):
                yield FieldError.invalid(f"{field}.{part}[{index}]", value, fault)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield FieldError.invalid(f"{field}.listKind", names["listKind"], "kind and listKind may not be the same")


def _versions(crd: Object) -> Iterator[FieldError]:
    versions: list[Object] = crd["spec"].get("versions") or []
    shown = [_shown_version(version) for version in versions]
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        yield FieldError.invalid("spec.versions", shown, detail)
    if len({version.get("name") for version in versions}) < len(versions):
        yield FieldError.invalid("spec.versions", shown, "must contain unique version names")
    for index, version in enumerate(versions):
        for fault in label_1035_faults(version.get("name", "")):
            yield FieldError.invalid(f"spec.versions[{index}].name", version.get("name", ""), fault)
        if version.get("deprecationWarning") and not version.get("deprecated"):
            detail = "must be empty when deprecated is false"
            yield FieldError.invalid(
                f"spec.versions[{index}].deprecationWarning", version["deprecationWarning"], detail
            )
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not schema:
            yield FieldError.required(f"spec.versions[{index}].schema.openAPIV3Schema")
    yield from _per_version(versions, "schema", "schema", "validation", _check_schema)
    yield from _per_version(versions, "subresources", "subresources", "subresources", _check_subresources)
    columns = "additionalPrinterColumns"
    yield from _per_version(versions, columns, columns, columns, _check_columns)
    yield from _selectable(versions)


def _per_version(
    versions: list[Object], key: str, nested: str, hoisted: str, check: Callable[[Any, str], Iterator[FieldError]]
) -> Iterator[FieldError]:
    """Check one attribute of all versions; the server names it once, at the top, where all versions have the same."""
    values = [version.get(key) for version in versions]
    if not values:
        return
    if all(value == values[0] for value in values):
        if values[0]:
            yield from check(values[0], f"spec.{hoisted}")
        return
    for index, value in enumerate(values):
        if value:
            yield from check(value, f"spec.versions[{index}].{nested}")


def _check_schema(value: Object, field: str) -> Iterator[FieldError]:
    schema = value.get("openAPIV3Schema")
    if schema:
        yield from check_structural(schema, field=f"{field}.openAPIV3Schema")


def _check_subresources(value: Object, field: str) -> Iterator[FieldError]:
    scale = value.get("scale")
    if scale is None:
        return
    for part, root in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status"), ("labelSelectorPath", "")):
        path = scale.get(part, "")
        if not path:
            if root:
                yield FieldError.required(f"{field}.scale.{part}")
        elif root and not path.startswith(f"{root}."):
            yield FieldError.invalid(f"{field}.scale.{part}", path, f"should be a json path under {root}")
        elif not root and not path.startswith((".spec.", ".status.")):
            yield FieldError.invalid(
                f"{field}.scale.{part}", path, "should be a json path under either .spec or .status"
            )


def _check_columns(value: list[Object], field: str) -> Iterator[FieldError]:
    for index, column in enumerate(value):
        where = f"{field}[{index}]"
        if not column.get("name"):
            yield FieldError.required(f"{where}.name")
        kind = column.get("type", "")
        if not kind:
            yield FieldError.required(f"{where}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
        elif kind not in _COLUMN_TYPES:
            yield FieldError.invalid(f"{where}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
        style = column.get("format", "")
        if style and style not in _COLUMN_FORMATS:
            yield FieldError.invalid(f"{where}.format", style, f"must be one of {','.join(_COLUMN_FORMATS)}")
        path = column.get("jsonPath", "")
        if not path:
            yield FieldError.required(f"{where}.JSONPath")
            continue
        try:
            parse(path)
        except JSONPathError:
            simple = False
        else:
            simple = path.startswith(".")
        if not simple:
            yield FieldError.invalid(f"{where}.JSONPath", path, "must be a simple json path starting with .")


def _selectable(versions: list[Object]) -> Iterator[FieldError]:
    hoisted = all(version.get("selectableFields") == versions[0].get("selectableFields") for version in versions)
    for position, version in enumerate(versions[:1] if hoisted else versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        field = "spec.selectableFields" if hoisted else f"spec.versions[{position}].selectableFields"
        entries: list[Object] = version.get("selectableFields") or []
        if len(entries) > _MOST_SELECTABLE:
            yield FieldError.too_many(field, len(entries), _MOST_SELECTABLE)
        seen: set[str] = set()
        for index, entry in enumerate(entries):
            path = entry.get("jsonPath", "")
            if path in seen:
                yield FieldError.duplicate(f"{field}[{index}].jsonPath", path)
            seen.add(path)
            fault = _selectable_fault(schema, path)
            if fault:
                yield FieldError.invalid(f"{field}[{index}].jsonPath", path, f"is an invalid path: {fault}")


def _selectable_fault(schema: Object, path: str) -> str:
    if not path.startswith("."):
        return f"expected [ or . but got: {path}"
    target: Object | None = schema
    for part in path[1:].split("."):
        extra = (target or {}).get("additionalProperties")
        target = ((target or {}).get("properties") or {}).get(part, extra if isinstance(extra, dict) else None)
    if target is None:
        return "does not refer to a valid field"
    if target.get("type") not in ("string", "boolean", "integer"):
        return "must point to a field of type string, boolean or integer"
    return ""


def _conversion(conversion: Object) -> Iterator[FieldError]:
    strategy = conversion.get("strategy", "None")
    if strategy not in ("None", "Webhook"):
        yield FieldError.not_supported("spec.conversion.strategy", strategy, ("None", "Webhook"))
    webhook = conversion.get("webhook") or {}
    if strategy == "Webhook":
        if not webhook.get("clientConfig"):
            detail = "required when strategy is set to Webhook"
            yield FieldError.required("spec.conversion.webhookClientConfig", detail)
        if not webhook.get("conversionReviewVersions"):
            yield FieldError.required("spec.conversion.conversionReviewVersions")
    elif webhook:
        yield FieldError.forbidden("spec.conversion.webhook", "should not be set when strategy is not set to Webhook")


def _changes(spec: Object, old: Object) -> Iterator[FieldError]:
    if not is_established(old):
        return
    before = old["spec"]
    if spec.get("scope") != before.get("scope"):
        yield FieldError.invalid("spec.scope", spec.get("scope"), "field is immutable")
    if spec["names"].get("kind") != before["names"].get("kind"):
        yield FieldError.invalid("spec.names.kind", spec["names"].get("kind"), "field is immutable")


def _stored_versions(crd: Object) -> Iterator[FieldError]:
    stored = (crd.get("status") or {}).get("storedVersions")
    field = "status.storedVersions"
    if not stored:
        yield FieldError.invalid(field, None, "must have at least one stored version")
        return
    versions = {version.get("name") for version in crd["spec"].get("versions") or ()}
    for index, name in enumerate(stored):
        if name not in versions:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            yield FieldError.invalid(f"{field}[{index}]", name, detail)


def _shown_version(version: Object) -> Object:
    """The server prints its own form of a version in this message, without what moved to the top."""
    return {
        "Name": version.get("name", ""),
        "Served": bool(version.get("served")),
        "Storage": bool(version.get("storage")),
        "Deprecated": bool(version.get("deprecated")),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None,
        "Subresources": None,
        "AdditionalPrinterColumns": None,
        "SelectableFields": None,
    }
