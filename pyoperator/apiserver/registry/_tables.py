"""Tables: what ``kubectl get`` prints, rendered by the server (``meta.k8s.io/v1`` Table)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry._cells import age
from pyoperator.apiserver.registry._columns import BUILTIN_TABLES, Column
from pyoperator.apiserver.registry._custom import CustomKind
from pyoperator.apiserver.registry._jsonpath import as_text, find

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyoperator.apiserver.registry._kind import Kind, Object

_NAME = Column("Name", format="name")
_CREATED = Column("Created At", "date")


def make_table(
    kind: Kind, objects: Sequence[Object], *, list_meta: Object | None, include_object: str, now: float
) -> Object:
    """Render a Table; ``include_object`` says what each row carries: nothing (None), metadata, or the object."""
    columns, cells = _layout(kind)
    rows: list[Object] = []
    for obj in objects:
        row: Object = {"cells": cells(obj, now)}
        if include_object == "Object":
            row["object"] = obj
        elif include_object == "None":
            row["object"] = None
        else:
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj.get("metadata", {}),
            }
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta or {},
        "columnDefinitions": [column.definition() for column in columns],
        "rows": rows,
    }


def _layout(kind: Kind) -> tuple[list[Column], Callable[[Object, float], list[Any]]]:
    if isinstance(kind, CustomKind):
        return _custom_layout(kind)
    table = BUILTIN_TABLES.get(kind.gvk.kind)
    if table is None:
        return [_NAME, _CREATED], lambda obj, now: [_name(obj), obj.get("metadata", {}).get("creationTimestamp")]
    columns, cells = table
    return [_NAME if column is None else column for column in columns], cells


def _name(obj: Object) -> str:
    return str(obj.get("metadata", {}).get("name", ""))


def _custom_layout(kind: CustomKind) -> tuple[list[Column], Callable[[Object, float], list[Any]]]:
    definitions = kind.printer_columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
    columns = [
        Column(
            entry["name"],
            entry["type"],
            format=entry.get("format", ""),
            priority=entry.get("priority", 0),
            description=entry.get("description", ""),
        )
        for entry in definitions
    ]
    sources = [(entry["type"], entry["jsonPath"]) for entry in definitions]

    def cells(obj: Object, now: float) -> list[Any]:
        return [_name(obj), *(_cell(kind_of, path, obj, now) for kind_of, path in sources)]

    return [_NAME, *columns], cells


def _cell(kind: str, path: str, obj: Object, now: float) -> Any:
    """Return one value as its column's type; a value of another type is left out, as the server does."""
    values = find(path, obj)
    if not values or values[0] is None:
        return None
    value = values[0]
    if kind == "string":
        # Several values (a path with * or a filter) stand in one cell.
        return as_text(value) if len(values) == 1 else ",".join(as_text(entry) for entry in values)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "date":
        return _age_cell(value, now)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if kind == "integer" else value


def _age_cell(value: Any, now: float) -> str:
    if not isinstance(value, str):
        return "<unknown>"
    try:
        return age(value, now)
    except ValueError:
        return "<invalid>"
