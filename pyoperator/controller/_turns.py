"""Turns of the event loop: how much work may be begun in one, so that watches, answers and renewals are heard between."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_LENGTH = 0.001
_MOST = 32


class Turns:
    """Count what the workers of one controller begin in one turn of the loop, all of them together.

    A reconcile that finds nothing to do never waits, so with a full queue the loop would hear of nothing else: the
    answer that another reconcile waits for comes as late as the backlog is long. After ``_LENGTH`` seconds, from the first
    key on, or ``_MOST`` keys a turn is used up, and whoever wants to begin another key waits for the next one.
    """

    __slots__ = ("_began", "_count", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began = 0.0
        self._count = 0

    def used_up(self) -> bool:
        """Tell whether no other key may be begun in this turn; counts one if it may."""
        now = self._loop.time()
        if self._count == 0:
            self._began = now
            self._loop.call_soon(self._next)  # it runs before whoever gives this turn up from now on
        elif now - self._began >= _LENGTH or self._count >= _MOST:
            return True
        self._count += 1
        return False

    def _next(self) -> None:
        self._count = 0
