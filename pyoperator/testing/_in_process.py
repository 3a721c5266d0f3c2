"""A transport straight into the embedded server's core: no socket, works on the virtual loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pyoperator.apiserver import APIRequest, APIResponse, APIServer, Credential, User
from pyoperator.client import OpenGate, Query, Response, TransportError, is_mutating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pyoperator.client import Gate, StreamResponse

_ADMIN_GROUPS = ("system:masters",)


class InProcessTransport:
    """Carry requests to an :class:`~pyoperator.apiserver.APIServer` in this process.

    ``credential``: a user name to act as (``admin`` is in ``system:masters``; other names have the rights that RBAC
    gives them), a User, or a Credential (a bearer token, say). Each request yields to the loop once before and once
    after its commit, as a real one would: a cancelled request may have been carried out. The gate is asked as the
    aiohttp transport asks it: when a mutating request begins, and in the last synchronous step before the commit.
    """

    in_process = True
    """Belongs to the loop it is used on: a manager then keeps its election there, and serves no ports."""

    def __init__(
        self,
        server: APIServer,
        *,
        gate: Gate | None = None,
        credential: str | User | Credential = "admin",
        user_agent: str = "pyoperator/in-process",
    ) -> None:
        self._server = server
        self._gate: Gate = gate if gate is not None else OpenGate()
        self._credential = _credential(credential)
        self._user_agent = user_agent
        self._closed = False

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
        """Send one request; see :class:`pyoperator.client.Transport`."""
        gated = is_mutating(method, path)
        if gated:
            bound = self._gate.admit(method, path)
            timeout = timeout if bound is None else min(timeout, bound)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(0)
                if gated:
                    self._gate.admit(method, path)
                response = self._handle(method, path, query, body, headers)
                if response.watch is not None:
                    response.watch.close()
                    raise TransportError(f"{method} {path} is a watch: use stream()")
                await asyncio.sleep(0)
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: no answer within {timeout:g} s") from error
        return Response(response.status, response.body, _headers(response))

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
    ) -> AsyncIterator[StreamResponse]:
        """Open a streamed answer; see :class:`pyoperator.client.Transport`."""
        gated = is_mutating(method, path)
        try:
            async with asyncio.timeout(connect_timeout):
                await asyncio.sleep(0)
                if gated:
                    self._gate.admit(method, path)
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: not connected within {connect_timeout:g} s") from error
        response = self._handle(method, path, query, None, headers)
        try:
            yield _InProcessStream(response, idle_timeout)
        finally:
            if response.watch is not None:
                response.watch.close()

    def _handle(
        self, method: str, path: str, query: Query, body: bytes | None, headers: Mapping[str, str] | None
    ) -> APIResponse:
        if self._closed:
            raise TransportError("the transport is closed", sent=False)
        sent = {"accept": "application/json", "user-agent": self._user_agent}
        if body is not None:
            sent["content-type"] = "application/json"
        sent.update({name.lower(): value for name, value in (headers or {}).items()})
        return self._server.handle(
            APIRequest(
                method=method, path=path, query=query, headers=sent, body=body or b"", credential=self._credential
            )
        )

    async def aclose(self) -> None:
        self._closed = True

    def __repr__(self) -> str:
        return f"InProcessTransport({self._server!r}, gate={self._gate!r})"


class _InProcessStream:
    def __init__(self, response: APIResponse, idle_timeout: float | None) -> None:
        self._response = response
        self._idle_timeout = idle_timeout
        self.status = response.status
        self.headers = _headers(response)

    async def chunks(self) -> AsyncIterator[bytes]:
        watch = self._response.watch
        if watch is None:
            yield self._response.body
            return
        lines = watch.lines()
        try:
            while True:
                try:
                    async with asyncio.timeout(self._idle_timeout):
                        piece = await anext(lines)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise TransportError(f"no data for {self._idle_timeout:g} s") from error
                yield piece
        finally:
            await lines.aclose()


def _credential(given: str | User | Credential) -> Credential:
    if isinstance(given, Credential):
        return given
    if isinstance(given, User):
        return Credential(user=given)
    return Credential(user=User(given, groups=_ADMIN_GROUPS if given == "admin" else ()))


def _headers(response: APIResponse) -> dict[str, str]:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.warnings:
        headers["warning"] = ", ".join(f'299 - "{warning}"' for warning in response.warnings)
    return headers
