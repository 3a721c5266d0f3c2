from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.client import Configuration, ConfigurationError, TransportError
from pyoperator.clock import LoopClock
from tests.client.kubeconfigs import SECRET, authorization, counting, kubeconfig, load, plugin, write

if TYPE_CHECKING:
    from pathlib import Path


async def test_token(tmp_path: Path) -> None:
    configuration = load(write(tmp_path / "config", kubeconfig()))
    assert configuration.server == "https://api.test:6443"
    assert configuration.namespace == "shop"
    assert await authorization(configuration) == f"Bearer {SECRET}"
    assert "main" in configuration.source
    assert SECRET not in repr(configuration)


class TestPrecedence:
    def environment(self, tmp_path: Path) -> tuple[dict[str, str], Path]:
        account = tmp_path / "sa"
        account.mkdir()
        for name in ("token", "ca.crt"):
            (account / name).write_text("x")
        (account / "namespace").write_text("pods-own\n")
        write(tmp_path / ".kube/config", kubeconfig(cluster={"server": "https://home"}))
        write(tmp_path / "env", kubeconfig(cluster={"server": "https://env"}))
        write(tmp_path / "flag", kubeconfig(cluster={"server": "https://flag"}))
        environ = {
            "HOME": str(tmp_path),
            "KUBECONFIG": str(tmp_path / "env"),
            "KUBERNETES_SERVICE_HOST": "fd00::1",
            "KUBERNETES_SERVICE_PORT": "443",
        }
        return environ, account

    def test_flag_then_variable_then_pod_then_home(self, tmp_path: Path) -> None:
        environ, account = self.environment(tmp_path)

        def server(flag: Path | None = None, context: str | None = None) -> str:
            return Configuration.load(flag, context, environ, service_account_directory=account).server

        assert server(tmp_path / "flag") == "https://flag"
        assert server() == "https://env"
        del environ["KUBECONFIG"]
        assert server() == "https://[fd00::1]:443"
        assert server(context="main") == "https://home"
        del environ["KUBERNETES_SERVICE_HOST"]
        assert server() == "https://home"
        environ["HOME"] = str(tmp_path / "nowhere")
        with pytest.raises(ConfigurationError, match="kubeconfig=FILE"):
            server()

    async def test_the_pods_token_is_read_again_when_rotated(self, tmp_path: Path) -> None:
        environ, account = self.environment(tmp_path)
        del environ["KUBECONFIG"]
        configuration = Configuration.load(environ=environ, service_account_directory=account)
        assert configuration.namespace == "pods-own"
        assert await authorization(configuration) == "Bearer x"
        (account / "token").write_text("renewed")
        assert await authorization(configuration) == "Bearer x"  # looked at only every few seconds
        assert await configuration.credentials.refresh()
        assert await authorization(configuration) == "Bearer renewed"
        (account / "token").unlink()
        assert not await configuration.credentials.refresh()

    def test_files_of_the_variable_are_merged_first_wins(self, tmp_path: Path) -> None:
        first = write(tmp_path / "1", {"clusters": [{"name": "c", "cluster": {"server": "https://one"}}]})
        second = write(tmp_path / "2", kubeconfig(cluster={"server": "https://two"}))
        environ = {"KUBECONFIG": os.pathsep.join([str(first), str(tmp_path / "missing"), str(second)])}
        assert Configuration.load(environ=environ).server == "https://one"


