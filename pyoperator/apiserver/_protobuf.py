"""Bodies in Kubernetes' protobuf: read only, for clients (kubectl create, Go programs) that send built-in kinds so.

Answers are JSON, which those clients accept. The field numbers are data (``protobuf_fields.json.gz``), so a new
Kubernetes version changes no code. Custom resources have no protobuf form, in any server.
"""

from __future__ import annotations

import base64
import gzip
import struct
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver import _status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_MAX_DEPTH = 100

# One field: its JSON name ("" is inlined), form (o one, r repeated, m map), type, and whether an empty value is left out.
_Field = tuple[str, str, str, bool]


class _MalformedError(ValueError):
    pass


@cache
def _messages() -> dict[str, dict[str, _Field]]:
    packed = resources.files("pyoperator.apiserver").joinpath("protobuf_fields.json.gz").read_bytes()
    fields = msgspec.json.decode(gzip.decompress(packed), type=dict[str, dict[str, tuple[str, str, str, int]]])
    return {
        message: {number: (name, form, type_, bool(drop)) for number, (name, form, type_, drop) in known.items()}
        for message, known in fields.items()
    }


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """Return the object that a protobuf body is, as its JSON would be; raises StatusError 400."""
    if not body.startswith(_MAGIC):
        raise _status.bad_request("provided data does not appear to be a protobuf message: expected the prefix k8s\\0")
    try:
        envelope = {number: value for number, _, value in _fields(body[len(_MAGIC) :])}
        names = {number: value for number, _, value in _fields(_as_bytes(envelope.get(1, b"")))}
        api_version, kind = _text(names.get(1, b"")), _text(names.get(2, b""))
        obj = _message(_message_name(api_version, kind), _as_bytes(envelope.get(2, b"")), 0)
    except (_MalformedError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise _status.bad_request(f"error decoding the body as protobuf: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **obj}


def _message_name(api_version: str, kind: str) -> str:
    for package in (api_version, "meta/v1"):
        if f"{package}.{kind}" in _messages():
            return f"{package}.{kind}"
    raise _MalformedError(f'no kind "{kind}" is registered for version "{api_version}": send it as application/json')


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _MalformedError("unexpected end of data")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (number, wire type, value) of every field in order."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(data, at)
        elif wire in {1, 2, 5}:
            if wire == 2:
                size, at = _varint(data, at)
            else:
                size = 8 if wire == 1 else 4
            value = data[at : at + size]
            if len(value) != size:
                raise _MalformedError("unexpected end of data")
            at += size
        else:
            raise _MalformedError(f"wire type {wire} is not used by Kubernetes")
        yield tag >> 3, wire, value


def _message(name: str, data: bytes, depth: int) -> Any:
    special = _SPECIAL.get(name)
    if special is not None:
        return special(data, depth)
    if depth > _MAX_DEPTH:
        raise _MalformedError("the object is nested too deeply")
    known = _messages().get(name)
    if known is None:
        raise _MalformedError(f"{name} can't be read: send it as application/json")
    result: dict[str, Any] = {}
    for number, _, value in _fields(data):
        field = known.get(str(number))
        if field is None:
            continue  # a newer client's field: ignored, as protobuf says
        json_name, form, type_, drop_empty = field
        if form == "m":
            key, entry = _map_entry(type_, value, depth)
            result.setdefault(json_name, {})[key] = entry
            continue
        decoded = _value(type_, value, depth)
        if form == "r":
            result.setdefault(json_name, []).append(decoded)
        elif not json_name:
            result.update(decoded)
        elif decoded is not None and not (drop_empty and decoded in ("", 0, False, {}, [])):
            result[json_name] = decoded
    return result


def _map_entry(type_: str, value: int | bytes, depth: int) -> tuple[str, Any]:
    parts = {number: part for number, _, part in _fields(_as_bytes(value))}
    empty: int | bytes = 0 if type_ in {"i", "b"} else b""
    return _text(parts.get(1, b"")), _value(type_, parts.get(2, empty), depth)


def _value(type_: str, value: int | bytes, depth: int) -> Any:
    match type_:
        case "s":
            return _text(value)
        case "i":
            return _signed(value)
        case "b":
            return bool(value)
        case "y":
            return base64.b64encode(_as_bytes(value)).decode()
        case "d":
            return struct.unpack("<d", _as_bytes(value))[0]
        case _:
            return _message(type_, _as_bytes(value), depth + 1)


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _MalformedError("a number where a message was expected")
    return value


def _text(value: int | bytes) -> str:
    return _as_bytes(value).decode()


def _signed(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise _MalformedError("a message where a number was expected")
    # Negative numbers are sent as 64 bit two's complement, whatever their declared width.
    return value - (1 << 64) if value >= 1 << 63 else value


def _numbers(data: bytes) -> dict[int, int | bytes]:
    return {number: value for number, _, value in _fields(data)}


def _instant(form: str) -> Callable[[bytes, int], str | None]:
    def read(data: bytes, depth: int) -> str | None:
        if not data:
            return None  # Go's zero time
        parts = _numbers(data)
        seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
        instant = datetime.fromtimestamp(seconds, UTC).replace(microsecond=max(0, nanos) // 1000)
        return instant.strftime(form)

    return read


def _quantity(data: bytes, depth: int) -> str:
    return _text(_numbers(data).get(1, b"")) or "0"


def _int_or_string(data: bytes, depth: int) -> int | str:
    parts = _numbers(data)
    return _text(parts.get(3, b"")) if parts.get(1, 0) == 1 else _signed(parts.get(2, 0))


def _embedded_json(data: bytes, depth: int) -> Any:
    raw = _as_bytes(_numbers(data).get(1, b""))
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise _MalformedError(f"embedded JSON can't be read: {error}") from error


def _items(data: bytes, depth: int) -> list[str]:
    return [_text(value) for number, _, value in _fields(data) if number == 1]


def _duration(data: bytes, depth: int) -> str:
    return f"{_signed(_numbers(data).get(1, 0)) / 1e9:g}s"


def _schema_or(data: bytes, depth: int) -> Any:
    """JSONSchemaPropsOrArray, OrBool, OrStringArray: a schema (1 or 2), else a flag (1) or a list (2)."""
    schemas: list[Any] = []
    allows: bool | None = None
    for number, wire, value in _fields(data):
        if wire == 0:
            allows = bool(value)
        else:
            schemas.append((number, _message("apiextensions.k8s.io/v1.JSONSchemaProps", _as_bytes(value), depth + 1)))
    if allows is not None:
        return schemas[0][1] if schemas else allows
    listed = [schema for number, schema in schemas if number == 2]
    return listed or (schemas[0][1] if schemas else None)


def _schema_or_strings(data: bytes, depth: int) -> Any:
    strings = [_text(value) for number, _, value in _fields(data) if number == 2]
    schema = _numbers(data).get(1)
    return strings or (None if schema is None else _schema_or(data, depth))


_SPECIAL: dict[str, Callable[[bytes, int], Any]] = {
    "meta/v1.Time": _instant("%Y-%m-%dT%H:%M:%SZ"),
    "meta/v1.MicroTime": _instant("%Y-%m-%dT%H:%M:%S.%fZ"),
    "meta/v1.Duration": _duration,
    "meta/v1.FieldsV1": _embedded_json,
    "resource.Quantity": _quantity,
    "intstr.IntOrString": _int_or_string,
    "runtime.RawExtension": _embedded_json,
    "apiextensions.k8s.io/v1.JSON": _embedded_json,
    "apiextensions.k8s.io/v1.JSONSchemaPropsOrArray": _schema_or,
    "apiextensions.k8s.io/v1.JSONSchemaPropsOrBool": _schema_or,
    "apiextensions.k8s.io/v1.JSONSchemaPropsOrStringArray": _schema_or_strings,
    "authentication.k8s.io/v1.ExtraValue": _items,
    "authorization.k8s.io/v1.ExtraValue": _items,
    "meta/v1.Verbs": _items,
}
