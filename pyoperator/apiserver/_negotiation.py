"""Which form of an answer the client wants, and what its body is: media types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._protobuf import PROTOBUF, decode_protobuf

JSON = "application/json"
YAML = "application/yaml"
Shape = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]

_YAML_NAMES = frozenset({YAML, "application/x-yaml", "text/yaml"})
_SHAPES: frozenset[str] = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
_MAX_DEPTH = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """The first form in the Accept header that this server has: ``shape`` "" is the object itself."""

    media_type: str = JSON
    shape: Shape = ""
    shape_version: str = "v1"
    pretty: bool = False


@lru_cache(maxsize=256)
def negotiate(accept: str, *, pretty: bool = False) -> Wanted:
    """Choose by the client's order and weights; raises 406 when nothing fits (protobuf, CBOR alone)."""
    if not accept:
        return Wanted(pretty=pretty)
    clauses: list[tuple[float, int, str, dict[str, str]]] = []
    for index, clause in enumerate(accept.split(",")):
        media, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(part.partition("=")[::2] for part in parameters)
        try:
            weight = float(options.get("q", "1"))
        except ValueError:
            weight = 1.0
        clauses.append((-weight, index, media.lower(), {key: value.strip('"') for key, value in options.items()}))
    for _, _, media, options in sorted(clauses, key=lambda clause: clause[:2]):
        if media in {JSON, "*/*", "application/*"}:
            media_type = JSON
        elif media in _YAML_NAMES:
            media_type = YAML
        else:
            continue
        shape = options.get("as", "")
        if not shape:
            return Wanted(media_type, pretty=pretty)
        if shape in _SHAPES and options.get("g") == "meta.k8s.io" and options.get("v") in {"v1", "v1beta1"}:
            return Wanted(media_type, shape, options["v"], pretty)  # type: ignore[arg-type]  # checked right above
    raise _status.not_acceptable()


def encode(document: Any, wanted: Wanted) -> bytes:
    """Render a JSON-like value (or JSON bytes) in the wanted media type."""
    if wanted.media_type == YAML:
        import yaml  # slow to import, seldom used

        value = msgspec.json.decode(document) if isinstance(document, bytes) else document
        text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True)
        return text.encode()
    data = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return msgspec.json.format(data, indent=2) if wanted.pretty else data


def decode_object(body: bytes, content_type: str, expected: str = "") -> Any:
    """Read a request's body; raises 415 for other media types and 400 for what is not JSON or YAML."""
    media = content_type.partition(";")[0].strip().lower() or JSON
    if media == JSON:
        decoded = decode_json(body, expected)
        return {} if decoded is None else decoded
    if media in _YAML_NAMES:
        return _decode_yaml(body)
    if media == PROTOBUF:
        return decode_protobuf(body)
    raise _status.unsupported_media_type((JSON, YAML, PROTOBUF))


def decode_json(body: bytes, expected: str = "") -> Any:
    """Read JSON; ``expected`` is the kind that a message names. Raises 400."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "unexpected end of JSON input" if "truncated" in str(error) else str(error)
        raise _status.bad_request(
            f"the object provided is unrecognized (must be of type {expected or 'object'}): couldn't get version/kind; "
            f"json parse error: {reason} ({summary(body)})"
        ) from error
    except RecursionError as error:
        raise _status.bad_request("error decoding the body as JSON: exceeded max depth") from error


def duplicate_fields(body: bytes, content_type: str) -> list[str]:
    """Return ``duplicate field "data.k"`` for every key that a JSON body has twice in one object."""
    if (content_type.partition(";")[0].strip().lower() or JSON) != JSON:
        return []
    try:
        return _duplicates(json.loads(body, object_pairs_hook=_Pairs), "")
    except (ValueError, RecursionError):
        return []  # what can't be read is refused elsewhere


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they stand in the body."""


def _duplicates(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, member in value:
            here = f"{path}.{key}" if path else key
            if key in seen:
                found.append(f'duplicate field "{here}"')
            seen.add(key)
            found += _duplicates(member, here)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            found += _duplicates(entry, f"{path}[{index}]")
    return found


def summary(body: bytes) -> str:
    """Show the beginning of a body: text if it looks like JSON, else hexadecimal."""
    if not body:
        return "<empty>"
    shown, cut = (body, "") if len(body) <= 30 else (body[:30], " ...")
    return (shown.decode("utf-8", "replace") if body.startswith(b"{") else shown.hex()) + cut


def _decode_yaml(body: bytes) -> Any:
    import yaml

    try:
        depth = 0
        for event in yaml.parse(body, Loader=_loader()):
            if isinstance(event, yaml.AliasEvent):
                # A few lines of aliases can stand for gigabytes, and no Kubernetes object needs one.
                raise _status.bad_request("error decoding the body as YAML: aliases are not accepted; write values out")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                raise _status.bad_request("error decoding the body as YAML: exceeded max depth")
        value = yaml.load(body, Loader=_loader())  # noqa: S506  # a safe loader
        return msgspec.json.decode(msgspec.json.encode(_plain(value)))
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise _status.bad_request(f"error converting YAML to JSON: {text}") from error


def _plain(value: Any) -> Any:
    """Undo YAML's own types: dates are text, keys are text, as in the server's YAML-to-JSON conversion."""
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _loader() -> Any:
    return _make_loader()


_made: list[Any] = []


def _make_loader() -> Any:
    import yaml

    if not _made:
        base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

        class Loader(base):  # type: ignore[misc]  # the base depends on whether libyaml is there
            """The safe loader without timestamps: 2026-01-01 stays text, as in Go's decoder."""

        Loader.yaml_implicit_resolvers = {
            first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in base.yaml_implicit_resolvers.items()
        }
        _made.append(Loader)
    return _made[0]