class TestUsers:
    async def test_basic(self, tmp_path: Path) -> None:
        configuration = load(write(tmp_path / "c", kubeconfig({"username": "jane", "password": SECRET})))
        expected = base64.b64encode(f"jane:{SECRET}".encode()).decode()
        assert await authorization(configuration) == f"Basic {expected}"
        assert SECRET not in repr(configuration.credentials)

    async def test_token_file_is_relative_to_the_kubeconfig(self, tmp_path: Path) -> None:
        write(tmp_path / "secrets/token", "from-file\n")
        configuration = load(write(tmp_path / "c", kubeconfig({"tokenFile": "secrets/token"})))
        assert await authorization(configuration) == "Bearer from-file"

    async def test_certificates_from_data_and_files(self, tmp_path: Path) -> None:
        data = base64.b64encode(b"PEM").decode()
        user = {"client-certificate-data": data, "client-key": "key.pem"}
        write(tmp_path / "key.pem", SECRET)
        configuration = load(write(tmp_path / "c", kubeconfig(user, {"certificate-authority-data": data})))
        certificate = await configuration.credentials.certificate()
        assert certificate is not None
        assert (certificate.certificate, certificate.key) == (b"PEM", SECRET.encode())
        assert SECRET not in repr(certificate)
        assert configuration.trust.ca_data == b"PEM"
        assert await authorization(configuration) == ""

    async def test_certificate_files_are_read_again(self, tmp_path: Path) -> None:
        for name in ("crt", "key"):
            write(tmp_path / name, "one")
        user = {"client-certificate": "crt", "client-key": "key"}
        configuration = load(write(tmp_path / "c", kubeconfig(user)))
        assert not await configuration.credentials.refresh()
        write(tmp_path / "crt", "renewed")
        assert await configuration.credentials.refresh()
        certificate = await configuration.credentials.certificate()
        assert certificate is not None
        assert certificate.certificate == b"renewed"

    def test_cluster_settings(self, tmp_path: Path) -> None:
        cluster = {
            "insecure-skip-tls-verify": True,
            "tls-server-name": "api.internal",
            "proxy-url": "http://proxy:3128",
            "disable-compression": True,
        }
        configuration = load(write(tmp_path / "c", kubeconfig({"as": "jane", "as-groups": ["devs"]}, cluster)))
        assert configuration.trust.insecure
        assert "insecure-skip-tls-verify" in configuration.warnings[0]
        assert configuration.trust.server_name == "api.internal"
        assert configuration.proxy_url == "http://proxy:3128"
        assert configuration.disable_compression
        assert configuration.headers == (("impersonate-user", "jane"), ("impersonate-group", "devs"))


