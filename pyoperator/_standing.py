"""Where something stands that does not end: a coroutine that waits, a thread that works, a loop that does not turn.

A stack is a tuple of :class:`Place`, outermost call first. Nothing here reads a file: it is asked in emergencies.
"""

from __future__ import annotations

import os
import sys
from asyncio import events
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from types import CodeType, FrameType

_STANDARD_LIBRARY: Final = os.path.dirname(os.__file__) + os.sep
_THIS_PACKAGE: Final = os.path.dirname(__file__) + os.sep
_ASYNCIO: Final = os.path.dirname(events.__file__) + os.sep
# What asyncio's loop runs is called by one of these; with a loop in C the first is the innermost that is seen.
_LOOP: Final = frozenset({"run", "run_until_complete", "run_forever", "_run_once", "_run"})
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Place(NamedTuple):
    """One line of one function; as text ``file:line in function``."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"

    @property
    def owner(self) -> str:
        """Whose code it is: "" for Python's and this package's, the name of an installed package, else "program"."""
        if self.file.startswith((_THIS_PACKAGE, "<frozen ")):
            return ""
        for folder in _INSTALLED:
            _, found, inside = self.file.partition(folder)
            if found:
                return inside.partition(os.sep)[0]
        return "" if self.file.startswith(_STANDARD_LIBRARY) else "program"


def coroutine_stack(coroutine: Any) -> tuple[Place, ...]:
    """Return where a suspended coroutine and those it awaits wait.

    What it awaits in other tasks is not followed: it ends at the ``gather`` or the task group.
    """
    places = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            places.append(_place(frame))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return tuple(places)


def thread_stack(ident: int, below: CodeType | None = None) -> tuple[Place, ...]:
    """Return where a thread is now, from the call that ``below`` made; empty if it has ended or runs no Python code."""
    frame = sys._current_frames().get(ident)  # documented; underscored as not every Python has it
    places = []
    while frame is not None and frame.f_code is not below:
        places.append(_place(frame))
        frame = frame.f_back
    return tuple(reversed(places))


def loop_stack(ident: int) -> tuple[Place, ...]:
    """Return where the callback or task is that an event loop's thread runs now, without how the loop got to it."""
    stack = thread_stack(ident)
    for index in range(len(stack) - 1, -1, -1):
        if stack[index].file.startswith(_ASYNCIO) and stack[index].function.rpartition(".")[2] in _LOOP:
            return stack[index + 1 :] or stack
    return stack


def users_place(stack: tuple[Place, ...]) -> Place | None:
    """Return the innermost place in the user's code, which is what can be mended; None for an empty stack.

    Who waits, waits in asyncio, and who blocks, blocks in some library: neither says where the fault is. The user's code
    is that of the outermost call that is neither Python's nor this package's; without one it is the innermost of all.
    """
    owner = next((place.owner for place in stack if place.owner), "")
    return next((place for place in reversed(stack) if place.owner == owner), None) if owner else (stack or (None,))[-1]


def _place(frame: FrameType) -> Place:
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
