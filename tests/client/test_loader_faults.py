"""Faults of kubernetes_asyncio's loaders (36.1 and before), none of which reaches our users.

Each test does what a report of such a fault does. Faults that have a test elsewhere: the provider of ``oidc`` was not
checked, and a public client's refresh failed (test_oidc.py); proxy-url and tls-server-name were ignored (test_tls.py);
impersonation is (test_credential_kinds.py).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import tempfile
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import AiohttpTransport, Configuration, ServerTrust
from pyoperator.client._tls import TLSContexts
from tests.client.certificates import Authority, serve_tls
from tests.client.kubeconfigs import AdjustableClock, authorization, counting, kubeconfig, load, plugin, write

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_plugins_token_is_renewed_by_itself(tmp_path: Path) -> None:
    """tomplus/kubernetes_asyncio#257: it was asked for once, unless the program ran a task of its own."""
    status = "{'token': f't{count}', 'expirationTimestamp': f'2026-01-0{count}T00:01:00Z'}"
    clock = AdjustableClock(asyncio.get_running_loop(), epoch=0)
    clock.epoch = 1_767_225_600.0 - clock.elapsed()
    user = plugin(tmp_path, counting(tmp_path, status))
    configuration = load(write(tmp_path / "c", kubeconfig(user)), clock=clock)
    assert await authorization(configuration) == "Bearer t1"
    clock.ahead += 55
    assert await authorization(configuration) == "Bearer t2"


async def test_a_plugin_that_complains_at_length_does_not_hang(tmp_path: Path) -> None:
    """Its standard error was read only after its output: more than a pipe holds, and both waited for ever."""
    script = "sys.stderr.write('x' * 1_000_000)\n" + counting(tmp_path, "{'token': 't'}")
    configuration = load(write(tmp_path / "c", kubeconfig(plugin(tmp_path, script))))
    async with asyncio.timeout(60):
        assert await authorization(configuration) == "Bearer t"


async def test_a_plugin_is_found_beside_the_kubeconfig_and_gets_the_cluster(tmp_path: Path) -> None:
    """A relative command was looked for in the working directory; provideClusterInfo was ignored."""
    cluster = "json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec']['cluster']['server']"
    user = plugin(tmp_path, counting(tmp_path, f"{{'token': {cluster}}}"), provideClusterInfo=True)
    configuration = load(write(tmp_path / "c", kubeconfig(user)))
    assert await authorization(configuration) == "Bearer https://api.test:6443"


async def test_tokens_lose_their_line_ends_and_files_are_read_again(tmp_path: Path) -> None:
    """The file was read once, at the start; a line end in it made an invalid header."""
    write(tmp_path / "t", "one\n")
    clock = AdjustableClock(asyncio.get_running_loop())
    configuration = load(write(tmp_path / "c", kubeconfig({"tokenFile": "t"})), clock=clock)
    assert await authorization(configuration) == "Bearer one"
    write(tmp_path / "t", "three\r\n")
    clock.ahead += 11
    assert await authorization(configuration) == "Bearer three"


async def test_a_pods_token_is_read_again_by_every_transport(tmp_path: Path) -> None:
    """tomplus/kubernetes_asyncio#253: a copy of the configuration kept the old token."""
    write(tmp_path / "token", "one")
    write(tmp_path / "ca.crt", "x")
    clock = AdjustableClock(asyncio.get_running_loop())
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    loaded = [Configuration.load(environ=environ, service_account_directory=tmp_path, clock=clock) for _ in range(2)]
    assert {await authorization(configuration) for configuration in loaded} == {"Bearer one"}
    write(tmp_path / "token", "two!")
    clock.ahead += 11
    assert {await authorization(configuration) for configuration in loaded} == {"Bearer two!"}


def test_the_first_file_names_the_context(tmp_path: Path) -> None:
    """The last one did, other than with kubectl."""
    contexts = [{"name": name, "context": {"cluster": name, "user": "u"}} for name in ("one", "two")]
    clusters = [{"name": name, "cluster": {"server": f"https://{name}"}} for name in ("one", "two")]
    write(tmp_path / "1", kubeconfig(contexts=contexts, clusters=clusters) | {"current-context": "one"})
    write(tmp_path / "2", {"current-context": "two"})
    environ = {"KUBECONFIG": f"{tmp_path / '1'}{os.pathsep}{tmp_path / '2'}"}
    assert Configuration.load(environ=environ).server == "https://one"


def test_a_context_without_a_user(tmp_path: Path) -> None:
    """tomplus/kubernetes_asyncio#435: a TypeError, if the server's address is https."""
    document = kubeconfig(contexts=[{"name": "main", "context": {"cluster": "c"}}], users=[])
    assert load(write(tmp_path / "c", document)).server == "https://api.test:6443"


async def test_no_key_is_left_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and certificates became temporary files, there until the end of the process, or gone too early."""
    if not hasattr(os, "memfd_create"):
        pytest.skip("OpenSSL takes keys only from files here")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    made: list[str] = []
    monkeypatch.setattr(tempfile, "mkstemp", lambda *_, **__: made.append("file"))
    authority = Authority()
    certificate, key = authority.issue("jane")
    async with serve_tls(tmp_path, authority, clients=authority) as server:
        user = {
            "client-certificate-data": base64.b64encode(certificate).decode(),
            "client-key-data": base64.b64encode(key).decode(),
        }
        cluster = {"server": server.url, "certificate-authority-data": base64.b64encode(authority.pem).decode()}
        configuration = load(write(tmp_path / "c", kubeconfig(user, cluster)))
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            assert (await transport.request("GET", "/x")).body == b"jane"
    assert made == []
    assert list(folder.iterdir()) == []


def test_authorities_without_key_identifiers_are_believed() -> None:
    """tomplus/kubernetes_asyncio#349: Python 3.13 refuses them by default, and many clusters have such."""
    context = TLSContexts(ServerTrust(ca_data=Authority().pem)).context(None)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_loading_changes_nothing_global(tmp_path: Path) -> None:
    """A default Configuration of the whole process was replaced: a second cluster took over the first."""
    first = load(write(tmp_path / "1", kubeconfig()))
    second = load(write(tmp_path / "2", kubeconfig(cluster={"server": "https://other"})))
    assert (first.server, second.server) == ("https://api.test:6443", "https://other")
    assert first.credentials is not second.credentials
