"""One stored Event, two views: ``v1`` (what is stored) and ``events.k8s.io/v1`` (other names for the same fields)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind import Object

_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {core: new for new, core in _NAMES.items()}


def events_to_core(obj: Object) -> Object:
    """Return the object to store for an ``events.k8s.io/v1`` Event."""
    return {_NAMES.get(key, key): value for key, value in obj.items()} | {"apiVersion": "v1"}


def core_to_events(obj: Object) -> Object:
    """Return the ``events.k8s.io/v1`` view of a stored Event."""
    view = {_BACK.get(key, key): value for key, value in obj.items()} | {"apiVersion": "events.k8s.io/v1"}
    for name in ("reportingController", "reportingInstance"):
        if view.get(name) == "":
            del view[name]  # v1 shows empty texts here, this version leaves them out
    return view
