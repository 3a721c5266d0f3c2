"""The bodies of one kind, compressed in memory with a dictionary trained from its first objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pyoperator.cache._zstd import MAGIC, implementation

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._zstd import Zstd
    from pyoperator.objects import ObjectKey

SAMPLES: Final = 200
"""Distinct objects that are collected before the dictionary is trained; a kind with fewer is never compressed."""
_SAMPLE_BYTES: Final = 16 * 1024


class Packing:
    """Compress bodies as they arrive, once enough of them were seen to train a dictionary from.

    The dictionary is trained once (some 30 ms for objects of 2 KB), in a thread, and never again. What came before it
    is for the informer to pack afterwards. If no dictionary can be made (objects too small or too few distinct bytes),
    that is logged and bodies stay as they are.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._samples: dict[ObjectKey, bytes] = {}
        self._enough = asyncio.Event()
        self._zstd: Zstd | None = None

    def pack(self, key: ObjectKey, data: bytes) -> bytes:
        """Return what to hold of an object's JSON: a frame, or the JSON itself where that is no larger."""
        if self._zstd is None:
            self._sample(key, data)
            return data
        frame = self._zstd.compress(data)
        # Copied: a compressor shrinks a block as large as the input in place, and the remainder is too small for the next.
        return bytes(memoryview(frame)) if len(frame) < len(data) else data

    def unpack(self, held: bytes) -> bytes:
        """Return the JSON of what is held, packed or not; any thread may ask."""
        return self._zstd.decompress(held) if self._zstd is not None and held.startswith(MAGIC) else held

    def is_packed(self, held: bytes) -> bool:
        """Tell whether this is a frame rather than JSON."""
        return held.startswith(MAGIC)

    def size(self, held: bytes) -> int:
        """Return the size of the JSON of what is held."""
        return self._zstd.size(held) if self._zstd is not None and held.startswith(MAGIC) else len(held)

    async def train(self) -> bool:
        """Wait for enough objects and train the dictionary; False if that can't be done. May be cancelled and repeated."""
        if self._zstd is not None:
            return True
        await self._enough.wait()
        chosen = implementation()
        if chosen is None:
            raise AssertionError("CacheOptions refuses compression where it is not installed")
        samples = [data[:_SAMPLE_BYTES] for data in self._samples.values()]
        try:
            self._zstd = await asyncio.to_thread(chosen, samples)
        except Exception as error:  # each implementation has an error class of its own
            self._logger.warning("no dictionary can be trained; cached objects stay uncompressed", reason=repr(error))
            return False
        finally:
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this is a coroutine: it has a task
                self._samples.clear()
        return True

    def _sample(self, key: ObjectKey, data: bytes) -> None:
        if not self._enough.is_set():
            self._samples[key] = data  # by key: many states of few objects are no reason to compress
            if len(self._samples) >= SAMPLES:
                self._enough.set()
