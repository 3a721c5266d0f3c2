"""Refuse what can't work where it is given: later it would fail at every event, or at every reconcile, for ever."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pyoperator._callables import discard, is_async, name_of, takes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyoperator.controller._handlers import Handler
    from pyoperator.controller._request import Request
    from pyoperator.controller._sources import Source
    from pyoperator.controller.predicates import Predicate

_EVENTS = ("create", "update", "delete", "generic")


def reconciler_function(reconciler: Any) -> Callable[[Request], Any]:
    """Return what is to be called with a request: a reconciler's method, or the function itself. Raises TypeError."""
    if isinstance(reconciler, type):
        raise TypeError(f"{reconciler.__qualname__} is a class: give an instance, {reconciler.__qualname__}(...)")
    function = getattr(reconciler, "reconcile", reconciler)
    if not callable(function):
        discard(reconciler)
        raise TypeError(
            f"{reconciler!r} is no reconciler: give an object with a method reconcile(request), or a function of it"
        )
    what = name_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{what} is a generator, calling it reconciles nothing: return a Result instead of yielding")
    if not takes(function, 1):
        raise TypeError(
            f"{what}{inspect.signature(function)} can't be called with a request alone: a reconciler takes one argument, "
            "reconcile(request); what else it needs belongs to its object, or into functools.partial"
        )
    return function  # type: ignore[no-any-return]  # callable is all that can be known


def checked_handler(handler: Any) -> Handler:
    """Return it if it is a handler; raises TypeError that says how to make one."""
    if isinstance(handler, type):
        raise TypeError(f"{handler.__qualname__} is a class: give an instance, {handler.__qualname__}(...)")
    handle = getattr(handler, "handle", None)
    if not callable(handle):
        discard(handler)
        if callable(handler):
            raise TypeError(
                f"{name_of(handler)} is a function, not a handler: one that names what to reconcile goes into "
                f"EnqueueMapped({name_of(handler)}), one that fills the queue into HandlerFunctions(create=..., ...)"
            )
        raise TypeError(
            f"{handler!r} is no handler: give EnqueueForObject(), EnqueueForOwner(Kind), EnqueueMapped(function), or an "
            "object with a method handle(event, queue, priority)"
        )
    if is_async(handle):
        raise TypeError(f"{name_of(handle)} is async, and nobody would await it: a handler is synchronous and quick")
    if not takes(handle, 3):
        raise TypeError(
            f"{name_of(handle)}{inspect.signature(handle)}: a handler's method is handle(event, queue, priority)"
        )
    return handler  # type: ignore[no-any-return]


def checked_predicate(predicate: Any) -> Predicate:
    """Return it if it is a predicate; raises TypeError that says how to make one."""
    if isinstance(predicate, type):
        raise TypeError(f"{predicate.__qualname__} is a class: give an instance, {predicate.__qualname__}(...)")
    missing = [name for name in _EVENTS if not callable(getattr(predicate, name, None))]
    if missing == list(_EVENTS) and callable(predicate):
        raise TypeError(
            f"{name_of(predicate)} is a function, not a predicate: say which events it judges, as in "
            f"predicates.Predicates(update={name_of(predicate)})"
        )
    if missing:
        discard(predicate)
        raise TypeError(
            f"{predicate!r} is no predicate, it has no {', no '.join(missing)}: give one of pyoperator.controller.predicates, "
            "or an object with the methods create, update, delete and generic"
        )
    for name in _EVENTS:
        checked_function(f"the predicate's {name}", getattr(predicate, name), 1, "event")
    return predicate  # type: ignore[no-any-return]


def checked_predicates(given: Any) -> tuple[Predicate, ...]:
    """Return the predicates of one watch as a tuple; raises TypeError for a single one, or for what is none."""
    found: Iterable[Any]
    try:
        found = tuple(given)
    except TypeError:
        checked_predicate(given)
        raise TypeError(f"predicates={given!r}: give a list, predicates=[{given!r}]") from None
    return tuple(checked_predicate(predicate) for predicate in found)


def checked_source(source: Any) -> Source:
    """Return it if it is a source; raises TypeError."""
    from pyoperator.controller._sources import Source

    if isinstance(source, type):
        raise TypeError(f"{source.__qualname__} is a class: give an instance, {source.__qualname__}(...)")
    if not isinstance(source, Source):
        discard(source)
        raise TypeError(
            f"{name_of(source)} is no source: give a ChannelSource(), a FunctionSource(function), or an object whose class "
            "derives from Source; for a kind of the API server use watches(Kind, handler)"
        )
    return source


def checked_function(what: str, function: Any, arguments: int, names: str, *, may_be_async: bool = False) -> Any:
    """Return a function that will be called with so many arguments, ``names`` in words; raises TypeError."""
    if not callable(function):
        discard(function)
        raise TypeError(f"{what} is {function!r}: give a function of ({names}), not what it returns")
    if not may_be_async and is_async(function):
        raise TypeError(f"{what}, {name_of(function)}, is async, and nobody would await it: give a plain function")
    if not takes(function, arguments):
        raise TypeError(f"{what} is {name_of(function)}{inspect.signature(function)}: it will be called with ({names})")
    return function
