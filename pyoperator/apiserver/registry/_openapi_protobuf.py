"""The OpenAPI v2 document in protobuf (``openapi.v2.Document`` of gnostic), which kubectl asks for.

kubectl up to 1.28 validates and finds out about field validation by this form alone, and newer ones fall back to it for
kinds that v3 does not have. Only what a reader of schemas needs is carried: definitions, and of the operations their
kinds and query parameters.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# The same as clients write it.
ASKED_AS = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

# Field numbers of openapi.v2.Schema.
_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_DOUBLES = {"multipleOf": 6, "maximum": 7, "minimum": 9}
_NUMBERS = {"maxLength": 11, "minLength": 12, "maxItems": 14, "minItems": 15, "maxProperties": 17, "minProperties": 18}
_FLAGS = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16, "readOnly": 27}
_DEFAULT, _REQUIRED, _ENUM, _ADDITIONAL, _TYPE, _ITEMS, _PROPERTIES, _EXTENSION = 5, 19, 20, 21, 22, 23, 25, 31
# Field numbers of openapi.v2.PathItem.
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def encode_v2(document: Mapping[str, Any]) -> bytes:
    """Render a v2 document (as its JSON would be) in protobuf."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    paths = b"".join(_named(2, path, _path_item(item)) for path, item in document["paths"].items())
    definitions = b"".join(_named(1, name, _schema(schema)) for name, schema in document["definitions"].items())
    return _text(1, document["swagger"]) + _bytes(2, info) + _bytes(8, paths) + _bytes(9, definitions)


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for key, number in _TEXTS.items():
        if key in schema:
            parts.append(_text(number, schema[key]))
    if "$ref" in schema:
        return b"".join(parts)
    for combined in schema.get("allOf") or ():
        if "$ref" in combined and "type" not in schema:
            # v3 wraps a reference that has a description; v2 has both side by side.
            return b"".join([_text(1, combined["$ref"]), *parts])
    if "default" in schema:
        parts.append(_bytes(_DEFAULT, _any(schema["default"])))
    parts += [_double(number, schema[key]) for key, number in _DOUBLES.items() if key in schema]
    parts += [_number(number, int(schema[key])) for key, number in _NUMBERS.items() if key in schema]
    parts += [_number(number, 1) for key, number in _FLAGS.items() if schema.get(key)]
    parts += [_text(_REQUIRED, name) for name in schema.get("required") or ()]
    parts += [_bytes(_ENUM, _any(value)) for value in schema.get("enum") or ()]
    # v2 knows neither alternatives nor null: such a value is left open, not refused.
    if not schema.get("nullable") and not schema.get("x-kubernetes-int-or-string"):
        parts.append(_typed(schema))
    parts += [
        _bytes(_EXTENSION, _text(1, key) + _bytes(2, _any(value)))
        for key, value in schema.items()
        if key.startswith("x-kubernetes-")
    ]
    return b"".join(parts)


def _typed(schema: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        parts.append(_bytes(_ADDITIONAL, _bytes(1, _schema(additional))))
    elif additional is not None:
        parts.append(_bytes(_ADDITIONAL, _number(2, int(additional))))
    if isinstance(schema.get("type"), str):
        parts.append(_bytes(_TYPE, _text(1, schema["type"])))
    if isinstance(schema.get("items"), dict):
        parts.append(_bytes(_ITEMS, _bytes(1, _schema(schema["items"]))))
    if schema.get("properties"):
        properties = (_named(1, name, _schema(entry)) for name, entry in schema["properties"].items())
        parts.append(_bytes(_PROPERTIES, b"".join(properties)))
    return b"".join(parts)


def _path_item(item: Mapping[str, Any]) -> bytes:
    return b"".join(_bytes(_METHODS[method], _operation(operation)) for method, operation in item.items())


def _operation(operation: Mapping[str, Any]) -> bytes:
    parts = [_text(5, operation["operationId"])]
    for parameter in operation.get("parameters") or ():
        query = _text(2, "query") + _text(4, parameter["name"]) + _text(6, "string") + _number(20, 1)
        # ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema
        parts.append(_bytes(8, _bytes(1, _bytes(2, _bytes(3, query)))))
    parts += [
        _bytes(13, _text(1, key) + _bytes(2, _any(value)))
        for key, value in operation.items()
        if key.startswith("x-kubernetes-")
    ]
    return b"".join(parts)


def _any(value: Any) -> bytes:
    return _text(2, msgspec.json.encode(value).decode())  # JSON is YAML, too


def _named(number: int, name: str, value: bytes) -> bytes:
    return _bytes(number, _text(1, name) + _bytes(2, value))


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return b"".join((_varint(number << 3 | 2), _varint(len(value)), value))


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _varint(value: int) -> bytes:
    return bytes(_septets(value & 0xFFFF_FFFF_FFFF_FFFF))


def _septets(value: int) -> Iterable[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
