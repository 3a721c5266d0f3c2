"""Each kind of credentials, from the file that holds it to the request that carries it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from pyoperator.client import (
    AiohttpTransport,
    Configuration,
    ConfigurationError,
    TransportError,
    impersonation_headers,
)
from tests.client.kubeconfigs import (
    SECRET,
    AdjustableClock,
    authorization,
    counting,
    kubeconfig,
    load,
    plugin,
    runs,
    write,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Server:
    """Accept the tokens that are valid now."""

    def __init__(self) -> None:
        self.valid: set[str] = set()
        self.requests: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await asyncio.sleep(0)
        authorized = not self.valid or request.headers.get("authorization") in self.valid
        return web.Response(status=200 if authorized else 401)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    fixture = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fixture.answer)
    async with TestServer(app) as running:
        fixture.url = str(running.make_url("")).rstrip("/")
        yield fixture


class TestFiles:
    async def test_entries_of_several_files_with_paths_relative_to_their_own(self, tmp_path: Path) -> None:
        """The first file that names something wins, also for current-context."""
        write(tmp_path / "a/config", {"current-context": "main", "users": [{"name": "u", "user": {"tokenFile": "t"}}]})
        write(tmp_path / "a/t", "from-a")
        write(tmp_path / "b/config", kubeconfig({"tokenFile": "t"}, {"certificate-authority": "ca"}))
        write(tmp_path / "b/t", "from-b")
        write(tmp_path / "b/ca", "authority-of-b")
        write(tmp_path / "c/config", {"current-context": "other"})
        listed = ":".join(str(tmp_path / name / "config") for name in "abc")
        configuration = Configuration.load(environ={"KUBECONFIG": listed})
        assert await authorization(configuration) == "Bearer from-a"
        assert configuration.trust.authorities() == b"authority-of-b"
        assert configuration.namespace == "shop"
        assert "context 'main'" in configuration.source

    async def test_inline_data_goes_before_files(self, tmp_path: Path) -> None:
        data = base64.b64encode(b"inline").decode()
        user = {
            f"client-{part}{end}": value
            for part in ("certificate", "key")
            for end, value in (("-data", data), ("", "nowhere"))
        }
        cluster = {"certificate-authority-data": data, "certificate-authority": "nowhere"}
        configuration = load(write(tmp_path / "c", kubeconfig(user, cluster)))
        certificate = await configuration.credentials.certificate()
        assert certificate is not None
        assert (certificate.certificate, certificate.key) == (b"inline", b"inline")
        assert configuration.trust.authorities() == b"inline"

    async def test_a_token_file_goes_before_a_token_and_what_is_given_before_a_plugin(self, tmp_path: Path) -> None:
        """As kubectl has it: a plugin is asked only where the file holds nothing that could be used as it is."""
        write(tmp_path / "t", "from-file\n")
        never = plugin(tmp_path, "sys.exit(1)")
        for user, expected in (
            ({"token": "x", "tokenFile": "t"}, "Bearer from-file"),
            ({"token": "x", **never}, "Bearer x"),
            ({"username": "a", "password": "b", **never}, f"Basic {base64.b64encode(b'a:b').decode()}"),
            ({"client-certificate-data": "eA==", "client-key-data": "eA==", **never}, ""),
        ):
            configuration = load(write(tmp_path / "c", kubeconfig(user)))
            assert await authorization(configuration) == expected

    async def test_a_context_may_name_no_user(self, tmp_path: Path) -> None:
        document = kubeconfig(contexts=[{"name": "main", "context": {"cluster": "c"}}])
        configuration = load(write(tmp_path / "c", document))
        assert await authorization(configuration) == ""
        assert await configuration.credentials.certificate() is None

    async def test_a_rotated_token_file_is_used_within_ten_seconds(self, tmp_path: Path, server: Server) -> None:
        write(tmp_path / "t", "one\n")
        clock = AdjustableClock(asyncio.get_running_loop())
        document = kubeconfig({"tokenFile": "t"}, {"server": server.url})
        configuration = load(write(tmp_path / "c", document), clock=clock)
        async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
            await transport.request("GET", "/x")
            write(tmp_path / "t", "two\n")
            clock.ahead += 11
            await transport.request("GET", "/x")
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer one", "Bearer two"]

    async def test_a_refused_token_is_read_again_at_once(self, tmp_path: Path, server: Server) -> None:
        """The service account's: in a pod, without waiting for the next look at the file."""
        write(tmp_path / "token", "one")
        write(tmp_path / "ca.crt", "unused")
        configuration = Configuration.load(
            environ={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"},
            service_account_directory=tmp_path,
        )
        configuration = Configuration(server.url, configuration.credentials)
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            server.valid = {"Bearer one"}
            assert (await transport.request("GET", "/x")).status == 200
            write(tmp_path / "token", "two")
            server.valid = {"Bearer two"}
            assert (await transport.request("GET", "/x")).status == 200
            assert transport.statistics().credential_refreshes == 1

    async def test_insecure_is_warned_of_once(self, tmp_path: Path, server: Server) -> None:
        document = kubeconfig(cluster={"server": server.url, "insecure-skip-tls-verify": True})
        configuration = load(write(tmp_path / "c", document))
        with capture_logs() as lines:
            async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
                for _ in range(3):
                    await transport.request("GET", "/x")
        assert [line["event"].partition(" is set")[0] for line in lines] == ["insecure-skip-tls-verify"]


class TestImpersonation:
    async def test_user_uid_groups_and_extra_go_with_every_request(self, tmp_path: Path, server: Server) -> None:
        user = {
            "token": SECRET,
            "as": "jane",
            "as-uid": "42",
            "as-groups": ["devs", "ops"],
            "as-user-extra": {"example.com/scope": ["a", "b"], "100%é": ["c"]},
        }
        configuration = load(write(tmp_path / "c", kubeconfig(user, {"server": server.url})))
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            await transport.request("GET", "/x", headers={"accept": "text/plain"})
            async with transport.stream("GET", "/x"):
                pass
        for request in server.requests:
            headers = request.headers
            assert headers["impersonate-user"] == "jane"
            assert headers["impersonate-uid"] == "42"
            assert headers.getall("impersonate-group") == ["devs", "ops"]
            assert headers.getall("impersonate-extra-example.com%2Fscope") == ["a", "b"]
            assert headers["impersonate-extra-100%25%C3%A9"] == "c"
            assert headers["authorization"] == f"Bearer {SECRET}"
            assert len(headers.getall("user-agent")) == 1

    def test_who_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="add as, or remove them"):
            load(write(tmp_path / "c", kubeconfig({"token": SECRET, "as-groups": ["devs"]})))
        with pytest.raises(ConfigurationError, match="must be a list"):
            load(write(tmp_path / "c", kubeconfig({"token": SECRET, "as": "jane", "as-groups": "devs"})))
        with pytest.raises(ValueError, match="together with a user"):
            impersonation_headers("", groups=["devs"])
        assert impersonation_headers("") == ()


