"""Fill in a structural schema's defaults, as the server does on every write and every read."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def apply_defaults(schema: Mapping[str, Any], obj: Any) -> Any:
    """Add missing fields that have a default, in place, and return ``obj``.

    A null where the schema allows none counts as missing: it becomes the default, or goes if there is none. A default
    of an absent object is applied first, and then the defaults within it.
    """
    if isinstance(obj, dict):
        _object(schema, obj)
    elif isinstance(obj, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for entry in obj:
                apply_defaults(items, entry)
    return obj


def has_defaults(schema: Any) -> bool:
    """Tell whether any default occurs in the schema."""
    if not isinstance(schema, dict):
        return False
    if "default" in schema:
        return True
    inner = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(has_defaults(entry) for entry in inner)


def _object(schema: Mapping[str, Any], obj: dict[str, Any]) -> None:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    for name, entry in properties.items():
        if not isinstance(entry, dict):
            continue
        if name not in obj or (obj[name] is None and not entry.get("nullable")):
            if "default" in entry:
                obj[name] = copy.deepcopy(entry["default"])
            else:
                obj.pop(name, None)
                continue
        if isinstance(obj[name], dict | list):
            apply_defaults(entry, obj[name])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for name in [name for name in obj if name not in properties]:
            if obj[name] is None and not extra.get("nullable"):
                if "default" not in extra:
                    del obj[name]
                    continue
                obj[name] = copy.deepcopy(extra["default"])
            apply_defaults(extra, obj[name])
