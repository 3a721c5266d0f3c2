"""From a pydantic model to a structural OpenAPI v3 schema, as a CRD needs it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pyoperator.schema._formats import KNOWN_FORMATS
from pyoperator.schema.patterns import PatternError, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from pydantic_core import core_schema

_REFERENCE = "#/$defs/"
_KEPT = (
    "description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf",
    "minItems", "maxItems", "minProperties", "maxProperties", "required", "nullable", "example", "externalDocs",
)  # fmt: skip
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_LIST_TYPE = "x-kubernetes-list-type"
_MAP_KEYS = "x-kubernetes-list-map-keys"


class StructuralSchemaError(TypeError):
    """A model says something that a structural schema can't: the message names the field and a way out."""


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model, references inlined, by the names on the wire.

    ``Optional`` fields are simply not required; to allow an explicit null use
    ``Field(json_schema_extra={"nullable": True})``. ``x-kubernetes-*`` keys pass through from ``json_schema_extra``;
    a model with ``x-kubernetes-list-map-keys``, as Condition is, makes lists of it maps by these keys.
    Fields of type ``Any`` and ``dict[str, Any]`` keep unknown fields; models do not, whatever their ``extra`` is.
    Raises StructuralSchemaError.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator, mode="validation")
    return _Translation(schema.get("$defs") or {}).translate(schema, model.__name__, ())


class _Generator(GenerateJsonSchema):
    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        # pydantic's duration is ISO 8601 (PT15S), the server's is Go's (15s): no common format.
        return {"type": "string"}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {"type": "string"}


class _Translation:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def translate(self, schema: Mapping[str, Any], where: str, seen: tuple[str, ...]) -> dict[str, Any]:
        schema, seen = self._inline(schema, where, seen)
        schema = self._choose(schema, where)
        if "$ref" in schema:  # what was optional stood behind a reference
            schema, seen = self._inline(schema, where, seen)
        result: dict[str, Any] = {}
        if "description" in schema:
            result["description"] = schema["description"]
        if "const" in schema:
            schema = {**schema, "enum": [schema["const"]]}
        if "enum" in schema and "type" not in schema:
            schema = {**schema, "type": self._type_of(schema["enum"], where)}
        for key in _KEPT:
            if key in schema:
                result[key] = copy.deepcopy(schema[key])  # a model used twice must not share lists
        self._check_pattern(schema.get("pattern"), where)
        result |= {key: value for key, value in schema.items() if key.startswith("x-kubernetes-")}
        if result.get("type") != "array":
            result.pop(_MAP_KEYS, None)  # what a model says for the lists of it
        if result.get("format") not in KNOWN_FORMATS:
            result.pop("format", None)
        self._limits(schema, result)
        if schema.get("default") is not None:
            result["default"] = schema["default"]
        self._children(schema, result, where, seen)
        for key in ("anyOf", "oneOf", "allOf", "not"):
            if key in schema:
                result[key] = copy.deepcopy(schema[key])  # a model used twice must not share lists
        if not result.get("type") and not result.get("x-kubernetes-int-or-string"):
            result.setdefault(_PRESERVE, True)
        return result

    def _inline(
        self, schema: Mapping[str, Any], where: str, seen: tuple[str, ...]
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        merged = dict(schema)
        merged.pop("$defs", None)
        while "$ref" in merged:
            name = merged.pop("$ref").removeprefix(_REFERENCE)
            if name in seen:
                raise StructuralSchemaError(
                    f"{where}: {name} contains itself, which a structural schema can't express: "
                    "use dict[str, Any] at some depth"
                )
            seen = (*seen, name)
            merged = {**self._definitions[name], **merged}
        return merged, seen

    def _choose(self, schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """Reduce ``X | None`` to X and ``int | str`` to int-or-string."""
        if schema.get("x-kubernetes-int-or-string") or "anyOf" not in schema:
            if "oneOf" in schema and "type" not in schema:
                raise StructuralSchemaError(self._union(where))
            return schema
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(options) == 1:
            # What the field itself says wins over what its type says.
            return {**options[0], **rest}
        types = {option.get("type") for option in options}
        if types == {"integer", "string"}:
            limits = {key: value for option in options for key, value in option.items() if key != "type"}
            return {
                **limits,
                **rest,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            }
        if types == {"integer", "number"}:
            return {**rest, "type": "number"}
        if "type" in schema:
            return schema  # extra conditions of a field that has its type
        raise StructuralSchemaError(self._union(where))

    @staticmethod
    def _check_pattern(pattern: Any, where: str) -> None:
        """Refuse what pydantic takes and a cluster does not: its own patterns are another dialect, or Python's."""
        if not isinstance(pattern, str):
            return
        try:
            compile_pattern(pattern)
        except PatternError as error:
            raise StructuralSchemaError(
                f"{where}: a cluster refuses the pattern {pattern!r} ({error}): write it as RE2 has it, without lookaround, "
                "backreferences, possessive forms and counts above 1000, or say it with a rule (x-kubernetes-validations)"
            ) from error

    @staticmethod
    def _union(where: str) -> str:
        return (
            f"{where}: a union of several types has no structural schema: use one type, int | str, or one optional "
            "field per alternative"
        )

    @staticmethod
    def _type_of(values: list[Any], where: str) -> str:
        types = {_JSON_TYPES[type(value)] for value in values if value is not None}
        if len(types) != 1:
            raise StructuralSchemaError(f"{where}: the values of an enumeration must be of one type")
        return types.pop()

    @staticmethod
    def _limits(schema: Mapping[str, Any], result: dict[str, Any]) -> None:
        # JSON Schema has numbers here; CRDs have OpenAPI 3.0's flags.
        for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            value = schema.get(exclusive)
            if isinstance(value, bool):
                result[exclusive] = value
            elif value is not None:
                result[limit] = value
                result[exclusive] = True

    def _children(self, schema: Mapping[str, Any], result: dict[str, Any], where: str, seen: tuple[str, ...]) -> None:
        if schema.get("type") == "array":
            if "prefixItems" in schema:
                raise StructuralSchemaError(f"{where}: a tuple of fixed length has no structural schema: use list[X]")
            result["items"] = self.translate(schema.get("items") or {}, f"{where}[]", seen)
            keys = self._inline(schema.get("items") or {}, where, seen)[0].get(_MAP_KEYS)
            if keys and _LIST_TYPE not in result:
                result[_LIST_TYPE] = "map"
                result[_MAP_KEYS] = [*keys]
            if schema.get("uniqueItems"):
                result.setdefault(_LIST_TYPE, "set")
        properties = schema.get("properties")
        if properties is not None:
            result["properties"] = {
                name: self.translate(entry, f"{where}.{name}", seen) for name, entry in properties.items()
            }
        elif schema.get("type") == "object":
            extra = schema.get("additionalProperties")
            if isinstance(extra, dict) and extra:
                result["additionalProperties"] = self.translate(extra, f"{where}.*", seen)
            elif extra is not False:
                result.setdefault(_PRESERVE, True)
