"""How long a stream may be silent, with one timer for all of it instead of one for each piece that comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Silent(Exception):
    """Nothing came for as long as a stream may be silent."""


class Reader(Protocol):
    """What is read, as aiohttp's streams are: who waits for it is told of an error at once."""

    def set_exception(self, exc: BaseException) -> None: ...


class Silence:
    """Make a reader's wait end with Silent once nothing has come for ``limit`` seconds (None: never).

    Only waiting counts: ``begin`` is called before each read and ``end`` after it, so that a consumer may take its time.
    The timer is looked after when it is due and not with each piece. ``close`` it when the stream is left.
    """

    __slots__ = ("_limit", "_loop", "_reader", "_since", "_timer")

    def __init__(self, reader: Reader, limit: float | None, loop: asyncio.AbstractEventLoop) -> None:
        self._reader = reader
        self._limit = limit or 0.0
        self._loop = loop
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = loop.call_later(limit, self._look) if limit else None

    def begin(self, now: float) -> None:
        """Note that somebody waits from ``now`` on, by the loop's clock."""
        self._since = now

    def end(self) -> None:
        """Note that the wait is over."""
        self._since = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now, since = self._loop.time(), self._since
        if since is None or since + self._limit > now:
            self._timer = self._loop.call_at((now if since is None else since) + self._limit, self._look)
        else:
            # In the next turn: what has come in this one wakes the reader first.
            self._timer = self._loop.call_at(now, self._give_up, since)

    def _give_up(self, since: float) -> None:
        if self._since == since:
            self._reader.set_exception(Silent())
        else:
            self._look()
