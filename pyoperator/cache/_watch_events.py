"""Watch events, cut off a byte stream without building their objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from pyoperator.client import LineSplitter, MalformedStream, error_for
from pyoperator.objects import Metadata, partial_metadata

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from pyoperator.client import ApiError

_YIELD_AFTER: Final = 256 * 1024


class WatchEvent(msgspec.Struct, gc=False):
    """One line of a watch; ``object`` is a view of the bytes it came in: copy what is kept."""

    type: str
    object: msgspec.Raw

    def metadata(self) -> Metadata:
        """Return the object's metadata, empty if it can't be read."""
        try:
            return partial_metadata(self.object)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Metadata()

    def error(self, path: str) -> ApiError:
        """Return the error that an event of type ERROR tells of."""
        body = bytes(self.object)
        told = error_for(500, body, method="WATCH", path=path)
        # The line has no HTTP status of its own: the code in it decides what it is.
        return error_for(told.status.code, body, method="WATCH", path=path)


_decoder = msgspec.json.Decoder(WatchEvent)


def split_events(splitter: LineSplitter, chunk: bytes) -> Iterator[WatchEvent]:
    """Yield the events that the chunk completes; raises MalformedStream at the first line that is not one.

    All lines of a chunk are decoded in one go, which takes less than half of the time of one call each.
    """
    block = splitter.feed_block(chunk)
    if not block:
        return
    try:
        events = _decoder.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError):
        events = None
    if events is not None:
        yield from events
        return
    for line in block.split(b"\n"):
        if line and not line.isspace():
            yield _decode(line)


def _decode(line: bytes) -> WatchEvent:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # What begins like an object may be one, a Secret's: never quoted.
        quoted = line[:80].decode("utf-8", "replace") if not line.lstrip().startswith(b"{") else "{..."
        raise MalformedStream(f"not a watch event ({error}): {quoted!r}") from error


async def read_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[WatchEvent]:
    """Yield the events of a watch; raises MalformedStream also where it ends within one.

    A long run that is all there already gives other tasks their turn now and then.
    """
    splitter = LineSplitter()
    taken = 0
    async for chunk in chunks:
        for event in split_events(splitter, chunk):
            yield event
        taken += len(chunk)
        if taken >= _YIELD_AFTER:
            taken = 0
            await asyncio.sleep(0)
    if splitter.pending:
        raise MalformedStream("ended in the middle of an event")
