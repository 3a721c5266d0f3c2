"""Check an object against a structural schema; messages and reasons are those of the API server."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pyoperator.schema._errors import FieldError
from pyoperator.schema._formats import FORMATS
from pyoperator.schema.patterns import PatternError, PatternTooCostlyError, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTEGER_LIMITS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_DUPLICATE: Final = FieldError.duplicate("", "").reason
# Where the server has no path for a fault (it concerns a combination of schemas, or the root), it says so.
_NOWHERE = "<nil>"


# Nothing to compare a value with: it is new, or stands in a list or map that is judged as a whole.
_NEW: Final = object()


def validate(schema: Mapping[str, Any], obj: Any, *, path: str = "", old: Any = _NEW) -> list[FieldError]:
    """Return the faults of ``obj``; ``path`` is put in front of their fields. Rules (CEL) are not evaluated.

    With ``old``, the object as it is stored, only what a write changes is judged, as an API server does from 1.33 on (validation
    ratcheting): a value that equals the old one in its place has no faults, whatever a schema demands that was tightened since.
    Places are those of properties, of keys of maps (atomic ones, too), and of items of list maps by their keys; any other list
    is one value. What is in a place that changes is judged there: a new ``required`` counts where its parent changes.
    """
    faults = _Validation().check(schema, obj, path, old)
    if old is not _NEW and _has_duplicates(faults) and _has_duplicates(_Validation().check(schema, old, path, _NEW)):
        # Duplicates are judged in the whole object, and only if the old one had none at all.
        faults = [fault for fault in faults if fault.reason != _DUPLICATE]
    return [*dict.fromkeys(fault if fault.field else replace(fault, field=_NOWHERE) for fault in faults)]


def _has_duplicates(faults: list[FieldError]) -> bool:
    return any(fault.reason == _DUPLICATE for fault in faults)


class _Validation:
    def check(self, schema: Mapping[str, Any], value: Any, path: str, old: Any) -> list[FieldError]:
        if value is None and schema.get("nullable"):
            return []
        if old is not _NEW and _equal(schema, value, old):
            return []
        faults = self._type(schema, value, path)
        if "enum" in schema and not any(_same(value, option) for option in schema["enum"]):
            # The server prints every option as a text, also numbers.
            options = [option if isinstance(option, str) else _json(option) for option in schema["enum"]]
            faults.append(FieldError.not_supported(path, value, options))
        if isinstance(value, str):
            faults += self._text(schema, value, path)
        elif isinstance(value, bool):
            pass
        elif isinstance(value, int | float):
            faults += self._number(schema, value, path)
        elif isinstance(value, list):
            faults += self._list(schema, value, path, old)
        elif isinstance(value, dict):
            faults += self._object(schema, value, path, old)
        faults += self._combined(schema, value, path, old)
        return faults

    def _type(self, schema: Mapping[str, Any], value: Any, path: str) -> list[FieldError]:
        wanted = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else []
        if isinstance(schema.get("type"), str):
            wanted = [schema["type"]]
        if not wanted:
            return []
        found = _type_of(value)
        if found in wanted or (found == "integer" and "number" in wanted):
            return self._integer_format(schema, value, path) if found == "integer" else []
        if wanted == ["integer"] and found == "number":
            form = schema.get("format", "")
            if form in _INTEGER_LIMITS:
                said, form, found = form, f"with format {form}", "float64"
            else:
                said, form = "integer", "(default format)"
            return [
                FieldError.type_invalid(path, found, f'{path} in body must be of type {said}: "{found}"'),
                _unplaced(f"Checked value must be of type integer {form} in {path}"),
            ]
        return [FieldError.type_invalid(path, found, f'{path} in body must be of type {",".join(wanted)}: "{found}"')]

    def _integer_format(self, schema: Mapping[str, Any], value: int, path: str) -> list[FieldError]:
        limits = _INTEGER_LIMITS.get(schema.get("format", ""))
        if schema.get("type") != "integer" or limits is None or limits[0] <= value <= limits[1]:
            return []
        kind = schema["format"]
        faults = [_unplaced(f"Checked value must be of type integer with format {kind} in {path}")]
        if kind == "int64":  # too big for an integer at all: the server's decoder made it a float
            faults.insert(
                0, FieldError.type_invalid(path, "float64", f'{path} in body must be of type int64: "float64"')
            )
        return faults

    def _text(self, schema: Mapping[str, Any], value: str, path: str) -> list[FieldError]:
        faults = self._text_size(schema, value, path)
        form = schema.get("format")
        if form in FORMATS and not FORMATS[form](value):
            faults.append(
                FieldError.type_invalid(path, value, f"{path} in body must be of type {form}: {_json(value)}")
            )
        return faults

    def _text_size(self, schema: Mapping[str, Any], value: str, path: str) -> list[FieldError]:
        """Check length and pattern; the server names only the first of these faults."""
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            return [FieldError.too_long(path, schema["maxLength"])]
        if "minLength" in schema and len(value) < schema["minLength"]:
            detail = f"{path} in body should be at least {schema['minLength']} chars long"
            return [FieldError.invalid(path, value, detail)]
        fault = _mismatch(schema.get("pattern"), value)
        return [FieldError.invalid(path, value, f"{path} {fault}")] if fault else []

    def _number(self, schema: Mapping[str, Any], value: float, path: str) -> list[FieldError]:
        faults: list[FieldError] = []

        def fault(detail: str) -> None:
            faults.append(FieldError.invalid(path, value, f"{path} in body should be {detail}"))

        if "maximum" in schema:
            limit = schema["maximum"]
            if schema.get("exclusiveMaximum"):
                if value >= limit:
                    fault(f"less than {_json(limit)}")
            elif value > limit:
                fault(f"less than or equal to {_json(limit)}")
        if "minimum" in schema:
            limit = schema["minimum"]
            if schema.get("exclusiveMinimum"):
                if value <= limit:
                    fault(f"greater than {_json(limit)}")
            elif value < limit:
                fault(f"greater than or equal to {_json(limit)}")
        if schema.get("multipleOf") and Decimal(str(value)) % Decimal(str(schema["multipleOf"])) != 0:
            fault(f"a multiple of {_json(schema['multipleOf'])}")
        return faults

    def _list(self, schema: Mapping[str, Any], value: list[Any], path: str, old: Any) -> list[FieldError]:
        faults: list[FieldError] = []
        if "maxItems" in schema and len(value) > schema["maxItems"]:
            faults.append(FieldError.too_many(path, len(value), schema["maxItems"]))
        if "minItems" in schema and len(value) < schema["minItems"]:
            detail = f"{path} in body should have at least {schema['minItems']} items"
            faults.append(FieldError.invalid(path, len(value), detail))
        if schema.get("uniqueItems") and len({_json(entry) for entry in value}) < len(value):
            faults.append(FieldError.invalid(path, value, f"{path} in body shouldn't contain duplicates"))
        items = schema.get("items")
        if isinstance(items, dict):
            before = _by_keys(schema, old) if old is not _NEW else {}
            for index, entry in enumerate(value):
                known = before.get(_key(schema, entry), _NEW) if before else _NEW
                faults += self.check(items, entry, f"{path}[{index}]", known)
        return faults + self._unique(schema, value, path)

    def _unique(self, schema: Mapping[str, Any], value: list[Any], path: str) -> list[FieldError]:
        sort = schema.get("x-kubernetes-list-type")
        if sort not in ("set", "map"):
            return []
        seen: set[str] = set()
        faults: list[FieldError] = []
        for index, entry in enumerate(value):
            identity = entry
            if sort == "map":
                if not isinstance(entry, dict):
                    continue
                identity = _identity(schema, entry)
            text = _json(identity)
            if text in seen:
                faults.append(FieldError.duplicate(f"{path}[{index}]", identity))
            seen.add(text)
        return faults

    def _object(self, schema: Mapping[str, Any], value: dict[str, Any], path: str, old: Any) -> list[FieldError]:
        faults: list[FieldError] = []
        prefix = f"{path}." if path else ""
        if "maxProperties" in schema and len(value) > schema["maxProperties"]:
            faults.append(FieldError.too_many(path, len(value), schema["maxProperties"]))
        if "minProperties" in schema and len(value) < schema["minProperties"]:
            detail = f"{path} in body should have at least {schema['minProperties']} properties"
            faults.append(FieldError.invalid(path, len(value), detail))
        required = list(schema.get("required") or ())
        if schema.get("x-kubernetes-embedded-resource"):
            required += [name for name in ("apiVersion", "kind") if name not in required]
        faults += [FieldError.required(f"{prefix}{name}") for name in required if name not in value]
        properties: Mapping[str, Any] = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for name, entry in value.items():
            known = properties.get(name, extra)
            if isinstance(known, dict):
                faults += self.check(known, entry, f"{prefix}{name}", before.get(name, _NEW))
            elif extra is False:
                faults.append(
                    FieldError.invalid(f"{prefix}{name}", "", f"{prefix}{name} in body is a forbidden property")
                )
        return faults

    def _combined(self, schema: Mapping[str, Any], value: Any, path: str, old: Any) -> list[FieldError]:
        faults: list[FieldError] = []
        if schema.get("anyOf"):
            branches = [self.check(branch, value, path, old) for branch in schema["anyOf"]]
            if all(branches):
                faults += [_unplaced(f'"{path}" must validate at least one schema (anyOf)'), *branches[0]]
        if schema.get("oneOf"):
            branches = [self.check(branch, value, path, old) for branch in schema["oneOf"]]
            valid = sum(not branch for branch in branches)
            if valid != 1:
                found = f"Found {valid} valid alternatives" if valid else "Found none valid"
                faults.append(_unplaced(f'"{path}" must validate one and only one schema (oneOf). {found}'))
                faults += branches[0] if not valid else []
        if schema.get("allOf"):
            broken = [fault for branch in schema["allOf"] for fault in self.check(branch, value, path, old)]
            if broken:
                faults += [*broken, _unplaced(f'"{path}" must validate all the schemas (allOf)')]
        if isinstance(schema.get("not"), dict) and not self.check(schema["not"], value, path, old):
            faults.append(_unplaced(f'"{path}" must not validate the schema (not)'))
        return faults


def _identity(schema: Mapping[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of an item of a list map, with their defaults."""
    properties = (schema.get("items") or {}).get("properties") or {}
    return {
        key: entry.get(key, (properties.get(key) or {}).get("default"))
        for key in sorted(schema.get("x-kubernetes-list-map-keys") or ())
        if key in entry or "default" in (properties.get(key) or {})
    }


