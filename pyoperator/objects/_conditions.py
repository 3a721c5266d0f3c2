"""Status conditions: set and merge them as Kubernetes' API conventions say (``meta.SetStatusCondition`` in Go)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pyoperator.objects._custom_resource import Model
from pyoperator.objects._timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable


class Condition(Model):
    """One entry of ``status.conditions`` (``metav1.Condition``)."""

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
    """Add or update ``new`` in the list; return whether anything changed.

    ``now`` is Unix seconds (``clock.wall()``). The transition time moves only when the status does; a time already set
    on ``new`` is kept for a condition that is new or changes its status.
    """
    current = find_condition(conditions, new.type)
    if current is None:
        added = new.model_copy()
        added.last_transition_time = new.last_transition_time or format_time(now)
        conditions.append(added)
        return True
    changed = False
    if current.status != new.status:
        current.status = new.status
        current.last_transition_time = new.last_transition_time or format_time(now)
        changed = True
    for field in ("reason", "message", "observed_generation"):
        value = getattr(new, field)
        if getattr(current, field) != value:
            setattr(current, field, value)
            changed = True
    return changed
