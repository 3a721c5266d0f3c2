"""JSON patch (RFC 6902), with the API server's two liberties.

``replace`` of an absent member of an object adds it, and negative indexes count from the end of a list.
"""

from __future__ import annotations

import copy
from typing import Any

from pyoperator.apiserver.patch._errors import inapplicable

_MISSING = object()


def json_patch(document: Any, operations: list[Any]) -> Any:
    """Return the document after all operations (it is changed in place); raises PatchError."""
    for operation in operations:
        if not isinstance(operation, dict):
            raise inapplicable()
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _add(document, path, operation.get("value"))
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            return _replace(document, path, operation.get("value"))
        case "move":
            origin = _pointer(operation.get("from"))
            if path[: len(origin)] == origin and len(path) > len(origin):
                raise inapplicable()  # an object can't move into itself
            document, value = _remove(document, origin)
            return _add(document, path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _pointer(operation.get("from")))))
        case "test":
            if not _equal(_get(document, path, missing=None), operation.get("value")):
                raise inapplicable()
            return document
    raise inapplicable()


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise inapplicable()
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(part: str, length: int, *, end: int) -> int:
    """Return the position that a path's last part names; ``end`` is the highest allowed one."""
    digits = part.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (len(digits) > 1 and digits[0] == "0"):
        raise inapplicable()
    index = int(part)
    if index < 0:
        index += length
    if not 0 <= index <= end:
        raise inapplicable()
    return index


def _child(container: Any, part: str) -> Any:
    if isinstance(container, dict):
        if part not in container:
            raise inapplicable()
        return container[part]
    if isinstance(container, list):
        return container[_index(part, len(container), end=len(container) - 1)]
    raise inapplicable()


def _get(document: Any, path: list[str], *, missing: Any = _MISSING) -> Any:
    value = document
    for position, part in enumerate(path):
        if missing is not _MISSING and position == len(path) - 1 and isinstance(value, dict) and part not in value:
            return missing
        value = _child(value, part)
    return value


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    container, last = _get(document, path[:-1]), path[-1]
    if isinstance(container, dict):
        container[last] = value
    elif isinstance(container, list):
        if last == "-":
            container.append(value)
        else:
            # A negative index counts from the end of the longer list.
            container.insert(_index(last, len(container) + 1, end=len(container)), value)
    else:
        raise inapplicable()
    return document


def _remove(document: Any, path: list[str]) -> tuple[Any, Any]:
    if not path:
        raise inapplicable()
    container, last = _get(document, path[:-1]), path[-1]
    value = _child(container, last)
    if isinstance(container, dict):
        del container[last]
    else:
        del container[_index(last, len(container), end=len(container) - 1)]
    return document, value


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    container, last = _get(document, path[:-1]), path[-1]
    if isinstance(container, dict):
        container[last] = value
    elif isinstance(container, list):
        container[_index(last, len(container), end=len(container) - 1)] = value
    else:
        raise inapplicable()
    return document


def _equal(left: Any, right: Any) -> bool:
    """Compare as JSON: true is not 1, and order of members does not matter."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
