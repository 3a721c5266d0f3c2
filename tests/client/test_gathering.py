"""A fast stream is read in larger pieces; none is held up at an ordinary pace, and nothing of one is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import AiohttpTransport, Configuration, ServerTrust, TransportError
from pyoperator.client._gathering import Gathering
from tests.client.certificates import LOOPBACK, Authority
from tests.client.raw_server import raw_server
from tests.support import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    from pyoperator.client import StreamResponse

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'{"type":"ADDED","object":{"spec":"' + 4000 * b"x" + b'"}}\n'
AN_EVENT = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


class FakeTransport(asyncio.ReadTransport):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class FakeTLSTransport(FakeTransport):
    def set_read_buffer_limits(self, high: int | None = None) -> None:
        self.calls.append(f"limit {high}")


class FakeProtocol:
    def __init__(self, transport: FakeTransport | None = None) -> None:
        self.transport = transport


def paced(size: int, every: float, count: int) -> list[bool]:
    gathering = Gathering(FakeProtocol())
    return [gathering.is_due(size, 100.0 + number * every) for number in range(count)]


def test_an_ordinary_pace_is_never_held_up() -> None:
    assert not any(paced(4096, 0.001, 10_000))
    assert not any(paced(300, 0.0001, 10_000))
    assert not any(paced(100_000, 0.1, 1000))


def test_a_burst_goes_through_before_anything_is_held_up() -> None:
    assert paced(4096, 0.0001, 100).index(True) == 35  # 128 KB, and what drains away meanwhile
    assert all(paced(4096, 0.0001, 100)[36:])


def test_large_pieces_need_no_gathering() -> None:
    assert not any(paced(200_000, 0.001, 1000))


def test_a_stream_that_has_calmed_down_is_not_held_up_any_more() -> None:
    gathering = Gathering(FakeProtocol())
    assert any(gathering.is_due(8000, number * 0.0001) for number in range(1000))
    assert not gathering.is_due(8000, 0.2)


@pytest.mark.parametrize(
    ("megabytes_a_second", "pauses"),
    [
        (6, {16}),  # 96 KB in 16 ms
        (12, {8}),  # the same in 8
        (24, {4}),
        (3, {0}),  # not fast
    ],
)
def test_a_pause_is_as_long_as_enough_takes_to_come(megabytes_a_second: int, pauses: set[int]) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        gathering = Gathering(FakeProtocol(FakeTransport()))
        lasted = []
        received = 0
        for _ in range(2000):
            size = max(4096, round(loop.time() * megabytes_a_second * 1e6) - received)
            received += size
            began = loop.time()
            if gathering.is_due(size, began):
                await gathering.pause()
            lasted.append(round(1000 * (loop.time() - began)))
            await asyncio.sleep(max(0.0, received / megabytes_a_second / 1e6 - loop.time()))
        return lasted

    assert set(run_virtual(main)[-100:]) == pauses


@pytest.mark.parametrize("tls", [True, False])
def test_a_pause_ends_even_if_the_reader_is_cancelled(tls: bool) -> None:
    async def main() -> None:
        transport = FakeTLSTransport() if tls else FakeTransport()
        protocol = FakeProtocol(transport)
        gathering = Gathering(protocol)
        await gathering.pause()
        assert asyncio.get_running_loop().time() == 0.002
        expected = ["pause", "limit 0", "limit None", "resume"] if tls else ["pause", "resume"]
        assert transport.calls == expected
        pausing = asyncio.create_task(gathering.pause())
        await asyncio.sleep(0.001)
        pausing.cancel()
        await asyncio.wait((pausing,))
        assert transport.calls == 2 * expected
        protocol.transport = None  # the connection broke
        await gathering.pause()

    run_virtual(main)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each piece that is not large be followed by a pause."""
    monkeypatch.setattr("pyoperator.client._gathering._FAST", 0)
    monkeypatch.setattr("pyoperator.client._gathering._BURST", 1)


async def send(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(HEAD)
    for _ in range(number):
        writer.write(AN_EVENT)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.usefixtures("always")
async def test_everything_arrives_in_fewer_pieces_and_the_connection_serves_again(tls: bool, tmp_path: Path) -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await send(writer, 300)
            writer.write(b"0\r\n\r\n")

    authority = Authority()
    context = None
    if tls:
        for name, content in zip(("crt", "key"), authority.issue("server", LOOPBACK), strict=True):
            (tmp_path / name).write_bytes(content)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    async with raw_server(handle, context) as url:
        configuration = Configuration(url, trust=ServerTrust(ca_data=authority.pem if tls else None))
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            for _ in range(2):
                async with transport.stream("GET", "/x") as response:
                    pieces = [piece async for piece in response.chunks()]
                assert b"".join(pieces) == 300 * EVENT
                assert len(pieces) < 200
    assert connections == 1


@pytest.mark.usefixtures("always")
async def test_a_stream_that_breaks_while_it_is_held_up_ends_with_what_had_come() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await send(writer, 50)

    received = bytearray()

    async def read(response: StreamResponse) -> None:
        async for piece in response.chunks():
            received.extend(piece)

    async with (
        raw_server(handle) as url,
        contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport,
        transport.stream("GET", "/x") as response,
    ):
        with pytest.raises(TransportError, match="broke"):
            await read(response)
    assert received == 50 * EVENT


@pytest.mark.usefixtures("always")
async def test_who_leaves_a_stream_that_is_held_up_leaves_no_connection() -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await send(writer, 100_000)
        finally:
            gone.set()

    async def read(transport: AiohttpTransport) -> None:
        async with transport.stream("GET", "/x") as response:
            async for _ in response.chunks():
                started.set()

    started = asyncio.Event()
    async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        reading = asyncio.create_task(read(transport))
        await started.wait()
        reading.cancel()
        await asyncio.wait((reading,))
        async with asyncio.timeout(60):
            await gone.wait()
