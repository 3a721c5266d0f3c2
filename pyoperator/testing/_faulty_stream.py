"""Streams that break, fall silent, repeat themselves, or come in odd pieces."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from pyoperator.client import TransportError
from pyoperator.testing._faulty_answers import gone_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from pyoperator.client import Response, StreamResponse
    from pyoperator.clock import Randomness

_REPEATED_LINES: Final = 20
_MOST_PIECES: Final = 8
_SPACES: Final = b" " * (256 * 1024)


class FaultSource(Protocol):
    """What a stream asks of its transport."""

    partitioned: bool

    @property
    def long_line_bytes(self) -> int: ...

    def strikes(self, names: Iterable[str]) -> str: ...

    def count(self, name: str) -> str: ...


class AnsweredStream:
    """A complete answer, given as a stream."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self._body = response.body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        yield self._body


class PrecededStream:
    """A stream with something before its first chunk."""

    def __init__(self, first: bytes, inner: StreamResponse) -> None:
        self.status = inner.status
        self.headers = inner.headers
        self._first = first
        self._inner = inner

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes first, then the stream's own chunks."""
        yield self._first
        async for chunk in self._inner.chunks():
            yield chunk


class FaultyStream:
    """Another stream's chunks, until and unless a fault strikes. ``fault`` befalls this stream, see Faults."""

    def __init__(
        self,
        source: FaultSource,
        inner: StreamResponse,
        random: Randomness,
        *,
        what: str,
        fault: str,
        of_chunks: tuple[str, ...],
        idle_timeout: float | None,
    ) -> None:
        self._source = source
        self._inner = inner
        self._random = random
        self._what = what
        self._fault = fault
        self._of_chunks = of_chunks
        self._first = fault if fault in of_chunks else ""
        self._idle_timeout = idle_timeout
        self._lines: deque[bytes] = deque(maxlen=_REPEATED_LINES)
        self._unfinished = b""

    @property
    def status(self) -> int:
        return self._inner.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._inner.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks, with what goes wrong."""
        match self._fault:
            case "silent":
                await self._silence()
            case "empty":
                return
            case "gone_event":
                yield gone_event()
                return
        async for chunk in self._inner.chunks():
            if self._source.partitioned:
                await self._silence()
            async for piece in self._struck(chunk):
                if self._fault != "recut":
                    yield piece
                    continue
                for part in self._parts(piece):
                    yield part
                    await asyncio.sleep(0)  # parts that come together would be one chunk

    async def _struck(self, chunk: bytes) -> AsyncIterator[bytes]:
        strike = self._source.count(self._first) if self._first else self._source.strikes(self._of_chunks)
        self._first = ""
        if "repeated" in self._of_chunks:
            self._remember(chunk)
        if strike == "cut":
            if len(chunk) > 1:
                yield chunk[: self._random.randrange(1, len(chunk))]
            raise TransportError(f"{self._what}: the stream was cut (injected)")
        if strike == "long_line":
            head, newline, rest = chunk.partition(b"\n")
            yield head
            for padding in self._padding():
                yield padding
            yield newline + rest
            return
        yield chunk
        # In the middle of a line a repetition would not be one.
        if strike == "repeated" and not self._unfinished:
            yield b"".join(self._lines)

    def _remember(self, chunk: bytes) -> None:
        lines = (self._unfinished + chunk).splitlines(keepends=True)
        self._unfinished = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._lines.extend(lines)

    def _parts(self, piece: bytes) -> Iterator[bytes]:
        cuts = sorted(self._random.randrange(len(piece)) for _ in range(self._random.randint(1, _MOST_PIECES)))
        for start, end in zip([0, *cuts], [*cuts, len(piece)], strict=True):
            if end > start:
                yield piece[start:end]

    def _padding(self) -> Iterator[bytes]:
        left = self._source.long_line_bytes
        while left > 0:
            yield _SPACES[:left]
            left -= len(_SPACES)

    async def _silence(self) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout):
                await asyncio.get_running_loop().create_future()
        except TimeoutError as error:
            raise TransportError(f"{self._what}: nothing came for {self._idle_timeout:g} s (injected)") from error
