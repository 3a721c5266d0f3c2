"""The legacy auth-provider ``oidc``, against an identity provider of our own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pyoperator.client import AiohttpTransport, Configuration, ConfigurationError, TransportError
from tests.client.certificates import LOOPBACK, Authority
from tests.client.kubeconfigs import AdjustableClock, authorization, kubeconfig, load, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_767_225_600.0


def id_token(expires: float, name: str = "") -> str:
    """Return a JWT whose payload, base64, has the two signs that only the URL-safe alphabet has."""

    def part(document: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(document, ensure_ascii=False).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'none'})}.{part({'exp': expires, 'name': f'{name}ÿþ?>~~ÿ'})}.{'c2ln'}"
    assert "-" in token or "_" in token
    return token


class Provider:
    """An identity provider; ``answers`` are the tokens it gives next."""

    def __init__(self) -> None:
        self.url = ""
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []
        self.answers: list[dict[str, str]] = []
        self.status = 200
        self.form_only = False
        self.endpoint = ""

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "token_endpoint": self.endpoint or f"{self.url}/token"})

    async def token(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        self.authorizations.append(request.headers.get("authorization"))
        if self.status != 200 or (self.form_only and "client_secret" not in self.forms[-1]):
            status = 401 if self.status == 200 else self.status
            return web.json_response({"error": "invalid_grant", "secret": "s3cret"}, status=status)
        return web.json_response(self.answers.pop(0))


@pytest.fixture(name="authority", scope="module")
def _authority() -> Authority:
    return Authority()


@pytest.fixture
async def provider(tmp_path: Path, authority: Authority) -> AsyncIterator[Provider]:
    found = Provider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", found.discovery)
    app.router.add_post("/token", found.token)
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for file, content in zip(("idp.crt", "idp.key"), authority.issue("idp", LOOPBACK), strict=True):
        (tmp_path / file).write_bytes(content)
    context.load_cert_chain(tmp_path / "idp.crt", tmp_path / "idp.key")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    found.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


def configure(tmp_path: Path, provider: Provider, authority: Authority | None, **config: str) -> Configuration:
    settings = {"idp-issuer-url": provider.url, "client-id": "kube", "refresh-token": "r0-s3cret", **config}
    if authority is not None:
        settings["idp-certificate-authority-data"] = base64.b64encode(authority.pem).decode()
    clock = AdjustableClock(asyncio.get_running_loop(), epoch=0)
    clock.epoch = NOW - clock.elapsed()
    user = {"auth-provider": {"name": "oidc", "config": settings}}
    return load(write(tmp_path / "config", kubeconfig(user)), clock=clock)


async def test_a_token_that_is_valid_is_used_as_it_is(tmp_path: Path, provider: Provider, authority: Authority) -> None:
    token = id_token(NOW + 3600)
    configuration = configure(tmp_path, provider, authority, **{"id-token": token})
    assert await authorization(configuration) == f"Bearer {token}"
    assert provider.forms == []


async def test_an_expired_token_is_renewed_once_for_all_who_wait(
    tmp_path: Path, provider: Provider, authority: Authority
) -> None:
    """A provider may keep the refresh token, or replace it; the client may have no secret."""
    renewed = [id_token(NOW + 60, str(number)) for number in range(3)]
    provider.answers = [{"id_token": renewed[0]}, {"id_token": renewed[1], "refresh_token": "r1-s3cret"}]
    provider.answers.append({"id_token": renewed[2]})
    configuration = configure(tmp_path, provider, authority, **{"id-token": id_token(NOW - 1)})
    tokens = await asyncio.gather(*(authorization(configuration) for _ in range(5)))
    assert set(tokens) == {f"Bearer {renewed[0]}"}
    assert provider.forms == [{"grant_type": "refresh_token", "refresh_token": "r0-s3cret", "client_id": "kube"}]
    assert await configuration.credentials.refresh()  # refused by the server: renewed although it has not expired
    assert await configuration.credentials.refresh()
    assert [form["refresh_token"] for form in provider.forms] == ["r0-s3cret", "r0-s3cret", "r1-s3cret"]
    assert repr(configuration.credentials) == "OIDCCredentials(<redacted>)"


@pytest.mark.parametrize("form_only", [False, True])
async def test_the_clients_secret(tmp_path: Path, provider: Provider, authority: Authority, form_only: bool) -> None:
    provider.answers = [{"id_token": id_token(NOW + 60)}]
    provider.form_only = form_only
    configuration = configure(tmp_path, provider, authority, **{"client-secret": "pass word"})
    await authorization(configuration)
    assert provider.authorizations[0] == f"Basic {base64.b64encode(b'kube:pass%20word').decode()}"
    assert provider.forms[-1].get("client_secret") == ("pass word" if form_only else None)


async def test_the_provider_is_always_checked(tmp_path: Path, provider: Provider, authority: Authority) -> None:
    """kubernetes-client/python issues 2034 and 2341: without an authority in the file nothing was checked."""
    for trusted in (None, Authority()):
        configuration = configure(tmp_path, provider, trusted)
        with pytest.raises(TransportError, match="gave no token: ClientConnectorCertificateError"):
            await authorization(configuration)
    assert provider.forms == []
    write(tmp_path / "authority.pem", authority.pem.decode())
    configuration = configure(tmp_path, provider, None, **{"idp-certificate-authority": "authority.pem"})
    provider.answers = [{"id_token": id_token(NOW + 60)}]
    assert (await authorization(configuration)).startswith("Bearer ")


async def test_failures_teach_and_keep_secrets(tmp_path: Path, provider: Provider, authority: Authority) -> None:
    async def failure(**config: str) -> str:
        configuration = configure(tmp_path, provider, authority, **config)
        with pytest.raises(TransportError, match="log in again, or use an exec plugin") as caught:
            await authorization(configuration)
        assert caught.value.__cause__ is None
        assert not caught.value.sent
        assert "s3cret" not in str(caught.value)
        return str(caught.value)

    assert "has expired and there is no refresh-token" in await failure(**{"refresh-token": ""})
    provider.status = 400
    assert "HTTP 400 invalid_grant" in await failure()
    provider.status, provider.answers = 200, [{"access_token": "s3cret"}]
    assert "no id_token" in await failure()
    provider.endpoint = "http://127.0.0.1:1/token"
    assert "token_endpoint is not https" in await failure()


async def test_a_token_that_is_no_jwt_is_used_until_it_is_refused(
    tmp_path: Path, provider: Provider, authority: Authority
) -> None:
    for token in ("opaque", "a.%%%.c", "a.e30.c"):
        configuration = configure(tmp_path, provider, authority, **{"id-token": token})
        assert await authorization(configuration) == f"Bearer {token}"
    configuration = configure(tmp_path, provider, authority, **{"id-token": "opaque", "refresh-token": ""})
    assert not await configuration.credentials.refresh()
    assert provider.forms == []


def test_settings_that_miss_something(tmp_path: Path) -> None:
    for provider, message in (
        ({"name": "oidc"}, "no idp-issuer-url"),
        ({"config": {}}, "needs a name"),
        ("oidc", "needs a name"),
        (
            {"name": "oidc", "config": {"idp-issuer-url": "https://x", "idp-certificate-authority": "nowhere"}},
            "cannot read idp-certificate-authority",
        ),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load(write(tmp_path / "c", kubeconfig({"auth-provider": provider})))


async def test_a_whole_request(tmp_path: Path, provider: Provider, authority: Authority) -> None:
    """The provider is asked within the request's own timeout, and before a byte of it is sent."""
    provider.status = 400
    configuration = configure(tmp_path, provider, authority)
    async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
        with pytest.raises(TransportError, match="gave no token") as caught:
            await transport.request("DELETE", "/x")
    assert not caught.value.sent
