"""How servers, clients and proxies prove themselves, and what happens when their certificates are exchanged."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from pyoperator.client import AiohttpTransport, Configuration, ServerTrust, TokenCredentials, TransportError
from tests.client.certificates import LOOPBACK, Authority, serve_tls
from tests.client.kubeconfigs import AdjustableClock, counting, kubeconfig, load, plugin, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def ask(configuration: Configuration) -> str:
    async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
        return (await transport.request("GET", "/x")).body.decode()


class TestServers:
    async def test_the_servers_certificate_is_checked(self, tmp_path: Path) -> None:
        authority = Authority()
        async with serve_tls(tmp_path, authority) as server:
            assert await ask(Configuration(server.url, trust=ServerTrust(ca_data=authority.pem))) == "nobody"
            for trust in (ServerTrust(), ServerTrust(ca_data=Authority().pem)):
                with pytest.raises(TransportError, match="TLS failed"):
                    await ask(Configuration(server.url, trust=trust))

    async def test_server_name_and_insecure(self, tmp_path: Path) -> None:
        authority = Authority()
        async with serve_tls(tmp_path, authority, [x509.DNSName("api.internal")]) as server:
            for trust in (ServerTrust(ca_data=authority.pem, server_name="api.internal"), ServerTrust(insecure=True)):
                assert await ask(Configuration(server.url, TokenCredentials("t"), trust)) == "nobody"
            with pytest.raises(TransportError, match="TLS failed"):
                await ask(Configuration(server.url, trust=ServerTrust(ca_data=authority.pem)))

    async def test_a_rotated_authority_is_trusted_by_new_connections(self, tmp_path: Path) -> None:
        """The service account's ca.crt changes while we run; the server closes each connection after its answer."""
        old, new = Authority("old"), Authority("new")
        write(tmp_path / "account/token", "t")
        write(tmp_path / "account/ca.crt", old.pem.decode())
        async with serve_tls(tmp_path, old) as server:
            clock = AdjustableClock(asyncio.get_running_loop())
            configuration = Configuration.load(
                environ={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)},
                clock=clock,
                service_account_directory=tmp_path / "account",
            )
            async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
                assert (await transport.request("GET", "/x")).status == 200
                server.present(*new.issue("server", LOOPBACK))
                with pytest.raises(TransportError, match="TLS failed"):
                    await transport.request("GET", "/x")
                write(tmp_path / "account/ca.crt", new.pem.decode())
                clock.ahead += 11
                assert (await transport.request("GET", "/x")).status == 200


class TestClients:
    async def test_a_rotated_client_certificate_is_presented(self, tmp_path: Path) -> None:
        authority = Authority()

        def issue(name: str) -> None:
            for file, content in zip(("client.crt", "client.key"), authority.issue(name), strict=True):
                write(tmp_path / file, content.decode())

        issue("jane")
        async with serve_tls(tmp_path, authority, clients=authority) as server:
            clock = AdjustableClock(asyncio.get_running_loop())
            write(tmp_path / "ca.crt", authority.pem.decode())
            user = {"client-certificate": "client.crt", "client-key": "client.key"}
            cluster = {"server": server.url, "certificate-authority": "ca.crt"}
            configuration = load(write(tmp_path / "config", kubeconfig(user, cluster)), clock=clock)
            async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
                assert (await transport.request("GET", "/x")).body == b"jane"
                issue("jane-renewed")
                assert (await transport.request("GET", "/x")).body == b"jane"
                clock.ahead += 11
                assert (await transport.request("GET", "/x")).body == b"jane-renewed"

    async def test_a_plugins_certificate_is_renewed_when_it_expires(self, tmp_path: Path) -> None:
        authority = Authority()
        for number in (1, 2):
            for file, content in zip(("crt", "key"), authority.issue(f"plugin-{number}"), strict=True):
                write(tmp_path / f"{file}{number}", content.decode())
        read = f"open({str(tmp_path)!r} + '/%s' + str(count)).read()"
        status = (
            f"{{'clientCertificateData': {read % 'crt'}, 'clientKeyData': {read % 'key'}, "
            "'expirationTimestamp': f'2026-01-0{count}T00:01:00Z'}"
        )
        async with serve_tls(tmp_path, authority, clients=authority) as server:
            clock = AdjustableClock(asyncio.get_running_loop(), epoch=0)
            clock.epoch = 1_767_225_600.0 - clock.elapsed()  # the wall says 2026-01-01T00:00:00Z
            user = plugin(tmp_path, counting(tmp_path, status))
            write(tmp_path / "ca.crt", authority.pem.decode())
            cluster = {"server": server.url, "certificate-authority": "ca.crt"}
            configuration = load(write(tmp_path / "config", kubeconfig(user, cluster)), clock=clock)
            async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
                for offset, name in ((0, b"plugin-1"), (0, b"plugin-1"), (55, b"plugin-2"), (0, b"plugin-2")):
                    clock.ahead += offset
                    assert (await transport.request("GET", "/x")).body == name


@contextlib.asynccontextmanager
async def serve_proxy(context: ssl.SSLContext | None) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve CONNECT, over TLS if there is a context; yields the port and the heads of the requests."""
    heads: list[str] = []
    serving: list[asyncio.Task[Any]] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        host, _, port = head.split()[1].partition(":")
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await asyncio.gather(copy(reader, upstream_writer), copy(upstream_reader, writer))
        finally:
            for end in (writer, upstream_writer):
                end.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await end.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1], heads
    finally:
        listening.close()
        await asyncio.gather(*serving)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_carries_tls_and_never_sees_the_token(tmp_path: Path, scheme: str) -> None:
    """An https proxy is checked by the cluster's authority, as client-go does."""
    authority = Authority()
    async with serve_tls(tmp_path, authority) as server:
        context = server.context if scheme == "https" else None
        async with serve_proxy(context) as (port, heads):
            configuration = Configuration(
                server.url,
                TokenCredentials("t0ken"),
                ServerTrust(ca_data=authority.pem),
                proxy_url=f"{scheme}://bob:hunter2@127.0.0.1:{port}",
            )
            assert await ask(configuration) == "nobody"
    assert server.requests[0].headers["authorization"] == "Bearer t0ken"
    assert len(heads) == 1
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} ")
    assert "Proxy-Authorization: Basic" in heads[0]
    assert "t0ken" not in heads[0]
