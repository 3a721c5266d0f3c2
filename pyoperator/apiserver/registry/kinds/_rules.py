"""The shape of a built-in kind's own rules: plain functions, all optional."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyoperator.apiserver.registry._kind import Object, WriteContext
    from pyoperator.schema import FieldError


def _nothing(*_: Any) -> None:
    return None


def _no_faults(obj: Object, old: Object | None) -> list[FieldError]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What differs between kinds in code: defaults, what create and update set, the first status, checks.

    ``default(obj)`` must be idempotent: it runs on every write. ``client_sets_status``: a create keeps the client's
    status although there is a status subresource (Nodes register themselves with it).
    """

    default: Callable[[Object], None] = _nothing
    create: Callable[[Object, WriteContext], None] = _nothing
    update: Callable[[Object, Object, WriteContext], None] = _nothing
    status: Callable[[Object], Any] = _nothing
    check: Callable[[Object, Object | None], list[FieldError]] = _no_faults
    selectable: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    client_sets_status: bool = False


def at(path: str) -> Callable[[Object], str]:
    """Return a reader of one field as text, empty when absent: for field selectors."""
    parts = path.split(".")

    def read(obj: Object) -> str:
        value: Any = obj
        for part in parts:
            if not isinstance(value, dict):
                return ""
            value = value.get(part)
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    return read


def fields(*paths: str) -> dict[str, Callable[[Object], str]]:
    """Return readers for fields whose selector is their path."""
    return {path: at(path) for path in paths}
