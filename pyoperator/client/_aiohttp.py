"""The transport over HTTP(S), on aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from yarl import URL

from pyoperator._version import __version__
from pyoperator.client._errors import LeadershipLost, TransportError
from pyoperator.client._gate import OpenGate, is_mutating
from pyoperator.client._gated_request import Attempt, GatedRequest, current_attempt
from pyoperator.client._tls import TLSContexts
from pyoperator.client._transport import Response
from pyoperator.client._transport_statistics import StatisticsRecorder, TransportStatistics
from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from aiohttp.typedefs import LooseHeaders

    from pyoperator.client._configuration import Configuration
    from pyoperator.client._gate import Gate
    from pyoperator.client._transport import Query, StreamResponse
    from pyoperator.clock import Clock

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_WARNINGS_REMEMBERED = 1000
_REFRESH_FLOOR = 5.0
"""Seconds between two credential refreshes: a server that refuses everything must not make a plugin run per request."""
_KEEP_ALIVE = 20.0
"""Seconds an idle connection is kept: well below the idle limits of API servers and balancers, because a write sent
on a connection that the other side is just closing fails and may not be repeated."""


class AiohttpTransport:
    """Carry requests to the API server of a configuration.

    Nothing is opened before the first request; that fixes the event loop. Requests and watches have connection pools
    of their own, so that watches can't starve requests. ``gate`` is asked when an attempt begins and again right
    before its bytes are written; a mutating request is answered within min(timeout, what the gate allows). A 401 leads
    to one refresh of the credentials, shared by all requests that wait for it, and one more attempt. Nothing else is
    repeated here (that is RetryPolicy's); proxies come from the configuration, never from the environment.
    ``announce`` says what of the configuration is logged at the first request: its warnings, with "all" also its
    source; "nothing" is for the second transport of one configuration.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        gate: Gate | None = None,
        user_agent: str = f"pyoperator/{__version__}",
        clock: Clock | None = None,
        max_requests: int = 100,
        max_watches: int = 500,
        logger: Any = None,
        announce: Literal["all", "warnings", "nothing"] = "warnings",
    ) -> None:
        self.configuration = configuration
        self.gate: Gate = gate if gate is not None else OpenGate()
        self._user_agent = user_agent
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._limits = (max_requests, max_watches)
        self._log: Any = logger if logger is not None else structlog.get_logger("pyoperator.client")
        self._announce = announce
        self._tls = TLSContexts(configuration.trust)
        self._server = configuration.server.rstrip("/")
        url = URL(self._server)
        self._secure = url.scheme == "https"
        self._recorder = StatisticsRecorder(f"{url.host}:{url.port}")
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._refresh = asyncio.Lock()
        self._generation = 0
        self._refreshed_at = float("-inf")
        self._warned: set[str] = set()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        """See Transport.request."""
        deadline = asyncio.get_running_loop().time() + timeout
        generation = self._generation
        response = await self._attempt(method, path, query, body, headers, deadline, timeout)
        if response.status == 401 and await self._refresh_credentials(generation, deadline, method, path):
            response = await self._attempt(method, path, query, body, headers, deadline, timeout)
        return response

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AsyncGenerator[StreamResponse]:
        """See Transport.stream."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + connect_timeout
        generation = self._generation
        opened = await self._open_stream(method, path, query, headers, deadline, connect_timeout)
        try:
            if opened[0].status == 401 and await self._refresh_credentials(generation, deadline, method, path):
                opened[0].close()
                opened = await self._open_stream(method, path, query, headers, deadline, connect_timeout)
            yield _Stream(opened[0], f"{method} {path}", idle_timeout)
        finally:
            response, attempt = opened
            if not response.closed:
                attempt.abort()
            response.close()

    async def aclose(self) -> None:
        """Close all connections; further requests raise TransportError."""
        self._closed = True
        sessions, self._sessions = self._sessions, None
        for session in sessions or ():
            await session.close()

    def statistics(self) -> TransportStatistics:
        """Return what has been sent so far."""
        return self._recorder.statistics()

    def __repr__(self) -> str:
        return f"AiohttpTransport({self._server}, {self.gate!r})"

    # One attempt.

    async def _attempt(
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        deadline: float,
        timeout: float,
    ) -> Response:
        loop = asyncio.get_running_loop()
        attempt = Attempt(method, path, self.gate if is_mutating(method, path) else None)
        started = loop.time()
        if attempt.gate is not None:
            try:
                bound = attempt.gate.admit(method, path)
            except LeadershipLost:
                self._recorder.fenced += 1
                raise
            if bound is not None:
                deadline = min(deadline, started + bound)
        code = "<error>"
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._send(attempt, method, path, query, body, headers, watch=False)
                try:
                    content = await response.read()
                finally:
                    if response.closed:
                        # All has been read: the connection is back in the pool, and may carry another request already.
                        attempt.connection = None
                    response.release()
            code = str(response.status)
        except BaseException as error:
            attempt.abort()
            self._explain(error, attempt, timeout)
        finally:
            self._recorder.record(method, code, loop.time() - started)
        answer_headers = {name.lower(): value for name, value in response.headers.items()}
        self._log_warnings(response)
        return Response(response.status, content, answer_headers)

    async def _open_stream(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str] | None,
        deadline: float,
        timeout: float,
    ) -> tuple[aiohttp.ClientResponse, Attempt]:
        attempt = Attempt(method, path, self.gate if is_mutating(method, path) else None)
        code = "<error>"
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._send(attempt, method, path, query, None, headers, watch=True)
            code = str(response.status)
        except BaseException as error:
            attempt.abort()
            self._explain(error, attempt, timeout)
        finally:
            self._recorder.record(method, code, None)  # how long a watch lasts says nothing about the server
        self._log_warnings(response)
        return response, attempt

    async def _send(
        self,
        attempt: Attempt,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        *,
        watch: bool,
    ) -> aiohttp.ClientResponse:
        session = self._open_sessions()[1 if watch else 0]
        merged: dict[str, str] = {"user-agent": self._user_agent, "accept": "application/json"}
        # A watch's events are too small to gain from compression, and would wait in the compressor.
        merged["accept-encoding"] = "identity" if watch or self.configuration.disable_compression else "gzip"
        if body is not None:
            merged["content-type"] = "application/json"
        if headers:
            merged.update((name.lower(), value) for name, value in headers.items())
        credentials = self.configuration.credentials
        authorization = await credentials.authorization()
        if authorization:
            merged["authorization"] = authorization
        every: LooseHeaders = merged
        if self.configuration.headers:  # these may repeat a name: impersonated groups
            for name, _ in self.configuration.headers:
                merged.pop(name.lower(), None)
            every = [*merged.items(), *self.configuration.headers]
        context = self._tls.context(await credentials.certificate()) if self._secure else True
        url = self._server + quote(path, safe="/:@!$&'()*+,;=~")
        if query:
            url = f"{url}?{urlencode(query)}"
        token = current_attempt.set(attempt)
        try:
            return await session.request(
                method,
                URL(url, encoded=True),
                data=body,
                headers=every,
                ssl=context,
                server_hostname=self.configuration.trust.server_name or None,
                proxy=self.configuration.proxy_url or None,
                allow_redirects=False,
            )
        finally:
            current_attempt.reset(token)

    def _open_sessions(self) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise TransportError("the transport is closed: it was used after aclose()", sent=False)
        if self._sessions is None:
            self._loop = loop
            if self._announce == "all":
                self._log.info("talking to the API server", server=self._server, source=self.configuration.source)
            for warning in self.configuration.warnings if self._announce != "nothing" else ():
                self._log.warning(warning)
            self._sessions = (_session(self._limits[0]), _session(self._limits[1]))
        elif self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop: give each loop a transport of its own")
        return self._sessions

    # What comes back.

    def _explain(self, error: BaseException, attempt: Attempt, timeout: float) -> NoReturn:
        """Map what aiohttp and the operating system raise to TransportError; the only place that does."""
        what = f"{attempt.method} {attempt.path} on {self._server}"
        match error:
            case LeadershipLost():
                self._recorder.fenced += 1
                raise error
            case TransportError():
                raise error
            case TimeoutError():
                limit = f"{timeout:g} s" if attempt.gate is None else f"{timeout:g} s or the lease's remaining validity"
                raise TransportError(f"{what}: no answer within {limit}", sent=attempt.sent) from error
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                raise TransportError(
                    f"{what}: TLS failed: {error}: check certificate-authority and tls-server-name", sent=False
                ) from error
            case aiohttp.ClientConnectorError():
                raise TransportError(
                    f"{what}: cannot connect: {error.strerror or error}: is the server's address right, and is it up?",
                    sent=False,
                ) from error
            case aiohttp.ClientResponseError():
                # Neither quoted nor chained: it holds the request's headers and the proxy's address, secrets included.
                told = f"{type(error).__name__} {error.status}: {error.message}"
                raise TransportError(f"{what}: {told}", sent=attempt.sent) from None
            case aiohttp.ClientError() | OSError() | ValueError():
                raise TransportError(f"{what}: {type(error).__name__}: {error}", sent=attempt.sent) from error
            case _:
                raise error

    async def _refresh_credentials(self, generation: int, deadline: float, method: str, path: str) -> bool:
        """Renew the credentials that the server refused; True if there are others now."""
        try:
            async with asyncio.timeout_at(deadline), self._refresh:
                if self._generation != generation:
                    return True  # another request has renewed them while this one was under way
                now = self._clock.elapsed()
                if now - self._refreshed_at < _REFRESH_FLOOR:
                    return False
                self._refreshed_at = now
                renewed = await self.configuration.credentials.refresh()
                if renewed:
                    self._generation += 1
                    self._recorder.credential_refreshes += 1
                return renewed
        except TimeoutError as error:
            raise TransportError(
                f"{method} {path}: the credentials could not be renewed within the request's timeout"
            ) from error

    def _log_warnings(self, response: aiohttp.ClientResponse) -> None:
        for header in response.headers.getall("Warning", ()):
            for text in _WARNING.findall(header):
                self._recorder.server_warnings += 1
                if text not in self._warned and len(self._warned) < _WARNINGS_REMEMBERED:
                    self._warned.add(text)
                    self._log.warning("the API server warns", warning=text.replace('\\"', '"'))


def _session(limit: int) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=_KEEP_ALIVE),
        request_class=GatedRequest,
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        read_bufsize=2**18,
    )
    # aiohttp repeats idempotent requests (PUT and DELETE among them) on a dropped connection without telling anybody.
    session._retry_connection = False
    return session


@dataclass(slots=True)
class _Stream:
    """A response that is read as it comes."""

    response: aiohttp.ClientResponse
    what: str
    idle_timeout: float | None

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self.response.headers.items()}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what has arrived, in pieces as large as they come."""
        content = self.response.content
        while True:
            try:
                async with asyncio.timeout(self.idle_timeout) if self.idle_timeout else contextlib.nullcontext():
                    chunk = await content.readany()
            except TimeoutError as error:
                raise TransportError(f"{self.what}: nothing came for {self.idle_timeout:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise TransportError(f"{self.what}: the stream broke: {type(error).__name__}: {error}") from error
            if not chunk:
                return
            yield chunk
