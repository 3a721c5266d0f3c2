"""Status conditions: set and merge them as Kubernetes' API conventions say (``meta.SetStatusCondition`` in Go)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import ConfigDict

from pyoperator.objects._custom_resource import Model
from pyoperator.objects._timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

# The limits of metav1.Condition, as controller-gen writes them into a CRD. The server holds a condition to them, the model
# does not: what is stored already, perhaps by an older version of a CRD, must stay readable.
_LIMITS: Final[dict[str, dict[str, Any]]] = {
    "type": {
        "maxLength": 316,
        "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    },
    "reason": {"minLength": 1, "maxLength": 1024, "pattern": r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    "message": {"maxLength": 32768},
    "lastTransitionTime": {"format": "date-time"},
    "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
}


def _as_in_go(schema: dict[str, Any]) -> None:
    for name, limits in _LIMITS.items():
        field = schema["properties"][name]
        field.pop("default", None)
        field.pop("anyOf", None)
        field.update(limits)
    schema["required"] = ["lastTransitionTime", "message", "reason", "status", "type"]
    # Of a list of conditions: one per type, merged by it (what `+listType=map` says in Go).
    schema["x-kubernetes-list-map-keys"] = ["type"]


class Condition(Model):
    """One entry of ``status.conditions`` (``metav1.Condition``)."""

    # Made without last_transition_time, which set_condition adds. The docstring stands in every CRD, and is kept short.
    model_config: ClassVar[ConfigDict] = ConfigDict(json_schema_extra=_as_in_go)

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int | None = None


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_condition_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Tell whether the condition of that type is present and True."""
    found = find_condition(conditions, type_)
    return found is not None and found.status == "True"


def set_condition(conditions: list[Condition], new: Condition, *, now: float) -> bool:
    """Add ``new`` to the list, or put it in the place of the one of its type; return whether anything changed.

    ``now`` is Unix seconds (``clock.wall()``). The transition time moves only when the status does; a time already set
    on ``new`` is kept for a condition that is new or changes its status. Only the list changes, never an entry: a copy of
    the list (``list(app.status.conditions)``) leaves the object that it came from as it was, for a patch to compare with.
    """
    for index, current in enumerate(conditions):
        if current.type == new.type:
            merged = _merged(current, new, now)
            if merged is None:
                return False
            conditions[index] = merged
            return True
    conditions.append(_begun(new, now))
    return True


def _begun(new: Condition, now: float) -> Condition:
    # message is required in a CRD: assigned, it counts as set, and is sent.
    return new.model_copy(
        update={"last_transition_time": new.last_transition_time or format_time(now), "message": new.message}
    )


def _merged(current: Condition, new: Condition, now: float) -> Condition | None:
    """Return ``current`` with what ``new`` changes; None if nothing."""
    update: dict[str, Any] = {}
    if current.status != new.status:
        update["status"] = new.status
        update["last_transition_time"] = new.last_transition_time or format_time(now)
    for field in ("reason", "message", "observed_generation"):
        value = getattr(new, field)
        if getattr(current, field) != value:
            update[field] = value
    return current.model_copy(update=update) if update else None
