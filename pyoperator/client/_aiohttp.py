"""The transport over HTTP(S), on aiohttp."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import aiohttp
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from pyoperator._version import __version__
from pyoperator.client._errors import LeadershipLost, TransportError
from pyoperator.client._exchange import ConnectionPool, Exchange
from pyoperator.client._gate import OpenGate, is_mutating
from pyoperator.client._loose_frames import drop_locals
from pyoperator.client._request_head import RequestHeads
from pyoperator.client._silence import Silence, Silent
from pyoperator.client._tls import TLSContexts
from pyoperator.client._transport import Response
from pyoperator.client._transport_statistics import StatisticsRecorder, TransportStatistics
from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping

    from multidict import CIMultiDictProxy

    from pyoperator.client._configuration import Configuration
    from pyoperator.client._gate import Gate
    from pyoperator.client._transport import Query, StreamResponse
    from pyoperator.clock import Clock

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_WARNINGS_REMEMBERED = 1000
_REFRESH_FLOOR = 5.0
"""Seconds between two credential refreshes: a server that refuses everything must not make a plugin run per request."""


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

    in_process = False

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
        self._url = URL(self._server)
        self._proxy = URL(configuration.proxy_url) if configuration.proxy_url else None
        self._heads = RequestHeads(self._url, self._proxy)
        self._secure = self._url.scheme == "https"
        self._recorder = StatisticsRecorder(f"{self._url.host}:{self._url.port}")
        self._pools: tuple[ConnectionPool, ConnectionPool] | None = None
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
        exchange = await self._open_stream(method, path, query, headers, deadline, connect_timeout)
        try:
            if exchange.head.code == 401 and await self._refresh_credentials(generation, deadline, method, path):
                exchange.abort()
                exchange = await self._open_stream(method, path, query, headers, deadline, connect_timeout)
            yield _Stream(exchange, f"{method} {path}", idle_timeout)
        finally:
            if exchange.payload.is_eof():
                exchange.release()
            else:
                exchange.abort()

    async def aclose(self) -> None:
        """Close all connections; further requests raise TransportError."""
        self._closed = True
        pools, self._pools = self._pools, None
        for pool in pools or ():
            await pool.aclose()

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
        exchange = Exchange(method, path, self.gate if is_mutating(method, path) else None)
        started = loop.time()
        if exchange.gate is not None:
            try:
                bound = exchange.gate.admit(method, path)
            except LeadershipLost:
                self._recorder.fenced += 1
                raise
            if bound is not None:
                deadline = min(deadline, started + bound)
        code = "<error>"
        try:
            async with asyncio.timeout_at(deadline):
                await self._send(exchange, query, body, headers, watch=False)
                content = await exchange.payload.read()
                # Only now may others have the connection: what ends this attempt any earlier hits its own.
                exchange.release()
            code = str(exchange.head.code)
        except BaseException as error:
            exchange.abort()
            self._explain(error, exchange, timeout)
        finally:
            self._recorder.record(method, code, loop.time() - started)
        received = exchange.head.headers
        self._log_warnings(received)
        return Response(exchange.head.code, content, {name.lower(): value for name, value in received.items()})

    async def _open_stream(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str] | None,
        deadline: float,
        timeout: float,
    ) -> Exchange:
        exchange = Exchange(method, path, self.gate if is_mutating(method, path) else None)
        code = "<error>"
        try:
            async with asyncio.timeout_at(deadline):
                await self._send(exchange, query, None, headers, watch=True)
            code = str(exchange.head.code)
        except BaseException as error:
            exchange.abort()
            self._explain(error, exchange, timeout)
        finally:
            self._recorder.record(method, code, None)  # how long a watch lasts says nothing about the server
        self._log_warnings(exchange.head.headers)
        return exchange

    async def _send(
        self, exchange: Exchange, query: Query, body: bytes | None, headers: Mapping[str, str] | None, *, watch: bool
    ) -> None:
        """Send a request and wait for the head of its answer."""
        loop = asyncio.get_running_loop()
        pool = self._open_pools(loop)[1 if watch else 0]
        merged: dict[str, str] = {**self._heads.headers, "user-agent": self._user_agent, "accept": "application/json"}
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
        every: Collection[tuple[str, str]] = merged.items()
        if self.configuration.headers:  # these may repeat a name: impersonated groups
            for name, _ in self.configuration.headers:
                merged.pop(name.lower(), None)
            every = [*merged.items(), *self.configuration.headers]
        context = self._tls.context(await credentials.certificate()) if self._secure else None
        request = self._heads.render(exchange.method, exchange.path, query, every, body)
        exchange.open(await pool.connect(context, loop), request + body if body else request)
        await exchange.answer()

    def _open_pools(self, loop: asyncio.AbstractEventLoop) -> tuple[ConnectionPool, ConnectionPool]:
        if self._closed:
            raise TransportError("the transport is closed: it was used after aclose()", sent=False)
        if self._pools is None:
            self._loop = loop
            if self._announce == "all":
                self._log.info("talking to the API server", server=self._server, source=self.configuration.source)
            for warning in self.configuration.warnings if self._announce != "nothing" else ():
                self._log.warning(warning)
            self._pools = (self._pool(self._limits[0]), self._pool(self._limits[1]))
        elif self._loop is not loop:
            raise RuntimeError(f"{self!r} belongs to another event loop: give each loop a transport of its own")
        return self._pools

    def _pool(self, limit: int) -> ConnectionPool:
        return ConnectionPool(self._url, self._proxy, self.configuration.trust.server_name or None, limit)

    # What comes back.

    def _explain(self, error: BaseException, exchange: Exchange, timeout: float) -> NoReturn:
        """Map what aiohttp and the operating system raise to TransportError; the only place that does."""
        what = f"{exchange.method} {exchange.path} on {self._server}"
        if isinstance(error, aiohttp.ClientError | OSError):
            drop_locals(error)
        try:
            match error:
                case LeadershipLost():
                    self._recorder.fenced += 1
                    raise error
                case TransportError():
                    raise error
                case TimeoutError():
                    limit = (
                        f"{timeout:g} s"
                        if exchange.gate is None
                        else f"{timeout:g} s or the lease's remaining validity"
                    )
                    raise TransportError(f"{what}: no answer within {limit}", sent=exchange.sent) from error
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
                    raise TransportError(f"{what}: {told}", sent=exchange.sent) from None
                case HttpProcessingError():
                    raise TransportError(
                        f"{what}: the answer is no HTTP: {error.message}", sent=exchange.sent
                    ) from error
                case aiohttp.ClientError() | OSError() | ValueError():
                    raise TransportError(f"{what}: {type(error).__name__}: {error}", sent=exchange.sent) from error
                case _:
                    raise error
        finally:
            del error  # this frame would keep what it raises in a cycle

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

    def _log_warnings(self, received: CIMultiDictProxy[str]) -> None:
        for header in received.getall("Warning", ()):
            for text in _WARNING.findall(header):
                self._recorder.server_warnings += 1
                if text not in self._warned and len(self._warned) < _WARNINGS_REMEMBERED:
                    self._warned.add(text)
                    self._log.warning("the API server warns", warning=text.replace('\\"', '"'))


@dataclass(slots=True)
class _Stream:
    """A response that is read as it comes."""

    exchange: Exchange
    what: str
    idle_timeout: float | None

    @property
    def status(self) -> int:
        return self.exchange.head.code

    @property
    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self.exchange.head.headers.items()}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what has arrived, in pieces as large as they come."""
        payload = self.exchange.payload
        gathering = self.exchange.gathering()
        loop = asyncio.get_running_loop()
        silence = Silence(payload, self.idle_timeout, loop)
        try:
            while True:
                silence.begin(loop.time())
                chunk = await payload.readany()
                silence.end()
                if not chunk:
                    return
                yield chunk
                if gathering.is_due(len(chunk), loop.time()):
                    await gathering.pause()
        except Silent as error:
            raise TransportError(f"{self.what}: nothing came for {self.idle_timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"{self.what}: the stream broke: {type(error).__name__}: {error}") from error
        finally:
            silence.close()
