"""What every object must look like before anything else is asked of it: a kind, and metadata of the right types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._negotiation import summary
from pyoperator.apiserver.registry import MalformedObject
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from pyoperator.apiserver.registry import Kind


class _Owner(msgspec.Struct, rename="camel", gc=False):
    api_version: str | None = None
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class _Meta(msgspec.Struct, rename="camel", gc=False):
    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    self_link: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None
    finalizers: list[str] | None = None
    managed_fields: list[dict[str, Any]] | None = None


_KNOWN = frozenset(field.encode_name for field in msgspec.structs.fields(_Meta))


def check_envelope(kind: Kind, obj: Any) -> None:
    """Check (and for built-in kinds complete) apiVersion and kind against those of the URL."""
    if not isinstance(obj, dict):
        raise _status.bad_request(
            f"the object provided is unrecognized (must be of type {kind.gvk.kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {_json_type(obj)} into Go value of type "
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
            f" ({summary(msgspec.json.encode(obj))})"
        )
    gvk = kind.gvk
    api_version, name = obj.get("apiVersion") or "", obj.get("kind") or ""
    if not isinstance(api_version, str) or not isinstance(name, str):
        raise _status.bad_request("couldn't get version/kind; json parse error: apiVersion and kind must be strings")
    if kind.custom and not name:
        raise _status.bad_request("Object 'Kind' is missing in the object")
    if kind.custom and not api_version:
        raise _status.bad_request("Object 'apiVersion' is missing in the body of the request")
    if name and name != gvk.kind and kind.custom:
        named = str((obj.get("metadata") or {}).get("name") or "")
        raise _status.invalid(gvk.group, name, named, [FieldError.invalid("kind", name, f"must be {gvk.kind}")])
    if name and name != gvk.kind:
        version = api_version.rpartition("/")[2] or gvk.version
        raise _status.bad_request(
            f'{name} in version "{version}" cannot be handled as a {gvk.kind}: converting ({version}.{name}) to '
            f"({gvk.group.partition('.')[0] or 'core'}.{gvk.kind}): unknown conversion"
        )
    if api_version and api_version != gvk.api_version:
        version = api_version.rpartition("/")[2]
        if api_version.rpartition("/")[0] == gvk.group and not kind.custom:
            raise _status.bad_request(
                f'{gvk.kind} in version "{version}" cannot be handled as a {gvk.kind}: no kind "{gvk.kind}" is registered '
                f'for version "{api_version}" in scheme "pkg/runtime/scheme.go:111"'
            )
        raise _status.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({gvk.api_version})"
        )
    obj["apiVersion"], obj["kind"] = gvk.api_version, gvk.kind


def check_metadata_types(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object's metadata dict; raises 400 for fields of the wrong type."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    try:
        msgspec.convert(metadata, _Meta)
    except msgspec.ValidationError as error:
        try:
            kind.decode({"metadata": metadata})
        except MalformedObject as better:
            raise malformed(kind, better) from better
        raise _status.bad_request(
            f'{kind.gvk.kind} in version "{kind.gvk.version}" cannot be handled as a {kind.gvk.kind}: metadata: {error}'
        ) from error
    checked: dict[str, Any] = metadata
    return checked


def malformed(kind: Kind, error: MalformedObject) -> _status.StatusError:
    """Return the 400 for a body that can't be read as this kind."""
    gvk = kind.gvk
    return _status.bad_request(f'{gvk.kind} in version "{gvk.version}" cannot be handled as a {gvk.kind}: {error}')


def settle_metadata(metadata: dict[str, Any]) -> None:
    """Drop nulls and fields that metadata does not have."""
    for key in [key for key, value in metadata.items() if value is None or key not in _KNOWN]:
        del metadata[key]


def _json_type(value: Any) -> str:
    match value:
        case list():
            return "array"
        case str():
            return "string"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case _:
            return "null"
