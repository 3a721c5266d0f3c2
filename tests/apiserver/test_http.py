"""The HTTP face, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.apiserver import EmbeddedServer, EmbeddedServerError
from pyoperator.apiserver.http._kubeconfig import check_kubeconfig, write_kubeconfig
from tests.apiserver.requests import CONFIG_MAPS, config_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyoperator.apiserver.http._embedded import Handler


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer() as running:
        yield running


def connection(server: EmbeddedServer) -> tuple[ssl.SSLContext, str]:
    config = yaml.safe_load(server.kubeconfig.read_text())
    assert server.authority is not None
    context = ssl.create_default_context(cafile=str(server.authority.certificate_file))
    return context, config["users"][0]["user"]["token"]


@pytest.fixture
async def http(server: EmbeddedServer) -> AsyncIterator[aiohttp.ClientSession]:
    context, token = connection(server)
    async with aiohttp.ClientSession(
        server.url,
        connector=aiohttp.TCPConnector(ssl=context),
        headers={"authorization": f"Bearer {token}"},
    ) as session:
        yield session


async def test_objects_over_https(http: aiohttp.ClientSession) -> None:
    async with http.post(CONFIG_MAPS, json=config_map()) as response:
        assert response.status == 201
        assert response.headers["cache-control"] == "no-cache, private"
        assert response.headers["audit-id"]
        made = await response.json()
    async with http.get(f"{CONFIG_MAPS}/a") as response:
        assert await response.json() == made
    async with http.head(f"{CONFIG_MAPS}/a") as response:
        assert (response.status, await response.read()) == (405, b"")  # as the real server, which has GET only
    async with http.post(CONFIG_MAPS, json={**config_map("b"), "wrong": 1}) as response:
        assert response.headers["warning"] == '299 - "unknown field \\"wrong\\""'


async def test_without_or_with_a_wrong_token(server: EmbeddedServer) -> None:
    context, _ = connection(server)
    async with aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(CONFIG_MAPS) as response:
            assert response.status == 403
            assert 'User "system:anonymous" cannot list resource "configmaps"' in (await response.json())["message"]
        async with session.get(CONFIG_MAPS, headers={"authorization": "Bearer wrong"}) as response:
            assert response.status == 401


async def test_a_client_certificate_names_a_user(server: EmbeddedServer, tmp_path: Path) -> None:
    assert server.authority is not None
    certificate, key = server.authority.issue_client("carol", ["system:masters"])
    (tmp_path / "c.crt").write_bytes(certificate)
    (tmp_path / "c.key").write_bytes(key)
    context, _ = connection(server)
    context.load_cert_chain(tmp_path / "c.crt", tmp_path / "c.key")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with (
        aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review) as response,
    ):
        user = (await response.json())["status"]["userInfo"]
    assert user["username"] == "carol"
    assert "system:masters" in user["groups"]


async def test_a_watch_streams_and_ends_with_the_server(http: aiohttp.ClientSession, server: EmbeddedServer) -> None:
    async with http.get(CONFIG_MAPS, params={"watch": "1"}) as response:
        assert response.status == 200
        assert (await http.post(CONFIG_MAPS, json=config_map())).status == 201
        event = json.loads(await response.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
        server.server.end_watches()
        assert await response.content.read() == b""


async def test_a_reader_that_leaves_is_noticed(http: aiohttp.ClientSession, server: EmbeddedServer) -> None:
    async with http.get(CONFIG_MAPS, params={"watch": "1"}) as response:
        assert response.status == 200
        assert server.server.store.watchers == 1
        left = asyncio.Event()
        (watcher,) = server.server.store.watchers_of("configmaps")
        watcher.on_close(left.set)
        response.close()
    async with asyncio.timeout(60):
        await left.wait()
    assert server.server.store.watchers == 0


async def test_large_answers_are_compressed_when_asked(server: EmbeddedServer, http: aiohttp.ClientSession) -> None:
    big = {**config_map(), "data": {"k": "v" * 200_000}}
    assert (await http.post(CONFIG_MAPS, json=big)).status == 201
    context, token = connection(server)
    async with aiohttp.ClientSession(
        server.url, connector=aiohttp.TCPConnector(ssl=context), auto_decompress=False
    ) as session:
        headers = {"authorization": f"Bearer {token}", "accept-encoding": "gzip"}
        async with session.get(f"{CONFIG_MAPS}/a", headers=headers) as response:
            assert response.headers["content-encoding"] == "gzip"
            assert json.loads(gzip.decompress(await response.read()))["data"] == big["data"]
        headers["accept-encoding"] = "identity"
        async with session.get(f"{CONFIG_MAPS}/a", headers=headers) as response:
            assert "content-encoding" not in response.headers


async def raw_answer(server: EmbeddedServer, data: bytes, *, close: bool = False) -> bytes:
    context, _ = connection(server)
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(data)
    await writer.drain()
    if not close:
        async with asyncio.timeout(60):
            answer = await reader.read(65536)
    else:
        answer = b""
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):  # the server may have closed first
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /api/v1/../../etc/passwd HTTP/1.1", b"40"),
        (b"GET /api/v1/namespaces/%2e%2e/secrets HTTP/1.1", b"40"),
        (b"GET /api/v1/%ff%fe HTTP/1.1", b"400"),
        (b"GET http://elsewhere/healthz HTTP/1.1", b"200"),
        (b"GET /%00 HTTP/1.1", b"40"),
        (b"NONSENSE", b"400"),
    ],
)
async def test_path_tricks_over_the_wire(server: EmbeddedServer, request_line: bytes, status: bytes) -> None:
    answer = await raw_answer(server, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ")[1].startswith(status), answer
    assert b"Traceback" not in answer


async def test_aborted_and_oversized_uploads(server: EmbeddedServer, http: aiohttp.ClientSession) -> None:
    _, token = connection(server)
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n" % (
        CONFIG_MAPS.encode(),
        token.encode(),
    )
    await raw_answer(server, head + b'Content-Length: 1000\r\n\r\n{"metadata":{"name":"partial"', close=True)
    answer = await raw_answer(server, head + b"Content-Length: 99999999\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Request entity too large" in answer
    async with http.get(CONFIG_MAPS) as response:
        assert [item["metadata"]["name"] for item in (await response.json())["items"]] == []


async def test_files_are_private_and_vanish(server: EmbeddedServer) -> None:
    folder = server.kubeconfig.parent
    for path in (server.kubeconfig, folder / "pki" / "ca.key", folder / "pki" / "server.key", folder / "admin-token"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    async with EmbeddedServer() as other:
        gone = other.kubeconfig.parent
        assert gone.exists()
    assert not gone.exists()


# YAML has no control characters and no halves of pairs; no header and no name has them either.
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")))


@given(token=WORDS, user=WORDS.filter(bool), authority=st.binary(max_size=40))
def test_any_token_and_user_can_be_written(token: str, user: str, authority: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        write_kubeconfig(path, server="https://127.0.0.1:6443", token=token, user=user, authority=authority)
        written = yaml.safe_load(path.read_text("utf-8"))
        check_kubeconfig(path)
    assert written["users"] == [{"name": user, "user": {"token": token} if token else {}}]
    assert written["contexts"] == [{"name": "pyoperator", "context": {"cluster": "pyoperator", "user": user}}]
    cluster = written["clusters"][0]["cluster"]
    assert cluster.pop("server") == "https://127.0.0.1:6443"
    assert base64.b64decode(cluster.pop("certificate-authority-data", "")) == authority
    assert not cluster


async def test_a_kubeconfig_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config"
    async with EmbeddedServer(kubeconfig_out=path) as running:
        first = yaml.safe_load(path.read_text())
        assert first["clusters"][0]["cluster"]["server"] == running.url
    async with EmbeddedServer(kubeconfig_out=path):
        assert yaml.safe_load(path.read_text()) != first
    path.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(EmbeddedServerError, match="was not written by pyoperator"):
        async with EmbeddedServer(kubeconfig_out=path):
            pass
    assert path.read_text() == "apiVersion: v1\nkind: Config\n"


async def test_insecure_is_for_loopback_only() -> None:
    with pytest.raises(EmbeddedServerError, match="loopback only"):
        async with EmbeddedServer("0.0.0.0:0", insecure=True):
            pass
    async with EmbeddedServer(insecure=True) as running, aiohttp.ClientSession(running.url) as session:
        assert running.url.startswith("http://127.0.0.1:")
        async with session.post(CONFIG_MAPS, json=config_map()) as response:
            assert response.status == 201
        async with session.get("/version", headers={"host": "evil.example.com"}) as response:
            assert response.status == 403


@pytest.mark.parametrize("bind", ["nonsense", "0", "127.0.0.1:99999", "203.0.113.1:0"])
async def test_addresses_that_cannot_be_served(bind: str) -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        async with EmbeddedServer(bind):
            pass
    assert "\n" not in str(caught.value)


async def test_a_data_directory_outlives_its_server(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    async def call(running: EmbeddedServer, method: str, path: str, body: Any = None) -> Any:
        context, token = connection(running)
        headers = {"authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(running.url, connector=aiohttp.TCPConnector(ssl=context), headers=headers) as session,
            session.request(method, path, json=body) as response,
        ):
            return await response.json()

    async with EmbeddedServer(data_dir=folder) as first:
        made = await call(first, "POST", CONFIG_MAPS, config_map())
        await call(first, "POST", CONFIG_MAPS, config_map("b"))
        await call(first, "DELETE", f"{CONFIG_MAPS}/b")
        token = (folder / "admin-token").read_text()
        revision = first.server.store.revision
        with pytest.raises(EmbeddedServerError, match="used by another server"):
            async with EmbeddedServer(data_dir=folder):
                pass
    async with EmbeddedServer(data_dir=folder) as second:
        assert (folder / "admin-token").read_text() == token
        assert await call(second, "GET", f"{CONFIG_MAPS}/a") == made
        assert second.server.store.revision >= revision
        assert (await call(second, "GET", f"{CONFIG_MAPS}/b"))["code"] == 404


async def test_a_middleware_answers_instead_of_the_server(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"

    def fail_posts(handle: Handler) -> Handler:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=503) if request.method == "POST" else await handle(request)

        return answer

    async with EmbeddedServer(audit_log=log, middleware=fail_posts) as server:
        context, token = connection(server)
        async with aiohttp.ClientSession(
            server.url,
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"authorization": f"Bearer {token}"},
        ) as session:
            async with session.post(CONFIG_MAPS, json=config_map()) as response:
                assert response.status == 503
            async with session.get(f"{CONFIG_MAPS}/a") as response:
                assert response.status == 404
    # Only what reached the core was carried out, and is in the log.
    assert {json.loads(line)["verb"] for line in log.read_text().splitlines()} == {"get"}
