"""Choose the format by content type, read the body, apply it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver.patch._errors import PatchError, unreadable
from pyoperator.apiserver.patch._json_patch import json_patch
from pyoperator.apiserver.patch._merge_patch import merge_patch
from pyoperator.apiserver.patch._strategic import strategic_merge

if TYPE_CHECKING:
    from pyoperator.apiserver.registry import Kind

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
_MOST_OPERATIONS = 10_000
_JSON_NAMES = {list: "array", dict: "object", str: "string", bool: "bool", int: "number", float: "number"}


def apply_patch(content_type: str, current: dict[str, Any], patch_body: bytes, kind: Kind) -> dict[str, Any]:
    """Return ``current`` patched; raises PatchError (415 for a format that the kind doesn't take).

    Reuses ``current``, which is of no use to anybody else afterwards, not even when this raises.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in _APPLY:
        raise PatchError(
            415,
            "UnsupportedMediaType",
            "server-side apply is not served by this server: use kubectl apply without --server-side, "
            "a merge patch, or a JSON patch",
        )
    accepted = [JSON_PATCH, MERGE_PATCH] + ([] if kind.custom else [STRATEGIC_PATCH])
    if media not in accepted:
        listed = ", ".join(accepted)
        message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
        raise PatchError(415, "UnsupportedMediaType", message)
    patch = _read(patch_body, list if media == JSON_PATCH else dict)
    if media == JSON_PATCH:
        if len(patch) > _MOST_OPERATIONS:
            message = f"the allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(patch)}"
            raise PatchError(413, "RequestEntityTooLarge", message)
        result = json_patch(current, patch)
    elif media == MERGE_PATCH:
        result = merge_patch(current, patch)
    else:
        result = strategic_merge(current, patch, kind)
    if not isinstance(result, dict):
        raise unreadable(f"the patched object is a JSON {_JSON_NAMES.get(type(result), 'null')}")
    return result


def _read(body: bytes, wanted: type) -> Any:
    if not body.strip():
        raise unreadable("unexpected end of JSON input")
    try:
        patch = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise unreadable(str(error)) from error
    if not isinstance(patch, wanted):
        target = "[]handlers.jsonPatchOp" if wanted is list else "map[string]interface {}"
        found = _JSON_NAMES.get(type(patch), "null")
        raise unreadable(f"json: cannot unmarshal {found} into Go value of type {target}")
    return patch
