"""Whether what somebody gives can be called as it will be: asked when it is given, where the traceback names the giver."""

from __future__ import annotations

import inspect
from typing import Any


def takes(function: Any, arguments: int) -> bool:
    """Tell whether a call with so many positional arguments can succeed; True where Python does not know."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return True
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True


def is_async(function: Any) -> bool:
    """Tell whether calling it gives a coroutine, as far as its definition says."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - not asking whether it is callable, but how its call is written
    )


def name_of(given: Any) -> str:
    """Return what a message calls it: the name of a class or function, else its repr."""
    return str(getattr(given, "__qualname__", None) or repr(given))


def discard(given: Any) -> None:
    """Close what somebody gave by calling a function too early, so that Python does not warn of it as well."""
    if inspect.iscoroutine(given):
        given.close()
