"""Turns of the event loop: how much work may be begun in one, so that watches, answers and renewals are heard between."""

from __future__ import annotations

import asyncio

_LENGTH = 0.001
_MOST = 32


class Turns:
    """Count what the workers of one controller begin in one turn of the loop, all of them together.

    A reconcile that finds nothing to do never waits, so with a full queue the loop would hear of nothing else: the
    answer that another reconcile waits for comes as late as the backlog is long. After ``_LENGTH`` seconds or ``_MOST``
    keys a turn is used up, and whoever wants to begin another key waits for the next one.
    """

    __slots__ = ("_asked", "_began", "_count")

    def __init__(self) -> None:
        self._began = 0.0
        self._count = 0
        self._asked = False

    def used_up(self, now: float) -> bool:
        """Tell whether no other key may be begun in this turn; counts one if it may."""
        if now - self._began >= _LENGTH or self._count >= _MOST:
            return True
        self._count += 1
        return False

    async def next(self) -> None:
        """Wait for the next turn. Several workers may wait; the first to come back uses it."""
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._begin)  # it runs before whoever waits from now on
        await asyncio.sleep(0)

    def _begin(self) -> None:
        self._asked = False
        self._began = asyncio.get_running_loop().time()
        self._count = 0
