from __future__ import annotations

import asyncio
import contextlib
import traceback
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pyoperator.client import (
    AiohttpTransport,
    Client,
    Configuration,
    LeadershipLost,
    TokenCredentials,
    TransportError,
)
from pyoperator.objects import GroupVersionKind
from tests.client.raw_server import raw_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


class SwitchGate:
    """A gate that closes after a number of questions."""

    def __init__(self, admitted: int = 1_000_000, bound: float | None = None) -> None:
        self.admitted = admitted
        self.bound = bound
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    def admit(self, method: str, path: str) -> float | None:
        self.asked.append(f"{method} {path}")
        self.was_asked.set()
        if len(self.asked) > self.admitted:
            raise LeadershipLost("not the leader")
        return self.bound


class Fixture:
    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.handler: Handler = self.ok
        self.url = ""

    async def ok(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "ConfigMap", "body": (await request.read()).decode()})

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.handler(request)

    def transport(self, **options: Any) -> AiohttpTransport:
        configuration = options.pop("configuration", None) or Configuration(self.url)
        return AiohttpTransport(configuration, **options)


@pytest.fixture
async def server() -> AsyncIterator[Fixture]:
    fixture = Fixture()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fixture.dispatch)
    async with TestServer(app) as running:
        fixture.url = str(running.make_url("")).rstrip("/")
        yield fixture


async def test_a_request_and_its_answer(server: Fixture) -> None:
    async with contextlib.aclosing(server.transport(user_agent="tester/1")) as transport:
        response = await transport.request(
            "POST", "/api/v1/x", query=[("labelSelector", "a in (b,c)"), ("x", "é&=")], body=b'{"a":1}'
        )
    assert response.status == 200
    assert b'{\\"a\\":1}' in response.body
    assert response.headers["content-type"].startswith("application/json")
    request = server.seen[0]
    assert dict(request.query) == {"labelSelector": "a in (b,c)", "x": "é&="}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "tester/1"


async def test_the_client_over_http(server: Fixture) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})

    server.handler = handler
    async with contextlib.aclosing(server.transport()) as transport:
        obj = await Client(transport).get(CONFIG_MAP, "shop/x")
    assert obj.name == "x"
    statistics = transport.statistics()
    assert [(code, method, count) for (code, method, _), count in statistics.requests.items()] == [("200", "GET", 1)]
    assert sum(next(iter(statistics.durations.values())).counts) == 1


class TestGate:
    @pytest.mark.parametrize(("method", "body"), [("PUT", b"{}"), ("DELETE", None)])
    async def test_it_is_asked_again_right_before_the_bytes(
        self, server: Fixture, method: str, body: bytes | None
    ) -> None:
        gate = SwitchGate(admitted=1)
        async with contextlib.aclosing(server.transport(gate=gate)) as transport:
            with pytest.raises(LeadershipLost):
                await transport.request(method, "/x", body=body)
            assert transport.statistics().fenced == 1
        assert len(gate.asked) == 2
        assert server.seen == []

    async def test_a_gate_that_closes_while_the_request_waits_for_a_connection_stops_it(self, server: Fixture) -> None:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            arrived.set()
            await go_on.wait()
            return web.Response()

        server.handler = handler
        gate = SwitchGate()
        async with contextlib.aclosing(server.transport(gate=gate, max_requests=1)) as transport:
            first = asyncio.create_task(transport.request("GET", "/first"))
            await arrived.wait()
            second = asyncio.create_task(transport.request("PUT", "/second", body=b"{}"))
            await gate.was_asked.wait()
            gate.admitted = 1
            go_on.set()
            with pytest.raises(LeadershipLost):
                await second
            assert (await first).status == 200
            assert open_connections(transport) == 0
            gate.admitted = 100
            assert (await transport.request("PUT", "/third", body=b"{}")).status == 200
        assert [request.path for request in server.seen] == ["/first", "/third"]

    async def test_reads_and_reviews_pass(self, server: Fixture) -> None:
        gate = SwitchGate(admitted=0)
        async with contextlib.aclosing(server.transport(gate=gate)) as transport:
            await transport.request("GET", "/x")
            await transport.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=b"{}")
        assert gate.asked == []

    async def test_the_gates_bound_is_the_deadline(self, server: Fixture) -> None:
        stuck = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            await stuck.wait()
            return web.Response()

        server.handler = handler
        async with contextlib.aclosing(server.transport(gate=SwitchGate(bound=0.5))) as transport:
            with pytest.raises(TransportError, match="validity") as caught:
                async with asyncio.timeout(20):  # the gate's bound, not the request's own timeout, must end it
                    await transport.request("PUT", "/x", body=b"{}", timeout=30)
        stuck.set()
        assert caught.value.sent


