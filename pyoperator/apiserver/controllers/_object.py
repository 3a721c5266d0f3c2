"""Objects as plain dicts, and who controls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, Any]


def controller_uid(obj: Mapping[str, Any]) -> str:
    """Return the uid of the owner that has ``controller: true``; empty without one."""
    reference = controller_reference(obj)
    return reference["uid"] if reference is not None else ""


def controller_reference(obj: Mapping[str, Any]) -> Object | None:
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def copied(obj: Object) -> Object:
    """Return a deep copy: through JSON, which is several times faster than ``copy.deepcopy`` on plain data."""
    made: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return made
