"""Where aiohttp writes: the gate is asked here again, in the synchronous step before the bytes go out.

Depends on two of aiohttp's inner joints, ``ClientRequest.send`` (starts an attempt on a connection) and
``ClientRequest.write_bytes`` (writes headers and body, in a task of its own, so possibly later). A test fails if
either stops being called.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from pyoperator.client._errors import LeadershipLost

if TYPE_CHECKING:
    import asyncio

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection

    from pyoperator.client._gate import Gate


@dataclass(slots=True)
class Attempt:
    """One sending of one request; ``sent`` turns True right before its first byte is written."""

    method: str
    path: str
    gate: Gate | None
    sent: bool = False
    connection: asyncio.Transport | None = None

    def admit(self) -> None:
        if self.gate is not None:
            self.gate.admit(self.method, self.path)

    def abort(self) -> None:
        """Drop the connection now: closing it would first flush what is still buffered."""
        if self.connection is not None:
            self.connection.abort()


current_attempt: ContextVar[Attempt] = ContextVar("current_attempt")
"""Hands the attempt from the transport to the request object, which aiohttp makes itself."""


class GatedRequest(aiohttp.ClientRequest):
    """Ask the gate at the last moment; a refusal ends the attempt with nothing written."""

    async def send(self, conn: Connection) -> ClientResponse:
        attempt = current_attempt.get()
        attempt.admit()
        protocol = conn.protocol
        attempt.connection = protocol.transport if protocol is not None else None
        if not self.body:
            attempt.sent = True  # send() itself writes a request without a body, without giving way in between
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        attempt = current_attempt.get()
        try:
            attempt.admit()
        except LeadershipLost as refusal:
            # This runs in a task of its own: the protocol hands the refusal to the task that waits for the answer.
            protocol: Any = conn.protocol
            if protocol is not None:
                protocol.set_exception(refusal)
            attempt.abort()
            return
        attempt.sent = True
        await super().write_bytes(writer, conn, content_length)
