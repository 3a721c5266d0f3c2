"""The JSONPath of printer columns, selectable fields and scale: fields, indexes, quoted keys, ``*``, ``..``, simple filters."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"\.\.(?P<descend>[\w\\./-]+|\*)"
    r"|\.(?P<name>(?:\\.|[^.\[\\])+)"
    r"|\[\?\(\s*@\.(?P<key>[\w.\\-]+)\s*(?P<operator>==|!=|>=|<=|>|<)?\s*(?P<value>'[^']*'|\"[^\"]*\"|[^)\s]*)\s*\)\]"
    r"|\[(?P<quoted>'[^']*'|\"[^\"]*\")\]"
    r"|\[(?P<slice>-?\d*:-?\d*)\]"
    r"|\[(?P<index>-?\d+)\]"
    r"|\[(?P<all>\*)\]"
)


class JSONPathError(ValueError):
    """The text is no JSONPath that this server understands."""


@lru_cache(maxsize=1024)
def parse(path: str) -> tuple[tuple[str, Any], ...]:
    """Split a path such as ``.spec.items[?(@.type=="Ready")].status`` into steps; raises JSONPathError."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[tuple[str, Any]] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise JSONPathError(f"{path!r} is not a JSONPath: cannot read {text[position:]!r}")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> tuple[str, Any]:
    found = match.groupdict()
    if found["descend"] is not None:
        return "descend", found["descend"]
    if found["name"] is not None:
        name = found["name"].replace("\\", "")
        return ("all", None) if name == "*" else ("name", name)
    if found["key"] is not None:
        return "filter", (found["key"].replace("\\", "").split("."), found["operator"], _literal(found["value"]))
    if found["quoted"] is not None:
        return "name", found["quoted"][1:-1]
    if found["slice"] is not None:
        low, _, high = found["slice"].partition(":")
        return "slice", slice(int(low) if low else None, int(high) if high else None)
    return ("index", int(found["index"])) if found["index"] is not None else ("all", None)


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return text[1:-1]
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def find(path: str, obj: Any) -> list[Any]:
    """Return all values at the path, none for a path that leads nowhere."""
    values = [obj]
    for kind, argument in parse(path):
        values = [found for value in values for found in _take(kind, argument, value)]
    return values


def first_text(path: str, obj: Any) -> str:
    """Return the first value at the path as text, empty for none."""
    values = find(path, obj)
    return as_text(values[0]) if values and values[0] is not None else ""


def as_text(value: Any) -> str:
    """Render a value as the server prints it in a cell."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _take(kind: str, argument: Any, value: Any) -> list[Any]:
    match kind:
        case "name":
            return [value[argument]] if isinstance(value, dict) and argument in value else []
        case "index":
            inside = isinstance(value, list) and -len(value) <= argument < len(value)
            return [value[argument]] if inside else []
        case "slice":
            return list(value[argument]) if isinstance(value, list) else []
        case "all":
            if isinstance(value, dict):
                return list(value.values())
            return list(value) if isinstance(value, list) else []
        case "filter":
            return [entry for entry in value if _passes(entry, *argument)] if isinstance(value, list) else []
    return _descend(value, argument)


def _descend(value: Any, name: str) -> list[Any]:
    found: list[Any] = []
    if isinstance(value, dict):
        found += list(value.values()) if name == "*" else ([value[name]] if name in value else [])
        for entry in value.values():
            found += _descend(entry, name)
    elif isinstance(value, list):
        for entry in value:
            found += _descend(entry, name)
    return found


def _passes(entry: Any, keys: list[str], operator: str | None, wanted: Any) -> bool:
    value = entry
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    if operator is None:
        return True
    if operator in ("==", "!="):
        return bool((value == wanted) == (operator == "=="))
    try:
        return bool({">": value > wanted, "<": value < wanted, ">=": value >= wanted, "<=": value <= wanted}[operator])
    except TypeError:
        return False
