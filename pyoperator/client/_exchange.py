"""One request on one connection and its answer, on aiohttp's connections but without its ClientSession.

A ClientSession is made for all of the web: redirects, cookies, retries, tracing, uploads. For one small request to one
server that machinery takes twice the CPU time of everything else on the way, and it writes in a task of its own, later
than the fence was asked. So its connector (pool, addresses, proxies, TLS) and its protocol (the parser, in C) are used as
they are, and what is between them is here: ask the gate, write, read. The joints are ``TCPConnector.connect``, the
protocol's ``set_response_params`` and ``read``, and ``Connection.release`` and ``close``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from pyoperator.client._gathering import Gathering

if TYPE_CHECKING:
    import asyncio
    import ssl

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader
    from yarl import URL

    from pyoperator.client._gate import Gate

_KEEP_ALIVE = 20.0
"""Seconds an idle connection is kept: well below the idle limits of API servers and balancers, because a write sent
on a connection that the other side is just closing fails and may not be repeated."""
_BUFFER = 2**18
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class ConnectionPool:
    """Hand out connections to one server, ``limit`` at most at a time; who is late waits."""

    def __init__(self, server: URL, proxy: URL | None, server_name: str | None, limit: int) -> None:
        self._server = server
        self._proxy = proxy
        self._server_name = server_name
        self.connector = aiohttp.TCPConnector(limit=limit, keepalive_timeout=_KEEP_ALIVE)
        self._destination: tuple[ssl.SSLContext | None, aiohttp.ClientRequest] | None = None

    async def connect(self, context: ssl.SSLContext | None, loop: asyncio.AbstractEventLoop) -> Connection:
        """Return an idle connection or a new one; raises what aiohttp and the operating system raise.

        Connections are shared only among those who ask with the same ``context``, the TLS context of the moment.
        """
        if self._destination is None or self._destination[0] is not context:
            # To the connector a connection's destination is that of a request: this one is never sent.
            destination = aiohttp.ClientRequest(
                "GET",
                self._server,
                loop=loop,
                ssl=True if context is None else context,
                server_hostname=self._server_name,
                proxy=self._proxy,
            )
            self._destination = (context, destination)
        return await self.connector.connect(self._destination[1], [], _NO_TIMEOUT)

    async def aclose(self) -> None:
        await self.connector.close()


class Exchange:
    """One sending of one request; ``sent`` turns True right before its first byte is written.

    Whoever opened it ends it, by ``release`` when the answer was read to its end, else by ``abort``.
    """

    __slots__ = ("_connection", "_protocol", "gate", "head", "method", "path", "payload", "sent")

    head: RawResponseMessage
    payload: StreamReader
    _protocol: ResponseHandler

    def __init__(self, method: str, path: str, gate: Gate | None) -> None:
        self.method = method
        self.path = path
        self.gate = gate
        self.sent = False
        self._connection: Connection | None = None

    def open(self, connection: Connection, request: bytes) -> None:
        """Write the request; raises LeadershipLost, with nothing written, if the gate refuses it now."""
        self._connection = connection
        protocol = connection.protocol
        transport = None if protocol is None else protocol.transport
        if protocol is None or transport is None or transport.is_closing() or protocol.should_close:
            # What a server sends unasked (a 408 to an idle connection) must not be taken for the answer to this request.
            raise ConnectionResetError("the server ended the connection before the request was written")
        if self.gate is not None:
            self.gate.admit(self.method, self.path)
        protocol.set_response_params(
            skip_payload=self.method == "HEAD", read_until_eof=True, read_bufsize=_BUFFER, auto_decompress=True
        )
        self._protocol = protocol
        self.sent = True
        transport.write(request)

    async def answer(self) -> None:
        """Wait for the answer's status and headers (``head``); its body (``payload``) may still be coming."""
        while True:
            self.head, self.payload = await self._protocol.read()
            # What comes before the answer (100 Continue, 103 Early Hints) is none; 101 would be one, though unasked for.
            if self.head.code >= 200 or self.head.code == 101:
                return

    def gathering(self) -> Gathering:
        """Return what decides when the answer's pieces are to gather."""
        return Gathering(self._protocol)

    def release(self) -> None:
        """Give the connection back for the next request, unless the answer says or shows that it can't be used."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def abort(self) -> None:
        """Drop the connection now: closing it alone would first flush what is still buffered."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.transport is not None:
                connection.transport.abort()
            connection.close()
