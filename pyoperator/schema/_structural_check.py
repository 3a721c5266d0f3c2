"""Is a schema structural, that is, can the server prune and default by it? The rules of ``apiextensions.k8s.io/v1``."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pyoperator.schema._defaults import apply_defaults
from pyoperator.schema._errors import FieldError
from pyoperator.schema._prune import prune
from pyoperator.schema._validate import validate
from pyoperator.schema.patterns import PatternError, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "$ref", "additionalItems", "patternProperties", "definitions", "dependencies")
_LOGICAL = ("anyOf", "oneOf", "allOf")
_ENVELOPE = {"apiVersion": "string", "kind": "string", "metadata": "object"}
# Inside anyOf, oneOf, allOf and not a schema only tests; what shapes the object must stand outside.
_SHAPING = ("type", "additionalProperties", "nullable", "title", "description", "default")
_SHAPING_EXTENSIONS = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
)  # fmt: skip


def check_structural(schema: Mapping[str, Any], *, field: str = "spec.validation.openAPIV3Schema") -> list[FieldError]:
    """Return what keeps ``schema`` (the root of a kind) from being accepted; ``field`` is where it stands in the CRD."""
    faults: list[FieldError] = []
    if not schema.get("type"):
        faults.append(FieldError.required(f"{field}.type", "must not be empty at the root"))
    elif schema["type"] != "object":
        faults.append(FieldError.invalid(f"{field}.type", schema["type"], "must be object at the root"))
    faults += _envelope(schema.get("properties") or {}, field)
    if schema.get("additionalProperties") is not None:
        faults.append(FieldError.forbidden(f"{field}.additionalProperties", "must not be used at the root"))
    if schema.get("nullable"):
        faults.append(FieldError.forbidden(f"{field}.nullable", "nullable cannot be true at the root"))
    faults += _level(schema, field)
    faults += _defined(schema, field, schema, field)
    # The server tries defaults only with a schema that is sound otherwise.
    return faults or [*_defaults(schema, field, root=True)]


def _envelope(properties: Mapping[str, Any], field: str) -> Iterator[FieldError]:
    """Check what the schema of a kind says of the fields that every object has."""
    for name, wanted in _ENVELOPE.items():
        entry = properties.get(name)
        if not isinstance(entry, dict):
            continue
        where = f"{field}.properties[{name}]"
        if entry.get("type") != wanted:
            yield FieldError.invalid(f"{where}.type", entry.get("type", ""), f"must be {wanted}")
        if "default" in entry:
            yield FieldError.forbidden(f"{where}.default", f"must not be set in top-level {name}")
    metadata = properties.get("metadata")
    if not isinstance(metadata, dict):
        return
    where = f"{field}.properties[metadata]"
    inner: Mapping[str, Any] = metadata.get("properties") or {}
    beyond = set(metadata) - {"type", "properties", "default"} or set(inner) - {"name", "generateName"}
    if metadata.get("type") == "object" and beyond:
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield FieldError.forbidden(where, detail)
    for name, entry in inner.items():
        if isinstance(entry, dict) and "default" in entry:
            yield FieldError.forbidden(f"{where}.properties[{name}].default", "must not be set in top-level metadata")


def _level(schema: Mapping[str, Any], field: str) -> Iterator[FieldError]:
    yield from _keywords(schema, field)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    for name in sorted(properties):
        yield from _field(properties[name], f"{field}.properties[{name}]", "specified object fields")
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        yield from _field(extra, f"{field}.additionalProperties", "additionalProperties in objects")
    if extra is not None and properties:
        yield FieldError.forbidden(
            f"{field}.additionalProperties", "additionalProperties and properties are mutual exclusive"
        )
    yield from _items(schema, field)
    for keyword in _LOGICAL:
        for index, branch in enumerate(schema.get(keyword) or ()):
            yield from _test(branch, f"{field}.{keyword}[{index}]", _int_or_string_branch(schema, keyword, index))
    if isinstance(schema.get("not"), dict):
        yield from _test(schema["not"], f"{field}.not", allowed=False)


def _defaults(schema: Mapping[str, Any], field: str, *, root: bool = False) -> Iterator[FieldError]:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    inner = [(properties[name], f"{field}.properties[{name}]") for name in sorted(properties)]
    inner += [(schema.get(key), f"{field}.{key}") for key in ("additionalProperties", "items")]
    for entry, place in inner:
        if isinstance(entry, dict):
            yield from _defaults(entry, place)
    if root:
        default = schema.get("default")
        if isinstance(default, dict):  # it would be an object of the API
            yield from (FieldError.required(f"{field}.default.{n}") for n in ("apiVersion", "kind") if n not in default)
    elif "default" in schema:
        yield from _default(schema, f"{field}.default")


def _field(schema: Any, field: str, place: str) -> Iterator[FieldError]:
    if not isinstance(schema, dict):
        return
    if not (
        schema.get("type")
        or schema.get("x-kubernetes-int-or-string")
        or schema.get("x-kubernetes-preserve-unknown-fields")
        or "$ref" in schema
    ):
        yield FieldError.required(f"{field}.type", f"must not be empty for {place}")
    yield from _level(schema, field)


def _keywords(schema: Mapping[str, Any], field: str) -> Iterator[FieldError]:
    for keyword in _UNSUPPORTED:
        if keyword in schema:
            yield FieldError.forbidden(f"{field}.{keyword}", f"{keyword} is not supported")
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        yield FieldError.not_supported(f"{field}.type", kind, _TYPES)
    if schema.get("uniqueItems"):
        yield FieldError.forbidden(
            f"{field}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    yield from _pattern(schema.get("pattern"), f"{field}.pattern")
    keeps = "x-kubernetes-preserve-unknown-fields"
    if schema.get(keeps) is False:
        yield FieldError.invalid(f"{field}.{keeps}", False, "must be true or undefined")
    if schema.get("x-kubernetes-embedded-resource"):
        if kind != "object":
            detail = "must be object if x-kubernetes-embedded-resource is true"
            yield FieldError.invalid(f"{field}.type", kind or "", detail)
        if not schema.get("properties") and not schema.get(keeps):
            detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
            yield FieldError.required(f"{field}.properties", detail)


def _pattern(pattern: Any, field: str) -> Iterator[FieldError]:
    if not pattern or not isinstance(pattern, str):
        return
    try:
        compile_pattern(pattern)
    except PatternError as error:
        yield FieldError.invalid(field, pattern, f"must be a valid regular expression, but isn't: {error}")


def _items(schema: Mapping[str, Any], field: str) -> Iterator[FieldError]:
    items = schema.get("items")
    if isinstance(items, list):
        yield FieldError.forbidden(f"{field}.items", "items must be a schema object and not an array")
        return
    if isinstance(items, dict):
        yield from _field(items, f"{field}.items", "specified array items")
    elif schema.get("type") == "array":
        yield FieldError.required(f"{field}.items", "must be specified")
    sort = schema.get("x-kubernetes-list-type")
    if sort is not None and sort not in ("atomic", "set", "map"):
        yield FieldError.not_supported(f"{field}.x-kubernetes-list-type", sort, ("atomic", "set", "map"))
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if sort == "set" and isinstance(items, dict) and items.get("type") in ("object", "array"):
        atomic = items.get("x-kubernetes-map-type" if items["type"] == "object" else "x-kubernetes-list-type")
        if atomic != "atomic":
            kind = "map" if items["type"] == "object" else "list"
            detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
            yield FieldError.invalid(f"{field}.items.x-kubernetes-{kind}-type", atomic, detail)
    if sort == "map":
        if not keys:
            detail = "must not be empty if x-kubernetes-list-type is map"
            yield FieldError.required(f"{field}.x-kubernetes-list-map-keys", detail)
        yield from _map_keys(items if isinstance(items, dict) else {}, keys, f"{field}.items")


def _map_keys(items: Mapping[str, Any], keys: Any, field: str) -> Iterator[FieldError]:
    for key in keys:
        known = (items.get("properties") or {}).get(key)
        if known is None:
            detail = f'the key "{key}" of x-kubernetes-list-map-keys must be a property of the items'
            yield FieldError.invalid(field.removesuffix(".items") + ".x-kubernetes-list-map-keys", list(keys), detail)
        elif "default" not in known and key not in (items.get("required") or ()):
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield FieldError.required(f"{field}.properties[{key}].default", detail)


def _int_or_string_branch(schema: Mapping[str, Any], keyword: str, index: int) -> bool:
    """``anyOf: [{type: integer}, {type: string}]`` may repeat what x-kubernetes-int-or-string says."""
    if not schema.get("x-kubernetes-int-or-string"):
        return False
    if keyword == "anyOf":
        return [branch.get("type") for branch in schema["anyOf"]] == ["integer", "string"]
    nested = (schema.get("allOf") or [{}])[index] if keyword == "allOf" else {}
    return [branch.get("type") for branch in nested.get("anyOf") or ()] == ["integer", "string"]


def _test(schema: Any, field: str, allowed: bool) -> Iterator[FieldError]:
    if not isinstance(schema, dict):
        return
    yield from _pattern(schema.get("pattern"), f"{field}.pattern")
    for keyword in _SHAPING:
        if keyword in schema and not (allowed and keyword == "type"):
            empty = "undefined" if keyword in ("additionalProperties", "default") else "empty"
            empty = "false" if keyword == "nullable" else empty
            yield FieldError.forbidden(f"{field}.{keyword}", f"must be {empty} to be structural")
    for keyword in _SHAPING_EXTENSIONS:
        if schema.get(keyword):
            yield FieldError.forbidden(f"{field}.{keyword}", "must be undefined to be structural")
    if "metadata" in (schema.get("properties") or {}):
        yield FieldError.forbidden(f"{field}.properties[metadata]", "must not be specified in a nested context")
    for name, entry in (schema.get("properties") or {}).items():
        yield from _test(entry, f"{field}.properties[{name}]", allowed=False)
    if isinstance(schema.get("items"), dict):
        yield from _test(schema["items"], f"{field}.items", allowed=False)
    for keyword in _LOGICAL:
        for index, branch in enumerate(schema.get(keyword) or ()):
            yield from _test(branch, f"{field}.{keyword}[{index}]", allowed=allowed and keyword == "anyOf")
    if isinstance(schema.get("not"), dict):
        yield from _test(schema["not"], f"{field}.not", allowed=False)


def _defined(test: Mapping[str, Any], field: str, schema: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    """Check that what the tests of the root look at is there; the server asks this of the root alone."""
    tests = [
        (f"{field}.{keyword}[{at}]", branch)
        for keyword in _LOGICAL
        for at, branch in enumerate(test.get(keyword) or ())
    ]
    tests.append((f"{field}.not", test.get("not")))
    for where, branch in tests:
        if isinstance(branch, dict):
            yield from _known(branch, where, schema, place)
            yield from _defined(branch, where, schema, place)


def _known(test: Mapping[str, Any], field: str, schema: Mapping[str, Any], place: str) -> Iterator[FieldError]:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    for name, entry in (test.get("properties") or {}).items():
        where, defined = f"{field}.properties[{name}]", f"{place}.properties[{name}]"
        if not isinstance(properties.get(name), dict):
            yield FieldError.required(defined, f"because it is defined in {where}")
        elif isinstance(entry, dict):
            yield from _known(entry, where, properties[name], defined)
    if isinstance(test.get("items"), dict):
        items = schema.get("items")
        yield from _known(test["items"], f"{field}.items", items if isinstance(items, dict) else {}, f"{place}.items")


def _default(schema: Mapping[str, Any], field: str) -> Iterator[FieldError]:
    value = copy.deepcopy(schema["default"])
    dropped: list[str] = []
    prune(schema, value, resource=False, pruned=dropped)
    if dropped:
        yield FieldError.invalid(field, schema["default"], "must not have unknown fields")
        return
    apply_defaults(schema, value)
    for fault in validate(schema, value):
        yield FieldError(
            f"{field}.{fault.field}".rstrip(".") if fault.field != "<nil>" else field, fault.reason, fault.message
        )


def unsupported_formats(schema: Any, known: frozenset[str]) -> list[str]:
    """Return the formats in the schema that mean nothing to the server."""
    if isinstance(schema, list):
        return [name for entry in schema for name in unsupported_formats(entry, known)]
    if not isinstance(schema, dict):
        return []
    own = [schema["format"]] if isinstance(schema.get("format"), str) and schema["format"] not in known else []
    inner = [*(schema.get("properties") or {}).values()]
    inner += [schema.get(key) for key in ("items", "additionalProperties", "not", *_LOGICAL)]
    return [*dict.fromkeys(own + [name for entry in inner for name in unsupported_formats(entry, known)])]


def has_rules(schema: Any) -> bool:
    """Tell whether the schema carries ``x-kubernetes-validations`` anywhere."""
    if isinstance(schema, dict):
        return bool(schema.get("x-kubernetes-validations")) or any(has_rules(entry) for entry in schema.values())
    return isinstance(schema, list) and any(has_rules(entry) for entry in schema)
