"""What may come on a connection, proper or not, and which connection carries the next request."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.client_proto import ResponseHandler

from pyoperator.client import AiohttpTransport, Configuration, TransportError
from tests.client.raw_server import raw_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyoperator.client import Response

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
ZIPPED = gzip.compress(b"{}")


class Server:
    """Answer each request with the next bytes; ``connections`` counts requests per connection."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.answers = list(answers)
        self.close = close
        self.heads: list[bytes] = []
        self.connections: list[int] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(0)
        while self.answers:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.connections[number] += 1
            writer.write(self.answers.pop(0))
            await writer.drain()
            if self.close:
                return
        await reader.read()

    @contextlib.asynccontextmanager
    async def transport(self, path: str = "") -> AsyncIterator[AiohttpTransport]:
        async with (
            raw_server(self.handle) as url,
            contextlib.aclosing(AiohttpTransport(Configuration(url + path))) as transport,
        ):
            yield transport


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN,
        CHUNKED,
        b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + PLAIN,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
    ],
    ids=["length", "chunks", "after a continue", "after hints", "zipped"],
)
async def test_an_answer_is_read_whole_and_its_connection_carries_the_next_request(answer: bytes) -> None:
    server = Server(answer, PLAIN)
    async with server.transport() as transport:
        first = await transport.request("PUT", "/x", body=b"")
        second = await transport.request("GET", "/y")
    assert [(response.status, response.body) for response in (first, second)] == [(200, b"{}")] * 2
    assert server.connections == [2]


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b""),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b""),
    ],
)
async def test_an_answer_without_a_body(method: str, answer: bytes, body: bytes) -> None:
    server = Server(answer, PLAIN)
    async with server.transport() as transport:
        assert (await transport.request(method, "/x")).body == body
        assert (await transport.request("GET", "/y")).body == b"{}"
    assert server.connections == [2]


async def test_an_answer_that_ends_with_its_connection() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n[]", close=True)
    async with server.transport() as transport:
        assert (await transport.request("GET", "/x")).body == b"{}"
        assert (await transport.request("GET", "/y")).body == b"[]"
    assert server.connections == [1, 1]


async def test_a_connection_that_the_server_means_to_close_is_not_used_again() -> None:
    server = Server(PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), PLAIN)
    async with server.transport() as transport:
        for _ in range(2):
            assert (await transport.request("PUT", "/x", body=b"{}")).status == 200
    assert server.connections == [1, 1]


async def test_a_body_cut_short_is_an_error() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", close=True)
    async with server.transport() as transport:
        with pytest.raises(TransportError, match="payload is not completed") as caught:
            await transport.request("PUT", "/x", body=b"{}")
    assert caught.value.sent


async def test_what_comes_unasked_is_no_answer_to_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server tells an idle client that it waited too long: the write that follows must not take that for its answer."""
    said, arrived = asyncio.Event(), asyncio.Event()
    feed = ResponseHandler.feed_data

    def fed(protocol: ResponseHandler, data: Any, size: int = 0) -> None:
        feed(protocol, data, size)
        if data[0].code == 408:
            arrived.set()

    monkeypatch.setattr(ResponseHandler, "feed_data", fed)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await writer.drain()
        await said.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        await transport.request("GET", "/x")
        said.set()
        await arrived.wait()
        with pytest.raises(TransportError, match="ended the connection before") as caught:
            await transport.request("PUT", "/x", body=b"{}")
        assert not caught.value.sent
        assert (await transport.request("GET", "/x")).status == 200


async def test_a_header_with_a_line_break_is_refused_before_anything_is_sent() -> None:
    server = Server(PLAIN)
    async with server.transport() as transport:
        with pytest.raises(TransportError, match="the header 'x' holds a line break") as caught:
            await transport.request("PUT", "/x", headers={"X": "a\r\nb"}, body=b"{}")
    assert not caught.value.sent
    assert server.heads == []


async def test_a_server_below_a_path() -> None:
    server = Server(PLAIN)
    async with server.transport("/k8s/clusters/c-1/") as transport:
        await transport.request("GET", "/api/v1/pods", query=[("watch", "1")])
    assert server.heads[0].startswith(b"GET /k8s/clusters/c-1/api/v1/pods?watch=1 HTTP/1.1\r\nhost: 127.0.0.1:")


async def test_a_large_body_arrives_whole() -> None:
    received = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        received = len(await reader.readexactly(3_000_000))
        writer.write(PLAIN)
        await writer.drain()

    async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        response: Response = await transport.request("PUT", "/x", body=b"x" * 3_000_000)
    assert response.status == 200
    assert received == 3_000_000


async def test_what_was_not_written_when_a_request_is_given_up_is_never_written() -> None:
    """A write given up because the lease ends must not be finished later, out of the buffer of a closing connection."""
    begun, given_up, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    received = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readexactly(1)
        begun.set()
        await given_up.wait()
        try:
            while piece := await reader.read(2**20):
                received += len(piece)
        finally:
            ended.set()

    body = b"x" * 30_000_000  # more than the buffers of both sides' sockets hold
    async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        task = asyncio.create_task(transport.request("PUT", "/x", body=body))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        given_up.set()
        await ended.wait()
    assert received < len(body)