def _key(schema: Mapping[str, Any], entry: Any) -> str:
    return _json(_identity(schema, entry)) if isinstance(entry, dict) else ""


def _by_keys(schema: Mapping[str, Any], old: Any) -> dict[str, Any]:
    """Return the items of an old list map by their keys; nothing for any other list, which is judged as a whole."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
        return {}
    return {_key(schema, entry): entry for entry in reversed(old) if isinstance(entry, dict)}


def _equal(schema: Any, value: Any, old: Any) -> bool:
    """Compare as JSON (to Python True is 1), and list maps whatever the order of their items, but for those within other lists."""
    if value == old:
        return _json(value) == _json(old)
    if not isinstance(schema, dict):
        return False
    if isinstance(value, dict) and isinstance(old, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        return value.keys() == old.keys() and all(
            _equal(properties.get(name, extra), entry, old[name]) for name, entry in value.items()
        )
    if isinstance(value, list) and isinstance(old, list) and len(value) == len(old):
        items, known = schema.get("items"), _by_keys(schema, old)
        return len(known) == len(old) and all(_equal(items, entry, known.get(_key(schema, entry))) for entry in value)
    return False


def _mismatch(pattern: Any, value: str) -> str:
    """Say what is wrong with a text that should match; an empty pattern asks for nothing."""
    if not pattern or not isinstance(pattern, str):
        return ""
    try:
        return "" if compile_pattern(pattern).matches(value) else f"in body should match '{pattern}'"
    except PatternError as error:  # of a schema that no CRD could have brought in
        return f"in body should match '{pattern}, but pattern is invalid: {error}'"
    except PatternTooCostlyError as error:
        return f"can't be matched with '{pattern}': {error}"


def _unplaced(detail: str) -> FieldError:
    return FieldError.invalid(_NOWHERE, "", detail)


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _same(left: Any, right: Any) -> bool:
    return (type(left) is type(right) and bool(left == right)) or _json(left) == _json(right)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
