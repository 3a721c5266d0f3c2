"""Let the data of a fast stream gather, as network cards do with interrupts: fewer wake-ups, each for more.

An API server sends each event of a watch as a piece of its own. While thousands come, the first state of an informer for
one, each costs a turn of the loop, a read of the socket, a TLS record and a wake-up of whoever reads: more than what is
done with it. So while many small pieces come, the socket is left alone for some milliseconds after each of them, longer
while they stay small; the kernel keeps what comes meanwhile. A stream at an ordinary pace is never held up.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

_FAST = 4 * 2**20
"""Bytes a second from which on a stream is fast: more than a thousand objects of some kilobytes."""
_BURST = 2**17
"""Bytes that may come faster before anything is held up."""
_LARGE = 2**17
"""Bytes; pieces that are as large as this are in no need of gathering."""
_ENOUGH = 2**16
"""Bytes; pieces that are as large as this need not be larger."""
_SHORTEST, _LONGEST = 0.002, 0.016


class Connected(Protocol):
    """What has a transport until its connection breaks, as asyncio's protocols have it."""

    @property
    def transport(self) -> asyncio.ReadTransport | None: ...


class Gathering:
    """Watch the pace of one stream, and hold up its connection while small pieces come too fast."""

    __slots__ = ("_ahead", "_last", "_pause", "_protocol")

    def __init__(self, protocol: Connected) -> None:
        self._protocol = protocol
        self._ahead = 0.0  # bytes that came beyond what a stream of the highest ordinary pace would have brought
        self._last = 0.0
        self._pause = _SHORTEST

    def is_due(self, size: int, now: float) -> bool:
        """Count a piece of ``size`` bytes that came ``now``; tell whether the next ones should gather."""
        self._ahead = min(max(0.0, self._ahead - (now - self._last) * _FAST) + size, 2 * _BURST)
        self._last = now
        due = self._ahead > _BURST and size < _LARGE
        if not due:
            self._pause = _SHORTEST
        elif size < _ENOUGH:
            self._pause = min(2 * self._pause, _LONGEST)
        return due

    async def pause(self) -> None:
        """Read nothing for a moment. What has been received stays received; a connection that broke is seen after it."""
        # The transport and not the protocol, whose parser can be paused only in the middle of an answer.
        transport = self._protocol.transport
        if transport is None:
            return
        # asyncio's TLS transport on its own would go on to read the socket, for each piece that comes. With a limit of
        # nothing for what it may hold it leaves that alone, too.
        limit = getattr(transport, "set_read_buffer_limits", None)
        transport.pause_reading()
        if limit is not None:
            limit(0)
        try:
            await asyncio.sleep(self._pause)
        finally:
            if limit is not None:
                limit()
            transport.resume_reading()