ERRORS: dict[str, tuple[Any, str]] = {
    "yaml": (f"users: [{SECRET}: {{", "not valid YAML at line"),
    "list": ("- 1", "expected a mapping"),
    "sections": ({"clusters": "x"}, "clusters must be a list"),
    "entry": ({"users": [{"user": {}}]}, "needs a name"),
    "no context": (kubeconfig() | {"current-context": ""}, r"no current-context; .*context=NAME.*main"),
    "unknown context": (kubeconfig() | {"current-context": "x"}, "'x', which does not exist; known contexts: main"),
    "unknown cluster": (kubeconfig(clusters=[]), "the cluster 'c', which does not exist; known clusters: none"),
    "unknown user": (kubeconfig(users=[]), "the user 'u', which does not exist"),
    "no server": (kubeconfig(clusters=[{"name": "c", "cluster": {}}]), "has no server"),
    "bad server": (kubeconfig(cluster={"server": "api:6443"}), "must start with https://"),
    "base64": (kubeconfig(cluster={"certificate-authority-data": "%%"}), "not valid base64"),
    "missing ca": (kubeconfig(cluster={"certificate-authority": "nope.crt"}), "cannot read certificate-authority"),
    "half certificate": (kubeconfig({"client-key-data": "eA=="}), "belong together"),
    "number token": (kubeconfig({"token": 5}), "must be a text"),
    "exec version": (kubeconfig({"exec": {"command": "x", "apiVersion": "v0"}}), "apiVersion v0 is not supported"),
    "exec command": (kubeconfig({"exec": {}, "token": 5}), "must be a text"),
    "interactive": (
        kubeconfig(
            {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Always"}}
        ),
        "no terminal",
    ),
    "socks": (kubeconfig(cluster={"proxy-url": "socks5://x"}), "http:// or https:// proxy-url"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line_with_a_remedy(case: str, tmp_path: Path) -> None:
    document, message = ERRORS[case]
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(write(tmp_path / "config", document))
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist; correct the path"):
        load(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ConfigurationError, match="none of the files"):
        Configuration.load(environ={"KUBECONFIG": os.pathsep.join(["/nowhere/1", "/nowhere/2"])})
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not a text file"):
        load(binary)


class TestExecPlugin:
    async def test_it_runs_once_for_many_and_again_when_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        user = plugin(tmp_path, counting(tmp_path, "{'token': f'token-{count}'}"))
        configuration = load(write(tmp_path / "c", kubeconfig(user)))
        tokens = await asyncio.gather(*(authorization(configuration) for _ in range(5)))
        assert set(tokens) == {"Bearer token-1"}
        assert await configuration.credentials.refresh()
        assert await authorization(configuration) == "Bearer token-2"
        assert repr(configuration.credentials) == "ExecCredentials(<redacted>)"

    async def test_a_stalled_loop_does_not_keep_another_loop_from_its_credentials(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One configuration serves the work and the election, which live on different threads."""
        monkeypatch.chdir(tmp_path)
        user = plugin(tmp_path, counting(tmp_path, "{'token': f'token-{count}'}"))
        configuration = load(write(tmp_path / "c", kubeconfig(user)))
        waiting = asyncio.create_task(authorization(configuration))
        while configuration.credentials.runs == 0:  # type: ignore[attr-defined]  # noqa: ASYNC110 - a plain counter
            await asyncio.sleep(0.001)
        found: list[str] = []
        election = threading.Thread(target=lambda: found.append(asyncio.run(authorization(configuration))), daemon=True)
        election.start()
        election.join(10)  # this loop does not run meanwhile, although its plugin has ended long ago
        assert len(found) == 1
        assert found[0].startswith("Bearer token-")
        assert (await waiting).startswith("Bearer token-")

    async def test_it_runs_again_when_expired(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        status = "{'token': f't{count}', 'expirationTimestamp': '2026-01-01T00:01:00Z'}"
        user = plugin(tmp_path, counting(tmp_path, status))
        clock = LoopClock(asyncio.get_running_loop(), epoch=0)
        clock.epoch = 1_767_225_600.0 - clock.elapsed()  # the wall says 2026-01-01T00:00:00Z
        configuration = load(write(tmp_path / "c", kubeconfig(user)), clock=clock)
        assert await authorization(configuration) == "Bearer t1"
        assert await authorization(configuration) == "Bearer t1"
        clock.offset = 55
        assert await authorization(configuration) == "Bearer t2"

    async def test_certificate_environment_and_cluster(self, tmp_path: Path) -> None:
        script = (
            "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
            "assert info['spec']['interactive'] is False\n"
            "data = info['spec']['cluster']['server'] + os.environ['EXTRA'] + sys.argv[1]\n"
            "print(json.dumps({'apiVersion': info['apiVersion'], 'kind': 'ExecCredential', 'status': "
            "{'clientCertificateData': data, 'clientKeyData': 'key'}}))"
        )
        user = plugin(
            tmp_path, script, provideClusterInfo=True, env=[{"name": "EXTRA", "value": "+env"}], args=["+arg"]
        )
        configuration = load(write(tmp_path / "c", kubeconfig(user)))
        certificate = await configuration.credentials.certificate()
        assert certificate is not None
        assert certificate.certificate == b"https://api.test:6443+env+arg"
        assert await authorization(configuration) == ""

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("sys.stderr.write('please log in'); sys.exit(3)", "exit code 3: please log in"),
            ("print('hello')", "printed no ExecCredential"),
            ("print('{}')", "answered in no version"),
            (
                "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'status': {}}))",
                "neither a token nor a certificate",
            ),
        ],
    )
    async def test_failures(self, tmp_path: Path, script: str, message: str) -> None:
        configuration = load(write(tmp_path / "c", kubeconfig(plugin(tmp_path, script))))
        with pytest.raises(TransportError, match=message) as caught:
            await authorization(configuration)
        assert not caught.value.sent

    async def test_a_missing_program_shows_the_install_hint(self, tmp_path: Path) -> None:
        user = plugin(tmp_path, "", command="no-such-program-here", installHint="see https://example.com")
        configuration = load(write(tmp_path / "c", kubeconfig(user)))
        with pytest.raises(TransportError, match=r"no-such-program-here.*see https://example.com"):
            await authorization(configuration)

    async def test_a_cancelled_run_leaves_no_process(self, tmp_path: Path) -> None:
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        script = f"import signal; open({str(ready)!r}, 'w').write(str(os.getpid())); signal.pause()"
        configuration = load(write(tmp_path / "c", kubeconfig(plugin(tmp_path, script))))
        task = asyncio.create_task(authorization(configuration))
        process = int(await asyncio.to_thread(ready.read_text))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_the_normal_client_never_imports_kubernetes_asyncio(tmp_path: Path) -> None:
    config = write(tmp_path / "config", kubeconfig(cluster={"server": "http://127.0.0.1:1"}))
    program = f"""
import asyncio, json, sys
import pyoperator.client
light = "aiohttp" not in sys.modules and "yaml" not in sys.modules
from pyoperator.client import AiohttpTransport, Client, Configuration, TransportError
from pyoperator.objects import GroupVersionKind
async def main():
    transport = AiohttpTransport(Configuration.load({str(config)!r}))
    try:
        await Client(transport).get(GroupVersionKind("", "v1", "ConfigMap"), "a/b", timeout=1)
    except TransportError:
        pass
    await transport.aclose()
asyncio.run(main())
print(json.dumps([light, any(name.startswith("kubernetes_asyncio") for name in sys.modules)]))
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [True, False]
