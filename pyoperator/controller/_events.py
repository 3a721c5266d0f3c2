"""The events that predicates judge and handlers turn into keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pyoperator.cache import CacheEvent, Entry
    from pyoperator.objects import ObjectKey

LOW_PRIORITY = -100
"""Priority of what nobody waits for: the initial list, resyncs, and the backlog at a start of leadership."""


@dataclass(frozen=True, slots=True)
class GenericEvent:
    """Something outside the API server happened to an object: sent through a ChannelSource or a FunctionSource.

    ``new`` is the object as a cache entry, where there is one; handlers that map owners need it.
    """

    key: ObjectKey
    new: Entry | None = None

    type: Literal["GENERIC"] = "GENERIC"

    @property
    def old(self) -> None:
        return None


Event: TypeAlias = "CacheEvent | GenericEvent"


def event_priority(event: Event) -> int:
    """Return the priority an event suggests: LOW_PRIORITY for what was there before and for a resync, else 0."""
    if isinstance(event, GenericEvent):
        return 0
    if event.initial or event.resync:
        return LOW_PRIORITY
    old, new = event.old, event.new
    if old is not None and new is not None and old.metadata.resource_version == new.metadata.resource_version:
        return LOW_PRIORITY
    return 0
