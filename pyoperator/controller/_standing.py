"""Where a running reconcile stands: for whoever wants to know why it does not end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType


def coroutine_stack(coroutine: Any) -> tuple[str, ...]:
    """Return the lines at which a suspended coroutine and those it awaits wait, outermost first.

    What it awaits in other tasks is not followed: it ends at the ``gather`` or the task group.
    """
    lines = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            lines.append(_line(frame))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return tuple(lines)


def thread_stack(ident: int, below: CodeType) -> tuple[str, ...]:
    """Return the lines at which a thread is now, outermost first, from the call that ``below`` made; empty if it ended."""
    frame = sys._current_frames().get(ident)  # documented; underscored as not every Python has it
    lines = []
    while frame is not None and frame.f_code is not below:
        lines.append(_line(frame))
        frame = frame.f_back
    return tuple(reversed(lines))


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
