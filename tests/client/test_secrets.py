"""No secret of any kind of credentials shows in a log line at any level, an error, a traceback or a repr."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import LogCapture

from pyoperator.client import (
    AiohttpTransport,
    ApiError,
    Client,
    Configuration,
    ConfigurationError,
    MergePatch,
    RetryPolicy,
    TransportError,
)
from pyoperator.objects import GroupVersionKind, Unstructured
from tests.client.certificates import Authority
from tests.client.kubeconfigs import plugin, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

TOKEN = "t0ken-s3cret"
PASSWORD = "passw0rd-s3cret"
SECRETS = [TOKEN, PASSWORD, base64.b64encode(f"jane:{PASSWORD}".encode()).decode()]
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


def printing(status: dict[str, Any], *, fails: bool = False) -> str:
    document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(json.dumps(document))})" + ("\nprint('}')" if fails else "")


def google(tmp_path: Path) -> dict[str, Any]:
    program = tmp_path / "gcloud"
    answer = {"credential": {"access_token": TOKEN, "token_expiry": "2099-01-01T00:00:00Z"}}
    program.write_text(f"#!{sys.executable} -S\nprint({json.dumps(json.dumps(answer))})\n")
    program.chmod(0o755)
    return {"auth-provider": {"name": "gcp", "config": {"cmd-path": str(program), "cmd-args": "x"}}}


def certificate(name: str = "jane") -> tuple[str, str]:
    return tuple(part.decode() for part in Authority().issue(name))  # type: ignore[return-value]  # always a pair


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def token_file(tmp_path: Path) -> dict[str, Any]:
    write(tmp_path / "token", TOKEN)
    return {"tokenFile": "token"}


def inline_certificate(_: Path) -> dict[str, Any]:
    chain, key = certificate()
    SECRETS.extend(line for line in key.splitlines() if len(line) > 30 and not line.startswith("-"))
    return {"client-certificate-data": encoded(chain), "client-key-data": encoded(key)}


def oidc(_: Path, id_token: str = TOKEN) -> dict[str, Any]:
    config = {"idp-issuer-url": "https://127.0.0.1:1", "id-token": id_token, "client-secret": PASSWORD}
    return {"auth-provider": {"name": "oidc", "config": config | {"refresh-token": TOKEN}}}


KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "token": lambda _: {"token": TOKEN},
    "token file": token_file,
    "basic": lambda _: {"username": "jane", "password": PASSWORD},
    "certificate": inline_certificate,
    "broken key": lambda _: {"client-certificate-data": encoded("PEM"), "client-key-data": encoded(TOKEN)},
    "plugin": lambda path: plugin(path, printing({"token": TOKEN})),
    "plugin with a certificate": lambda path: plugin(
        path, printing({"clientCertificateData": "PEM", "clientKeyData": TOKEN})
    ),
    "plugin with secret arguments": lambda path: plugin(
        path, "sys.exit(1)", args=[PASSWORD], env=[{"name": "X", "value": TOKEN}]
    ),
    "plugin that prints too much": lambda path: plugin(path, printing({"token": TOKEN}, fails=True)),
    "oidc": oidc,
    "oidc, expired": lambda path: oidc(path, ""),
    "google": google,
    "impersonation": lambda _: {"token": TOKEN, "as": "jane"},
}


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=401)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", refuse)
    async with TestServer(app) as running:
        yield str(running.make_url("")).rstrip("/")


@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_told(
    kind: str, tmp_path: Path, server: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    logs = LogCapture()
    logger = structlog.wrap_logger(None, processors=[logs])
    user = KINDS[kind](tmp_path)
    told: list[str] = []
    for address, more in (
        (server, {}),
        (server, {"proxy-url": f"http://bob:{PASSWORD}@127.0.0.1:1"}),
        ("https://127.0.0.1:1", {"insecure-skip-tls-verify": True}),
        ("https://127.0.0.1:1", {"proxy-url": server.replace("://", f"://bob:{PASSWORD}@")}),
    ):
        document = {
            "current-context": "m",
            "contexts": [{"name": "m", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": address, **more}}],
            "users": [{"name": "u", "user": user}],
        }
        configuration = Configuration.load(write(tmp_path / "config", yaml.safe_dump(document)), environ={})
        async with contextlib.aclosing(AiohttpTransport(configuration, logger=logger)) as transport:
            client = Client(transport, retry_policy=RetryPolicy(retries=0))
            parts = (configuration, configuration.credentials, configuration.trust, transport, client)
            told += [f"{part!r} {part}" for part in parts]
            secret = Unstructured.new(CONFIG_MAP, "x", "shop", data={"password": PASSWORD})
            for call in (
                client.create(secret, timeout=5),
                client.patch(CONFIG_MAP, "shop/x", MergePatch({"data": {"p": PASSWORD}}), timeout=5),
            ):
                with pytest.raises((ApiError, TransportError)) as caught:
                    await call
                told += traceback.format_exception(caught.value)
                told.append(f"{caught.value!r} {vars(caught.value)}")
            told.append(repr(transport.statistics()))
    told += [str(entry) for entry in logs.entries]
    told += [f"{record.getMessage()} {record.args}" for record in caplog.records]
    told += capfd.readouterr()
    everything = "\n".join(told)
    assert everything.count("Traceback") >= 8
    assert [secret for secret in SECRETS if secret in everything] == []


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_broken_files_are_not_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    """Of YAML's two parsers the one in Python shows the text around a fault."""
    if loader == "SafeLoader":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    for text in (f"users:\n- name: u\n  user: {{token: {TOKEN}", f"users: [{TOKEN}]", f"- {TOKEN}", f"{TOKEN}: [}}"):
        with pytest.raises(ConfigurationError) as caught:
            Configuration.load(write(tmp_path / "config", text), environ={})
        assert TOKEN not in "".join(traceback.format_exception(caught.value))


async def test_a_token_that_is_no_header_is_not_quoted(tmp_path: Path, server: str) -> None:
    document = {
        "current-context": "m",
        "contexts": [{"name": "m", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": f"{TOKEN}\nx"}}],
    }
    configuration = Configuration.load(write(tmp_path / "config", yaml.safe_dump(document)), environ={})
    async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.request("GET", "/x")
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
