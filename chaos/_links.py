"""A TCP link between one replica and the API server: it can be refused, frozen, slow, or lose its old connections."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Mode = Literal["pass", "refuse", "freeze"]

_CHUNK = 1 << 16
_PEEK = 0.005
"""Seconds to learn whether a frozen connection's sender is still there: all it has sent is here already."""


class Link:
    """Forwards connections to ``target`` from a port of its own; ``async with`` opens and closes it.

    ``mode`` may change at any time. ``pass`` forwards. ``refuse`` resets new and open connections. ``freeze`` holds
    everything back in both directions, as a partition does: what waits goes on when the mode changes, unless its sender
    has given the connection up meanwhile. ``delay`` is added to every chunk, in seconds. :meth:`mute` makes the
    connections that are open now silent for ever, without an end that anybody could see: half-open.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.delay = 0.0
        self._target = target
        self._mode: Mode = "pass"
        self._moved = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "refuse":
            for connection in list(self._open):
                connection.abort()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the link is not open: open it, or enter it with 'async with', first")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def mute(self) -> None:
        """Let nothing more through the connections that are open now; new ones work."""
        for connection in self._open:
            connection.muted = True

    async def until_passing(self) -> None:
        """Wait until the link is not frozen."""
        while self._mode == "freeze":
            await self._moved.wait()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)

    async def close(self) -> None:
        """Listen no more and reset what is open."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.abort()
        await asyncio.gather(*(connection.task for connection in self._open if connection.task), return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, writer)
        self._open.add(connection)
        connection.task = asyncio.current_task()
        try:
            if self._mode == "refuse":
                return
            await self.until_passing()
            there, away = await asyncio.open_connection(*self._target, limit=_CHUNK)
            connection.writers.append(away)
            await connection.pump(reader, writer, there, away)
        except (OSError, asyncio.CancelledError):
            pass  # either side has gone, or the link was cut: both ends are reset below
        finally:
            connection.abort()
            self._open.discard(connection)

    def __repr__(self) -> str:
        return f"Link({self._mode}, {len(self._open)} connections)"


class _Connection:
    def __init__(self, link: Link, writer: asyncio.StreamWriter) -> None:
        self.muted = False
        self.task: asyncio.Task[None] | None = None
        self.writers = [writer]
        self._link = link

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    async def pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        away: asyncio.StreamWriter,
    ) -> None:
        """Forward both ways until either side ends."""
        ways = [asyncio.create_task(self._forward(reader, away)), asyncio.create_task(self._forward(there, writer))]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        for way in done:
            if not way.cancelled() and (error := way.exception()) is not None and not isinstance(error, OSError):
                raise error

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            if self.muted:
                await self._swallow(source)
            if self._link.mode == "freeze":
                data += await self._held(source)  # what came meanwhile goes along
            if self._link.delay:
                await asyncio.sleep(self._link.delay)
            target.write(data)
            await target.drain()

    async def _swallow(self, source: asyncio.StreamReader) -> None:
        """Read on, so that the sender's kernel sees nothing unusual, until it gives up."""
        while await source.read(_CHUNK):
            pass
        raise ConnectionResetError("given up while half-open")

    async def _held(self, source: asyncio.StreamReader) -> bytes:
        """Wait until the link thaws and return what was sent meanwhile; a sender that gave up takes it all along."""
        await self._link.until_passing()
        held = bytearray()
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(_PEEK):
                    more = await source.read(_CHUNK)
                if not more:
                    raise ConnectionResetError("given up while frozen")
                held += more
        return bytes(held)