async def test_a_dropped_connection_is_not_silently_repeated() -> None:
    requests = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while await reader.readuntil(b"\r\n\r\n"):
            requests += 1
            if requests == 1:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
            else:
                return

    async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        await transport.request("GET", "/x")
        with pytest.raises(TransportError) as caught:
            await transport.request("DELETE", "/x")
    assert requests == 2
    assert caught.value.sent


async def test_a_refused_connection_was_not_sent() -> None:
    async with raw_server(lambda reader, writer: asyncio.sleep(0)) as url:
        pass
    async with contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        with pytest.raises(TransportError, match="cannot connect") as caught:
            await transport.request("POST", "/x", body=b"{}")
        assert not caught.value.sent
        async with contextlib.AsyncExitStack() as stack:
            with pytest.raises(TransportError, match="cannot connect"):
                await stack.enter_async_context(transport.stream("GET", "/x"))


async def test_what_is_not_http_is_a_transport_error() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()

    async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
        with pytest.raises(TransportError):
            await transport.request("GET", "/x")


class RenewableCredentials:
    """A token that is renewed on refresh."""

    def __init__(self, *, renewable: bool = True) -> None:
        self.renewable = renewable
        self.refreshes = 0

    async def authorization(self) -> str:
        return f"Bearer token-{self.refreshes}"

    async def certificate(self) -> None:
        return None

    async def refresh(self) -> bool:
        await asyncio.sleep(0.01)
        self.refreshes += 1
        return self.renewable


class TestCredentials:
    async def test_one_refresh_serves_all_who_were_refused(self, server: Fixture) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401 if request.headers["authorization"] == "Bearer token-0" else 200)

        server.handler = handler
        credentials = RenewableCredentials()
        configuration = Configuration(server.url, credentials)
        async with contextlib.aclosing(server.transport(configuration=configuration)) as transport:
            answers = await asyncio.gather(*(transport.request("GET", f"/{n}") for n in range(5)))
            async with transport.stream("GET", "/watch") as stream:
                assert stream.status == 200
        assert [response.status for response in answers] == [200] * 5
        assert credentials.refreshes == 1

    async def test_a_second_refusal_is_the_answer(self, server: Fixture) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401)

        server.handler = handler
        configuration = Configuration(server.url, RenewableCredentials(renewable=False))
        async with contextlib.aclosing(server.transport(configuration=configuration)) as transport:
            assert (await transport.request("GET", "/x")).status == 401
            assert (await transport.request("GET", "/x")).status == 401
        assert len(server.seen) == 2

    async def test_impersonation_goes_with_every_request(self, server: Fixture) -> None:
        configuration = Configuration(server.url, headers=(("impersonate-user", "jane"),))
        async with contextlib.aclosing(server.transport(configuration=configuration)) as transport:
            await transport.request("GET", "/x")
        assert server.seen[0].headers["impersonate-user"] == "jane"


