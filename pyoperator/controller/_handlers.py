"""Handlers: from an event to the keys that must be reconciled because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pyoperator.controller._arguments import checked_function
from pyoperator.controller._request import Request
from pyoperator.objects import GroupVersionKind, ObjectKey, Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyoperator.cache import Entry
    from pyoperator.controller._events import Event
    from pyoperator.controller._queue import WorkQueue


class Handler(Protocol):
    """Put keys into the queue; synchronous and quick.

    ``priority`` is what the event suggests (-100 for the initial list and resyncs, else 0); pass it on unless you know
    better. An exception is logged and counted and loses this event only.
    """

    def handle(self, event: Event, queue: WorkQueue[Request], priority: int) -> None: ...


class EnqueueForObject:
    """Reconcile the object that the event is about."""

    def handle(self, event: Event, queue: WorkQueue[Request], priority: int) -> None:
        queue.add(Request(*event.key), priority=priority)

    def __repr__(self) -> str:
        return "EnqueueForObject()"


class EnqueueForOwner:
    """Reconcile the owners, of kind ``owner``, of the object that the event is about.

    Owners are matched by group and kind; the version in the reference may be an old one. An update counts for the
    owners before and after it. Only the owner with ``controller: true`` counts, unless ``match_every_owner``.
    ``owner`` is a class or a GVK that ``scheme`` knows; ``namespaced`` spares the scheme for a GVK it does not know.
    """

    def __init__(
        self,
        owner: Any,
        *,
        match_every_owner: bool = False,
        scheme: Scheme | None = None,
        namespaced: bool | None = None,
    ) -> None:
        if isinstance(owner, GroupVersionKind) and namespaced is not None:
            gvk = owner
        else:
            resource = (scheme or Scheme()).resource(owner)
            gvk = resource.gvk
            namespaced = resource.namespaced if namespaced is None else namespaced
        self._group = gvk.group
        self._kind = gvk.kind
        self._namespaced = namespaced
        self._every = match_every_owner

    def handle(self, event: Event, queue: WorkQueue[Request], priority: int) -> None:
        requests: dict[Request, None] = {}
        if event.old is not None:
            self._collect(event.old, requests)
        if event.new is not None:
            self._collect(event.new, requests)
        for request in requests:
            queue.add(request, priority=priority)

    def _collect(self, entry: Entry, into: dict[Request, None]) -> None:
        metadata = entry.metadata
        for reference in metadata.owner_references:
            if (
                reference.kind == self._kind
                and (self._every or reference.controller)
                and reference.api_version.rpartition("/")[0] == self._group
            ):
                into[Request(metadata.namespace if self._namespaced else "", reference.name)] = None

    def __repr__(self) -> str:
        every = ", match_every_owner=True" if self._every else ""
        return f"EnqueueForOwner({self._kind}{'.' if self._group else ''}{self._group}{every})"


class EnqueueMapped:
    """Reconcile what a function names: called with the state before and after, its keys are joined.

    ``function`` gets the cache entry (metadata, bytes); with ``kind`` it gets the decoded object, at the cost of
    decoding for each event. A generic event without an object maps to nothing. It returns Requests or other object keys
    (``Request.of(obj)`` makes one); for anything else, such as a single Request, the event is lost with a TypeError.
    """

    def __init__(self, function: Callable[[Any], Iterable[ObjectKey]], *, kind: Any = None) -> None:
        self._function = checked_function("EnqueueMapped's function", function, 1, "object")
        self._kind = kind

    def handle(self, event: Event, queue: WorkQueue[Request], priority: int) -> None:
        requests: dict[Request, None] = {}
        for entry in (event.old, event.new):
            if entry is not None:
                argument = entry if self._kind is None else entry.decode(self._kind)
                key: Any  # whatever the user's function says
                for key in self._function(argument):
                    if not isinstance(key, ObjectKey):
                        # A lone Request, being a tuple, would otherwise be taken for two keys, its namespace and its name.
                        raise TypeError(
                            f"{self!r} named {key!r}: return an iterable of Requests, such as [Request(...)]"
                        )
                    requests[key if isinstance(key, Request) else Request(*key)] = None
        for request in requests:
            queue.add(request, priority=priority)

    def __repr__(self) -> str:
        return f"EnqueueMapped({getattr(self._function, '__qualname__', self._function)!s})"


class HandlerFunctions:
    """Build a handler from functions ``(event, queue, priority)``; an event without a function is dropped."""

    def __init__(
        self,
        *,
        create: Callable[[Any, WorkQueue[Request], int], None] | None = None,
        update: Callable[[Any, WorkQueue[Request], int], None] | None = None,
        delete: Callable[[Any, WorkQueue[Request], int], None] | None = None,
        generic: Callable[[Any, WorkQueue[Request], int], None] | None = None,
    ) -> None:
        for name, function in (("create", create), ("update", update), ("delete", delete), ("generic", generic)):
            if function is not None:
                checked_function(f"HandlerFunctions' {name}", function, 3, "event, queue, priority")
        self._functions = {"ADDED": create, "MODIFIED": update, "DELETED": delete, "GENERIC": generic}

    def handle(self, event: Event, queue: WorkQueue[Request], priority: int) -> None:
        function = self._functions[event.type]
        if function is not None:
            function(event, queue, priority)

    def __repr__(self) -> str:
        return f"HandlerFunctions({', '.join(name for name, function in self._functions.items() if function)})"
