"""Cut byte streams into watch lines and list items without building objects."""

from __future__ import annotations

import re
from typing import Final

import msgspec

MAX_LINE: Final = 64 * 1024 * 1024
_BATCH: Final = 256 * 1024
_HEADER_LIMIT: Final = 64 * 1024
_ATTEMPTS: Final = 4
# A string (one that the buffer's end cuts off reaches to that end), or a mark of structure; the rest does not matter.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}\[\]:,]', re.DOTALL)
_METADATA: Final = b'"metadata":{'


class MalformedStream(ValueError):
    """The bytes are not what a list or a watch consists of: cut off, not JSON, or a line beyond the limit."""


class LineSplitter:
    """Cut chunks of any size into lines, in time linear in the bytes; lines may be up to ``limit`` bytes long."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self.limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next chunk and return the lines it completes, without line ends and without blank lines.

        Raises MalformedStream when a line exceeds the limit.
        """
        return [line for line in self.feed_block(chunk).split(b"\n") if line and not line.isspace()]

    def feed_block(self, chunk: bytes) -> bytes:
        """Take the next chunk and return the lines it completes as one piece, blank ones too; errors as :meth:`feed`."""
        end = chunk.rfind(b"\n")
        # The parts of an unfinished line are joined once, when its end arrives: joining at each chunk is quadratic.
        if end < 0:
            self._parts.append(chunk)
            self._size += len(chunk)
            if self._size > self.limit:
                raise self._too_long()
            return b""
        if self._size + chunk.find(b"\n") > self.limit:
            raise self._too_long()
        self._parts.append(chunk[:end])
        block = b"".join(self._parts)
        tail = chunk[end + 1 :]
        self._parts = [tail]
        self._size = len(tail)
        return block

    def _too_long(self) -> MalformedStream:
        return MalformedStream(f"a line exceeds {self.limit} bytes")

    @property
    def pending(self) -> int:
        """Bytes of the line that has begun and not ended: above 0 at the end of a stream, it was cut off."""
        return self._size


class _ListMetadata(msgspec.Struct, rename={"continue_": "continue", "resource_version": "resourceVersion"}):
    resource_version: str = ""
    continue_: str = ""


class _ListEnvelope(msgspec.Struct):
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)
    items: list[msgspec.Raw] | None = None


_envelope = msgspec.json.Decoder(_ListEnvelope)
_items = msgspec.json.Decoder(list[msgspec.Raw])


class ListSplitter:
    """Cut a Kubernetes list into its items while it arrives.

    The API server's watch cache ignores ``limit``, so a list may be hundreds of megabytes: only about a batch of it is
    held here. Items of one list begin alike (``{"apiVersion":...,"kind":...,"metadata":{``), so the last such beginning
    in the buffer is nearly always a boundary; that it is one is then proved, by decoding what precedes it as an array.
    Where the guess fails (other servers, pretty printing) the buffer grows, up to the whole list: correct, only larger.

    The items returned are views of a batch: copy what is kept, a kept ``Raw`` pins its batch.
    """

    def __init__(self, batch: int = _BATCH) -> None:
        self.resource_version: str = ""
        self.continue_: str = ""
        self._batch = batch
        self._threshold = batch
        self._buffer = bytearray()
        self._in_items = False
        self._whole = False
        self._mark: bytes | None = None

    def feed(self, chunk: bytes) -> list[msgspec.Raw]:
        """Take the next chunk and return the items that are complete (often none); raises MalformedStream."""
        self._buffer += chunk
        if self._whole:
            return []
        if not self._in_items:
            self._find_items()
        if not self._in_items or len(self._buffer) < self._threshold:
            return []
        return self._cut()

    def finish(self) -> list[msgspec.Raw]:
        """Return the remaining items; raises MalformedStream when the list was cut off or is no list."""
        text = (b'{"items":[' if self._in_items else b"") + bytes(self._buffer)
        self._buffer.clear()
        try:
            envelope = _envelope.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedStream(f"the answer is no complete list: {error}") from error
        self._adopt(envelope.metadata)
        if not self.resource_version:
            raise MalformedStream("the answer is no list: it has no metadata.resourceVersion")
        return envelope.items or []

    def _adopt(self, metadata: _ListMetadata) -> None:
        self.resource_version = metadata.resource_version or self.resource_version
        self.continue_ = metadata.continue_ or self.continue_

    def _find_items(self) -> None:
        if b'"items"' not in self._buffer:
            self._whole = len(self._buffer) > _HEADER_LIMIT
            return
        depth, previous, key = 0, b"", b""
        for match in _TOKEN.finditer(bytes(self._buffer)):
            token = match[0]
            if token == b":" and depth == 1:
                key = previous
            elif key == b'"items"':
                if token == b"[":
                    try:
                        header = _envelope.decode(bytes(self._buffer[: match.end()]) + b"]}")
                    except (msgspec.DecodeError, UnicodeDecodeError) as error:
                        raise MalformedStream(f"the answer is no list: {error}") from error
                    self._adopt(header.metadata)
                    del self._buffer[: match.end()]
                    self._in_items = True
                else:
                    self._whole = True  # "items": null, or something stranger: left to finish()
                return
            else:
                key = b""
            if token in b"{[":
                depth += 1
            elif token in b"}]":
                depth -= 1
            previous = token

    def _cut(self) -> list[msgspec.Raw]:
        buffer = self._buffer
        if self._mark is None:
            start = buffer.find(_METADATA, 0, 1024)
            head = bytes(buffer[: start + len(_METADATA)]) if start > 0 else b'{"'
            self._mark = b"}," + head
        end = len(buffer)
        for _ in range(_ATTEMPTS):
            position = buffer.rfind(self._mark, 0, end)
            if position < 0:
                break
            try:
                # The text after the array's opening parses with a ']' here only if this is outside of every string,
                # object and inner array: so it proves the boundary and splits in one go.
                items = _items.decode(b"[" + buffer[: position + 1] + b"]")
            except (msgspec.DecodeError, UnicodeDecodeError):
                end = position
                continue
            del buffer[: position + 2]
            self._threshold = self._batch
            return items
        self._threshold = 2 * len(buffer)  # doubling keeps the sum of failed attempts linear
        return []
