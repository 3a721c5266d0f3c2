"""Credentials of the legacy ``oidc`` auth-provider: an ID token, renewed by a refresh token.

Read here and not by kubernetes_asyncio, whose own refresh does not check the provider's certificate unless the
kubeconfig names an authority, fails with one, and insists on a client secret and on a new refresh token each time.
"""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import msgspec

from pyoperator.client._credentials import LockPerLoop, WithCertificate
from pyoperator.client._errors import TransportError
from pyoperator.client._tls import ServerTrust, TLSContexts
from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from pyoperator.client._credentials import CertificateSource
    from pyoperator.clock import Clock

_EARLY = 10.0
"""Seconds before its expiry at which a token counts as expired: it must survive the request it is sent with."""
_CODE = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True, repr=False)
class OIDCProvider:
    """The ``auth-provider`` part of a kubeconfig user; ``trust`` says how the provider itself is checked."""

    issuer: str
    client_id: str
    client_secret: str
    trust: ServerTrust
    timeout: float = 30.0

    def __repr__(self) -> str:
        return f"OIDCProvider({self.issuer!r})"


class _Metadata(msgspec.Struct):
    token_endpoint: str = ""


class _Tokens(msgspec.Struct):
    id_token: str = ""
    refresh_token: str = ""


class _Claims(msgspec.Struct):
    exp: float | None = None


class OIDCCredentials(WithCertificate):
    """Send the ID token; when it has expired, or is refused, get another one from the provider.

    A refresh token that the provider replaces is kept in memory only: the kubeconfig is never written.
    """

    def __init__(
        self,
        provider: OIDCProvider,
        id_token: str,
        refresh_token: str,
        *,
        clock: Clock | None = None,
        certificates: CertificateSource | None = None,
    ) -> None:
        super().__init__(certificates)
        self._provider = provider
        self._tls = TLSContexts(provider.trust)
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._locks = LockPerLoop()
        self._tokens = _Tokens(id_token, refresh_token)
        self._expires = _expiry(id_token)

    async def authorization(self) -> str:
        if not self._valid():
            async with self._locks.lock():
                if not self._valid():
                    await self._renew()
        return f"Bearer {self._tokens.id_token}"

    async def refresh(self) -> bool:
        refused = self._tokens
        if not refused.refresh_token:
            return self._renewed_certificate()
        async with self._locks.lock():
            if self._tokens is refused:
                await self._renew()
        return self._tokens.id_token != refused.id_token

    def _valid(self) -> bool:
        if not self._tokens.id_token:
            return False
        return self._expires is None or self._clock.wall() < self._expires - _EARLY

    async def _renew(self) -> None:
        before = self._tokens
        if not before.refresh_token:
            raise self._failure("the ID token has expired and there is no refresh-token")
        try:
            async with asyncio.timeout(self._provider.timeout), self._session() as session:
                tokens = await self._exchange(session, before.refresh_token)
        except TimeoutError as error:
            raise self._failure(f"no answer within {self._provider.timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError, msgspec.DecodeError) as error:
            # Not chained: such an error may hold the request, and with it the secrets.
            raise self._failure(f"{type(error).__name__}") from None
        if not tokens.id_token:
            raise self._failure("its answer has no id_token")
        self._expires = _expiry(tokens.id_token)
        self._tokens = _Tokens(tokens.id_token, tokens.refresh_token or before.refresh_token)

    async def _exchange(self, session: aiohttp.ClientSession, refresh_token: str) -> _Tokens:
        issuer = self._provider.issuer.rstrip("/")
        async with session.get(f"{issuer}/.well-known/openid-configuration") as response:
            if response.status != 200:
                raise self._failure(f"its openid-configuration answers HTTP {response.status}")
            endpoint = msgspec.json.decode(await response.read(), type=_Metadata).token_endpoint
        if not endpoint.startswith("https://") and issuer.startswith("https://"):
            raise self._failure("its token_endpoint is not https")
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        identity, secret = self._provider.client_id, self._provider.client_secret
        in_form = {**form, "client_id": identity, **({"client_secret": secret} if secret else {})}
        if not secret:
            return await self._post(session, endpoint, in_form, {})
        pair = base64.b64encode(f"{quote(identity, safe='')}:{quote(secret, safe='')}".encode()).decode()
        try:
            return await self._post(session, endpoint, form, {"authorization": f"Basic {pair}"})
        except TransportError:
            # Some providers take the client's secret in the form only.
            return await self._post(session, endpoint, in_form, {})

    async def _post(
        self, session: aiohttp.ClientSession, endpoint: str, form: dict[str, str], headers: dict[str, str]
    ) -> _Tokens:
        async with session.post(endpoint, data=form, headers=headers, allow_redirects=False) as response:
            body = await response.read()
            if response.status != 200:
                raise self._failure(f"HTTP {response.status}{_error_code(body)}")
            return msgspec.json.decode(body, type=_Tokens)

    def _session(self) -> aiohttp.ClientSession:
        context: Any = self._tls.context(None) if self._provider.issuer.startswith("https://") else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    def _failure(self, reason: str) -> TransportError:
        return TransportError(
            f"the OpenID Connect provider {self._provider.issuer} gave no token: {reason}: log in again, or use an "
            "exec plugin",
            sent=False,
        )


def _expiry(token: str) -> float | None:
    """Return when a JWT expires (seconds since the epoch), None if it does not say or is none: then only a 401 tells."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (ValueError, msgspec.DecodeError):  # the latter is one of the former from msgspec 0.21 on
        return None


def _error_code(body: bytes) -> str:
    """Return OAuth's error code, the only part of such an answer that is safe to show."""
    try:
        code = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (ValueError, msgspec.DecodeError):
        return ""
    return f" {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
