"""A bare HTTP/1.1 connection: what drives two API servers in comparison must cost less than either of them.

Requests are made beforehand, answers are cut but not decoded. For servers started here: a token, a CA, nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


class WireError(RuntimeError):
    """An answer that a benchmark can't go on with."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is and what it wants to see."""

    host: str
    port: int
    token: str
    context: ssl.SSLContext

    @classmethod
    def load(cls, kubeconfig: Path | str) -> Self:
        """Read a kubeconfig with one cluster and a token, as both kinds of server write it."""
        content = yaml.safe_load(Path(kubeconfig).read_text("utf-8"))
        cluster = content["clusters"][0]["cluster"]
        address = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(
            address.hostname or "127.0.0.1",
            address.port or 443,
            content["users"][0]["user"]["token"],
            ssl.create_default_context(cadata=authority),
        )

    def request(self, method: str, path: str, body: bytes = b"", kind: str = JSON) -> bytes:
        """Return the bytes of one request."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Accept: {JSON}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


class Wire:
    """One connection, kept alive; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=endpoint.context, limit=1024 * 1024
        )
        return cls(reader, writer)

    async def send(self, request: bytes, expected: int) -> bytes:
        """Send one request and return the body of its answer; raises WireError for another status."""
        status, length = await self._answer(request)
        if length is None:
            body = b"".join([chunk async for chunk in self._chunks()])
        else:
            body = await self._reader.readexactly(length)
        if status != expected:
            asked = request.partition(b" HTTP")[0].decode()
            raise WireError(f"{asked}: answered {status}, not {expected}: {body[:200].decode(errors='replace')}")
        return body

    async def stream(self, request: bytes) -> AsyncIterator[bytes]:
        """Send one request and yield its answer as it comes; raises WireError if it is not a stream."""
        status, length = await self._answer(request)
        if status != 200 or length is not None:
            raise WireError(f"a watch was answered {status}, and not as a stream")
        async for chunk in self._chunks():
            yield chunk

    async def _answer(self, request: bytes) -> tuple[int, int | None]:
        """Return status and length of an answer, None for one in chunks."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        return int(head[9:12]), int(rest.split(b"\r\n", 1)[0]) if found else None

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readline()).split(b";", 1)[0], 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()

    async def aclose(self) -> None:
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # aborted, as wanted