class TestStream:
    async def test_pieces_arrive_as_they_are_written(self, server: Fixture) -> None:
        go_on = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"one\n")
            await go_on.wait()
            await response.write(b"two\n")
            return response

        server.handler = handler
        async with contextlib.aclosing(server.transport()) as transport, transport.stream("GET", "/x") as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == b"one\n"
            go_on.set()
            assert [chunk async for chunk in chunks] == [b"two\n"]

    async def test_silence_ends_it(self, server: Fixture) -> None:
        release = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await release.wait()
            return response

        server.handler = handler
        async with contextlib.aclosing(server.transport()) as transport:
            async with transport.stream("GET", "/x", idle_timeout=0.02) as stream:
                with pytest.raises(TransportError, match="nothing came"):
                    await anext(stream.chunks())
            release.set()

    async def test_a_broken_stream_is_an_error_not_an_end(self) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
            await writer.drain()

        async with raw_server(handle) as url, contextlib.aclosing(AiohttpTransport(Configuration(url))) as transport:
            with pytest.raises(TransportError, match="broke"):
                async with transport.stream("GET", "/x") as stream:
                    assert [chunk async for chunk in stream.chunks()] == []


def open_connections(transport: AiohttpTransport) -> int:
    return sum(len(pool.connector._acquired) for pool in transport._pools or ())


async def test_watches_have_their_own_bound_and_starve_no_request(server: Fixture) -> None:
    """Of three watches with room for two the third waits, no longer than its timeout, and requests pass by it."""
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path != "/watch":
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        await release.wait()
        return response

    server.handler = handler
    async with contextlib.AsyncExitStack() as stack:
        transport = await stack.enter_async_context(
            contextlib.aclosing(server.transport(max_requests=1, max_watches=2))
        )
        for _ in range(2):
            await stack.enter_async_context(transport.stream("GET", "/watch"))
        with pytest.raises(TransportError, match="no answer within") as caught:
            await stack.enter_async_context(transport.stream("GET", "/watch", connect_timeout=0.1))
        assert not caught.value.sent
        answers = await asyncio.gather(*(transport.request("GET", f"/{number}") for number in range(5)))
        assert [answer.status for answer in answers] == [200] * 5
        release.set()
    assert sum(request.path == "/watch" for request in server.seen) == 2


async def test_requests_are_bounded(server: Fixture) -> None:
    busy = most = 0
    all_there = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        if busy == 3:
            all_there.set()
        await all_there.wait()
        await asyncio.sleep(0.001)
        busy -= 1
        return web.Response()

    server.handler = handler
    async with contextlib.aclosing(server.transport(max_requests=3)) as transport:
        await asyncio.gather(*(transport.request("GET", "/x") for _ in range(30)))
    assert most == 3