class TestPlugins:
    async def test_one_run_serves_all_who_are_refused_at_once(self, tmp_path: Path, server: Server) -> None:
        user = plugin(tmp_path, counting(tmp_path, "{'token': f'token-{count}'}"))
        configuration = load(write(tmp_path / "c", kubeconfig(user, {"server": server.url})))
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            server.valid = {"Bearer token-1"}
            assert (await transport.request("GET", "/x")).status == 200
            server.valid = {"Bearer token-2"}
            answers = await asyncio.gather(*(transport.request("GET", f"/{number}") for number in range(10)))
            assert [answer.status for answer in answers] == [200] * 10
        assert runs(tmp_path) == 2

    async def test_a_server_that_refuses_everything_does_not_run_it_each_time(
        self, tmp_path: Path, server: Server
    ) -> None:
        user = plugin(tmp_path, counting(tmp_path, "{'token': f'token-{count}'}"))
        clock = AdjustableClock(asyncio.get_running_loop())
        configuration = load(write(tmp_path / "c", kubeconfig(user, {"server": server.url})))
        server.valid = {"Bearer never"}
        async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
            for _ in range(5):
                assert (await transport.request("GET", "/x")).status == 401
            assert runs(tmp_path) == 2
            clock.ahead += 6
            assert (await transport.request("GET", "/x")).status == 401
        assert runs(tmp_path) == 3

    async def test_the_older_version_of_the_contract(self, tmp_path: Path) -> None:
        version = "client.authentication.k8s.io/v1beta1"
        user = plugin(tmp_path, counting(tmp_path, "{'token': 'old'}", "v1beta1"), apiVersion=version)
        assert await authorization(load(write(tmp_path / "c", kubeconfig(user)))) == "Bearer old"

    @pytest.mark.parametrize("mode", ["Never", "IfAvailable"])
    async def test_it_gets_the_cluster_and_no_terminal(self, tmp_path: Path, mode: str) -> None:
        script = (
            "spec = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec']\n"
            "assert spec['interactive'] is False and sys.stdin.read() == ''\n"
            "cluster = spec['cluster']\n"
            "assert cluster['config'] == {'audience': 'x'} and cluster['tls-server-name'] == 'api.internal'\n"
        )
        cluster = {
            "tls-server-name": "api.internal",
            "certificate-authority-data": base64.b64encode(b"PEM").decode(),
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}],
        }
        status = "{'token': cluster['certificate-authority-data']}"
        user = plugin(tmp_path, script + counting(tmp_path, status), provideClusterInfo=True, interactiveMode=mode)
        configuration = load(write(tmp_path / "c", kubeconfig(user, cluster)))
        assert await authorization(configuration) == f"Bearer {base64.b64encode(b'PEM').decode()}"

    async def test_a_certificate_needs_its_key(self, tmp_path: Path) -> None:
        status = "{'token': 't', 'clientCertificateData': 'PEM'}"
        configuration = load(write(tmp_path / "c", kubeconfig(plugin(tmp_path, counting(tmp_path, status)))))
        with pytest.raises(TransportError, match="neither a token nor a certificate with its key"):
            await authorization(configuration)

    async def test_one_that_hangs_is_ended(self, tmp_path: Path, server: Server) -> None:
        """By the request that needs it, within that request's timeout."""
        script = "import signal\nsignal.pause()"
        configuration = load(write(tmp_path / "c", kubeconfig(plugin(tmp_path, script), {"server": server.url})))
        async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
            with pytest.raises(TransportError, match="no answer within"):
                await transport.request("GET", "/x", timeout=0.5)
        assert server.requests == []
