"""The contract between everything that talks to an API server and whatever carries the bytes.

Implementations: aiohttp (this room), in-process and fault-injecting (``pyoperator.testing``). The embedded server
satisfies it structurally. A transport knows where the server is, who we are, and nothing about kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

Query: TypeAlias = "Sequence[tuple[str, str]]"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer, whatever its status. Header names are lower-case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class StreamResponse(Protocol):
    """An answer whose body is read as it comes; header names are lower-case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces of any size, cut anywhere; raises TransportError when the connection breaks."""
        ...


class Transport(Protocol):
    """Carry requests to one API server.

    Paths are absolute (``/api/v1/pods``), queries are unencoded pairs, bodies are bytes. An HTTP error status is an
    answer, not an exception. Raises TransportError (connection refused, reset, timed out, no valid HTTP) and, from the
    gate, LeadershipLost.
    """

    @property
    def in_process(self) -> bool:
        """Whether it belongs to the loop it is used on: then there is no second thread for it, and no ports to serve.

        A manager and an election ask; a wrapper passes on what the transport inside says.
        """
        ...

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
        """Send one request and read the whole answer within ``timeout`` seconds.

        Without a Content-Type header a body is ``application/json``; without Accept the answer is asked for as JSON.
        A cancelled or timed-out request may have been carried out.
        """
        ...

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AbstractAsyncContextManager[StreamResponse]:
        """Open a streamed answer (watch, huge list); leaving the context closes it.

        ``idle_timeout``: seconds without a byte after which ``chunks()`` raises TransportError; None waits for ever.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; further requests raise TransportError."""
        ...


def is_in_process(transport: object) -> bool:
    """Return what a transport says of itself.

    Raises TypeError if it says nothing. To guess would be worse: a manager that takes an in-process one for another
    waits for a thread that can't answer, or keeps the election of a real one on the loop that may stall.
    """
    told = getattr(transport, "in_process", None)
    if isinstance(told, bool):
        return told
    raise TypeError(
        f"{transport!r} does not say whether it is in process: give {type(transport).__name__} an attribute in_process, "
        "False for one that talks to a server outside, True for one that belongs to the loop it is used on; a wrapper "
        "returns that of the transport it wraps"
    )