class TestCancellation:
    async def test_a_cancelled_request_gives_its_connection_back(self, server: Fixture) -> None:
        arrived = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            arrived.set()
            await asyncio.Event().wait()
            return web.Response()

        server.handler = handler
        async with contextlib.aclosing(server.transport(max_requests=1)) as transport:
            for _ in range(3):  # with a pool of one, a leak would make the second wait for ever
                arrived.clear()
                task = asyncio.create_task(transport.request("PUT", "/x", body=b"{}"))
                await arrived.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert open_connections(transport) == 0

    async def test_cancelled_while_reading_the_body(self, server: Fixture) -> None:
        started = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"{")
            started.set()
            await asyncio.Event().wait()
            return response

        server.handler = handler
        async with contextlib.aclosing(server.transport(max_requests=1)) as transport:
            task = asyncio.create_task(transport.request("GET", "/x"))
            await started.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert open_connections(transport) == 0

    @pytest.mark.parametrize("steps", range(8))
    async def test_cancelled_after_any_number_of_steps(self, server: Fixture, steps: int) -> None:
        async with contextlib.aclosing(server.transport(max_requests=1)) as transport:
            task = asyncio.create_task(transport.request("PUT", "/x", body=b"{}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert open_connections(transport) == 0
            assert (await transport.request("GET", "/x", timeout=60)).status == 200

    async def test_a_cancelled_watch_closes_its_connection(self, server: Fixture) -> None:
        gone = asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x")
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            return response

        server.handler = handler
        opened = asyncio.Event()

        async def watch(transport: AiohttpTransport) -> None:
            async with transport.stream("GET", "/x") as stream:
                async for _ in stream.chunks():
                    opened.set()

        async with contextlib.aclosing(server.transport(max_watches=1)) as transport:
            task = asyncio.create_task(watch(transport))
            await opened.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert open_connections(transport) == 0


async def test_timeouts_and_closing(server: Fixture) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    server.handler = handler
    transport = server.transport()
    with pytest.raises(TransportError, match=r"no answer within 0\.02 s"):
        await transport.request("GET", "/x", timeout=0.02)
    await transport.aclose()
    with pytest.raises(TransportError, match="closed"):
        await transport.request("GET", "/x")


class Recorder:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.told.append((event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


async def test_server_warnings_are_logged_once_each(server: Fixture) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Warning": '299 - "v1beta1 is deprecated", 299 - "unknown field \\"x\\""'})

    server.handler = handler
    log = Recorder()
    async with contextlib.aclosing(server.transport(logger=log)) as transport:
        for _ in range(3):
            await transport.request("GET", "/x")
    assert [fields["warning"] for _, fields in log.lines] == ["v1beta1 is deprecated", 'unknown field "x"']


async def test_where_the_configuration_came_from_is_logged_once(server: Fixture) -> None:
    configuration = Configuration(server.url, source="a test", warnings=("beware",))
    for announce in ("all", "warnings", "nothing"):
        log = Recorder()
        transport = server.transport(configuration=configuration, logger=log, announce=announce)
        async with contextlib.aclosing(transport):
            for _ in range(2):
                await transport.request("GET", "/x")
        fields = {"server": server.url, "source": "a test"}
        assert log.told == ([("talking to the API server", fields)] if announce == "all" else [])
        assert [event for event, _ in log.lines] == ([] if announce == "nothing" else ["beware"])


async def test_redirects_are_not_followed(server: Fixture) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "http://example.com/"})

    server.handler = handler
    async with contextlib.aclosing(server.transport()) as transport:
        assert (await transport.request("GET", "/x")).status == 307


async def test_proxies_come_from_the_configuration_only(server: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with contextlib.aclosing(server.transport()) as transport:
        assert (await transport.request("GET", "/x")).status == 200
    proxied = Configuration("http://api.invalid", proxy_url=server.url)
    async with contextlib.aclosing(server.transport(configuration=proxied)) as transport:
        assert (await transport.request("GET", "/x")).status == 200


@pytest.mark.parametrize("server_url", ["https://example.invalid:6443", "http://example.invalid:6443"])
async def test_a_proxy_s_password_stays_secret(server_url: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw_server(handle) as url:
        configuration = Configuration(
            server_url, proxy_url=url.replace("://", "://bob:hunter2@"), credentials=TokenCredentials("t0ken")
        )
        assert "hunter2" not in repr(configuration)
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            if server_url.startswith("http:"):
                assert (await transport.request("GET", "/version")).status == 407
                return
            with pytest.raises(TransportError, match="407: Proxy Authentication Required") as caught:
                await transport.request("GET", "/version")
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert "hunter2" not in told
    assert "t0ken" not in told


async def test_a_failure_after_the_last_byte_hits_no_other_request(
    server: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is the attempt's own until it is over, so that dropping it can't cut off who has it next."""
    read = aiohttp.StreamReader.read
    reads = 0
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/next":
            arrived.set()
            await go_on.wait()
        return web.json_response({})

    server.handler = handler

    async def late(payload: aiohttp.StreamReader) -> bytes:
        nonlocal reads
        reads += 1
        first = reads == 1
        content = await read(payload)
        if first:
            await asyncio.sleep(0)
            raise TimeoutError  # the deadline, a moment too late to matter
        return content

    monkeypatch.setattr(aiohttp.StreamReader, "read", late)
    async with contextlib.aclosing(server.transport(max_requests=1)) as transport:
        first = asyncio.create_task(transport.request("GET", "/x"))
        following = asyncio.create_task(transport.request("GET", "/next"))
        with pytest.raises(TransportError, match="no answer within"):
            await first
        await arrived.wait()
        go_on.set()
        assert (await following).status == 200
