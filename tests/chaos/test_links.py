"""A link between a client and a server that keeps what it gets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from chaos._links import Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Sink:
    """A server that answers each line with the same line and remembers all of them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for line in reader:
                self.lines.append(line)
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Sink, Link]]:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    async with asyncio.timeout(60), Link(server.sockets[0].getsockname()[:2]) as link:
        yield sink, link
    server.close()


async def ask(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"one\n")
    return reader, writer


async def test_it_passes_both_ways() -> None:
    async with linked() as (sink, link):
        reader, writer = await ask(link)
        assert await reader.readline() == b"one\n"
        assert sink.lines == [b"one\n"]
        assert link.connections == 1
        writer.close()
        await sink.ended.wait()


async def test_refusing_resets_open_and_new_connections() -> None:
    async with linked() as (_sink, link):
        reader, writer = await ask(link)
        await reader.readline()
        link.mode = "refuse"
        assert await _is_cut(reader)
        again, other = await ask(link)
        assert await _is_cut(again)
        link.mode = "pass"
        third, last = await ask(link)
        assert await third.readline() == b"one\n"
        for end in (writer, other, last):
            end.close()


async def test_what_is_frozen_goes_on_afterwards() -> None:
    async with linked() as (sink, link):
        reader, writer = await ask(link)
        await reader.readline()
        link.mode = "freeze"
        writer.write(b"two\n")
        newcomer, other = await ask(link)
        await _turns()
        assert sink.lines == [b"one\n"]
        link.mode = "pass"
        assert await reader.readline() == b"two\n"
        assert await newcomer.readline() == b"one\n"
        for end in (writer, other):
            end.close()


async def test_who_gives_up_while_frozen_takes_it_all_along() -> None:
    async with linked() as (sink, link):
        reader, writer = await ask(link)
        await reader.readline()
        link.mode = "freeze"
        writer.write(b"late\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await _turns()
        link.mode = "pass"
        await sink.ended.wait()
        assert sink.lines == [b"one\n"]


async def test_muted_connections_stay_silent_and_new_ones_work() -> None:
    async with linked() as (sink, link):
        reader, writer = await ask(link)
        await reader.readline()
        link.mute()
        writer.write(b"two\n")
        newcomer, other = await ask(link)
        assert await newcomer.readline() == b"one\n"
        assert sink.lines == [b"one\n", b"one\n"]
        assert not reader.at_eof()
        for end in (writer, other):
            end.close()


async def test_a_link_that_is_not_open_has_no_port() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = Link(("127.0.0.1", 1)).port


async def _is_cut(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def _turns() -> None:
    """Let the loop look at its sockets often enough for what was sent to have come through, if it could."""
    for _ in range(50):
        await asyncio.sleep(0)
