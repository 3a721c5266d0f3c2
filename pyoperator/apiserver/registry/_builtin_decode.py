"""Read a built-in object the way the server's typed decoder does.

Unknown fields and nulls vanish, empty optional lists and maps vanish with them (they are not stored), quantities are
put in canonical form, and a value of the wrong JSON type makes the whole body unreadable.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry._kind import MalformedObject, Object
from pyoperator.apiserver.registry._quantities import canonical_quantity

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._builtin_schemas import BuiltinSchemas

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_INTEGERS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_JSON_TYPES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class TypedDecoder:
    """Decode one object of a built-in kind; a new decoder per object."""

    def __init__(self, schemas: BuiltinSchemas) -> None:
        self._schemas = schemas
        self.unknown: list[str] = []

    def decode(self, definition: str, obj: Object) -> Object:
        """Return the object as understood; raises MalformedObject."""
        return self._struct(self._schemas.definitions[definition], obj, (), (), _struct_name(definition))

    def _value(self, schema: Object, value: Any, path: tuple[str, ...], full: tuple[str, ...], owner: str) -> Any:
        name = schema.get("$ref")
        if name == QUANTITY:
            return self._quantity(value)
        if name == INT_OR_STRING:
            if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                return value
            raise self._fault(value, path, owner, "int32")
        if name in (TIME, MICRO_TIME):
            return self._time(value, path, owner, micro=name == MICRO_TIME)
        if name is not None:
            target = self._schemas.definitions[name]
            if "properties" in target:
                return self._struct(target, value, path, full, _struct_name(name), within=owner)
            schema = target
        match schema.get("type"):
            case "object":
                return self._map(schema, value, path, full, owner)
            case "array":
                return self._list(schema, value, path, full, owner)
            case "string":
                if not isinstance(value, str):
                    raise self._fault(value, path, owner, "[]uint8" if schema.get("format") == "byte" else "string")
            case "boolean":
                if not isinstance(value, bool):
                    raise self._fault(value, path, owner, "bool")
            case "integer":
                return self._integer(schema, value, path, owner)
            case "number":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._fault(value, path, owner, "float64")
        return value

    def _struct(
        self, schema: Object, value: Any, path: tuple[str, ...], full: tuple[str, ...], name: str, within: str = ""
    ) -> Object:
        if not isinstance(value, dict):
            raise self._fault(value, path, within or name, f"v1.{name}")
        properties: Object = schema.get("properties", {})
        required = schema.get("required", ())
        result: Object = {}
        for key, entry in value.items():
            known = properties.get(key)
            if known is None:
                self.unknown.append(_join((*full, key)))
                continue
            if entry is None:
                continue
            if type(entry) is str and known.get("type") == "string":  # most fields: nothing to look at
                result[key] = entry
                continue
            decoded = self._value(known, entry, (*path, key), (*full, key), name)
            if not decoded and isinstance(decoded, dict | list) and key not in required and self._omits_empty(known):
                continue
            result[key] = decoded
        return result

    def _omits_empty(self, schema: Object) -> bool:
        target = self._schemas.resolve(schema)
        return target.get("type") == "array" or "additionalProperties" in target

    def _map(self, schema: Object, value: Any, path: tuple[str, ...], full: tuple[str, ...], owner: str) -> Any:
        items = schema.get("additionalProperties")
        if not isinstance(value, dict):
            raise self._fault(value, path, owner, f"map[string]{_go_name(items or {})}")
        if not isinstance(items, dict):
            return value
        texts = items.get("type") == "string"
        if texts and all(type(entry) is str for entry in value.values()):
            return dict(value)
        absent: Any = "" if texts else None
        return {
            key: absent if entry is None else self._value(items, entry, path, (*full, key), owner)
            for key, entry in value.items()
            if entry is not None or absent is not None
        }

    def _list(self, schema: Object, value: Any, path: tuple[str, ...], full: tuple[str, ...], owner: str) -> Any:
        items = schema.get("items") or {}
        if not isinstance(value, list):
            raise self._fault(value, path, owner, f"[]{_go_name(items)}")
        return [
            self._value(items, entry, path, (*full[:-1], f"{full[-1]}[{index}]") if full else (), owner)
            for index, entry in enumerate(value)
            if entry is not None
        ]

    def _integer(self, schema: Object, value: Any, path: tuple[str, ...], owner: str) -> int:
        kind = schema.get("format") or "int64"
        low, high = _INTEGERS.get(kind, _INTEGERS["int64"])
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._fault(value, path, owner, kind)
        if not low <= value <= high:
            raise self._fault(value, path, owner, kind, shown=f"number {value}")
        return value

    def _quantity(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise MalformedObject("json: cannot unmarshal object into Go value of type resource.Quantity")
        try:
            return canonical_quantity(str(value))
        except ValueError as error:
            raise MalformedObject(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ) from error

    def _time(self, value: Any, path: tuple[str, ...], owner: str, *, micro: bool) -> str:
        if not isinstance(value, str):
            raise self._fault(value, path, owner, "string")
        pattern, layout = (
            (_MICRO_TIME, "2006-01-02T15:04:05.000000Z07:00") if micro else (_TIME, "2006-01-02T15:04:05Z07:00")
        )
        if pattern.fullmatch(value) is None:
            rest, wanted = _first_fault(value) if micro else (value, "2006")
            raise MalformedObject(f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{wanted}"')
        return value

    def _fault(self, value: Any, path: tuple[str, ...], owner: str, target: str, shown: str = "") -> MalformedObject:
        found = shown or _JSON_TYPES.get(type(value), "null")
        if isinstance(value, float) and not shown:
            found = f"number {value}"
        where = f"Go struct field {owner}.{'.'.join(path)}" if path else "Go value"
        return MalformedObject(f"json: cannot unmarshal {found} into {where} of type {target}")


def _first_fault(value: str) -> tuple[str, str]:
    """Return where a MicroTime stops being one, and what should stand there."""
    seconds = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value)
    if seconds is None:
        return value, "2006"
    fraction = re.match(r"\.\d{6}", value[seconds.end() :])
    if fraction is None:
        return value[seconds.end() :], ".000000"
    return value[seconds.end() + fraction.end() :], "Z07:00"


def _struct_name(definition: str) -> str:
    return definition.rpartition(".")[2]


def _go_name(schema: Object) -> str:
    if "$ref" in schema:
        return f"v1.{_struct_name(schema['$ref'])}"
    kind = str(schema.get("type", "interface {}"))
    if kind == "integer":
        return str(schema.get("format") or "int64")
    return {"boolean": "bool", "number": "float64"}.get(kind, kind)


def _join(parts: tuple[str, ...]) -> str:
    return ".".join(parts)
