from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from pyoperator.serving import BindAddress, BindError, HTTPServer


def application() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


@pytest.mark.parametrize("bind", ["127.0.0.1:0", ":0", "localhost:0"])
async def test_serves_on_a_port_the_system_chose(bind: str) -> None:
    server = HTTPServer(BindAddress.parse(bind), application())
    await server.start()
    try:
        assert server.port > 0
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{server.port}/") as answer:
            assert await answer.text() == "hello"
        with pytest.raises(RuntimeError, match="already serving"):
            await server.start()
    finally:
        await server.stop()
    await server.stop()
    assert (server.port, server.serving) == (0, False)


async def test_disabled_does_nothing() -> None:
    server = HTTPServer(BindAddress.parse("0"), application())
    await server.start()
    assert not server.serving
    assert "disabled" in repr(server)
    await server.stop()


async def test_a_port_in_use_is_one_line_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HTTPServer(
            BindAddress("127.0.0.1", port), application(), name="metrics", option="--metrics-bind-address"
        )
        with pytest.raises(BindError) as caught:
            await server.start()
    text = str(caught.value)
    assert f"cannot serve metrics on 127.0.0.1:{port}: another process listens there" in text
    assert "--metrics-bind-address" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("bind", "teaches"),
    [
        ("192.0.2.1:0", "no interface"),
        ("does-not-exist.invalid:0", "can't be resolved"),
        ("a..b:0", "can't be resolved"),
    ],
)
async def test_other_failures_teach_too(bind: str, teaches: str) -> None:
    with pytest.raises(BindError, match=teaches):
        await HTTPServer(BindAddress.parse(bind), application()).start()
