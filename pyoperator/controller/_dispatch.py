"""From a source to the queue: predicates first, then the handler; a defect in either loses one event, not the watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.controller._events import GenericEvent, event_priority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoperator.cache import CacheEvent
    from pyoperator.controller._events import Event
    from pyoperator.controller._handlers import Handler
    from pyoperator.controller._queue import WorkQueue
    from pyoperator.controller._request import Request
    from pyoperator.controller.predicates import Predicate


class Dispatcher:
    """One watch's way into the queue; an informer's event handler as it is. Called on the loop, never blocks."""

    __slots__ = ("_handler", "_logger", "_predicates", "_queue", "errors", "events", "filtered")

    def __init__(
        self, handler: Handler, predicates: Sequence[Predicate], queue: WorkQueue[Request], logger: Any
    ) -> None:
        self._handler = handler
        self._predicates = tuple(predicates)
        self._queue = queue
        self._logger = logger
        self.events: int = 0
        self.filtered: int = 0
        self.errors: int = 0

    def on_add(self, event: CacheEvent) -> None:
        self.events += 1
        try:
            for predicate in self._predicates:
                if not predicate.create(event):
                    self.filtered += 1
                    return
            self._handler.handle(event, self._queue, event_priority(event))
        except Exception as error:
            self._failed(event, error)

    def on_update(self, event: CacheEvent) -> None:
        self.events += 1
        try:
            for predicate in self._predicates:
                if not predicate.update(event):
                    self.filtered += 1
                    return
            self._handler.handle(event, self._queue, event_priority(event))
        except Exception as error:
            self._failed(event, error)

    def on_delete(self, event: CacheEvent) -> None:
        self.events += 1
        try:
            for predicate in self._predicates:
                if not predicate.delete(event):
                    self.filtered += 1
                    return
            self._handler.handle(event, self._queue, 0)
        except Exception as error:
            self._failed(event, error)

    def on_generic(self, event: GenericEvent) -> None:
        self.events += 1
        try:
            for predicate in self._predicates:
                if not predicate.generic(event):
                    self.filtered += 1
                    return
            self._handler.handle(event, self._queue, 0)
        except Exception as error:
            self._failed(event, error)

    def __call__(self, event: Event) -> None:
        """Take any event, by its type."""
        if isinstance(event, GenericEvent):
            self.on_generic(event)
        elif event.type == "ADDED":
            self.on_add(event)
        elif event.type == "MODIFIED":
            self.on_update(event)
        else:
            self.on_delete(event)

    def _failed(self, event: Event, error: Exception) -> None:
        self.errors += 1
        self._logger.error(
            "event lost: its predicate or handler failed",
            event_type=event.type,
            namespace=event.key.namespace,
            name=event.key.name,
            handler=repr(self._handler),
            exc_info=error,
        )

    def __repr__(self) -> str:
        return f"Dispatcher({self._handler!r}, events={self.events}, filtered={self.filtered}, errors={self.errors})"
