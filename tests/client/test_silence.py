"""A stream is given up when nothing came for its limit, by waiting alone, and never although something came."""

from __future__ import annotations

import asyncio

import pytest

from pyoperator.client._silence import Silence, Silent
from tests.support import run_virtual


class Stream:
    """A reader of pieces, each of which may come at any moment."""

    def __init__(self, limit: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._pieces = 0
        self.told = 0
        self.silence = Silence(self, limit, self._loop)

    def feed(self) -> None:
        self._pieces += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def set_exception(self, exc: BaseException) -> None:
        self.told += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc)

    async def read(self) -> None:
        self.silence.begin(self._loop.time())
        while not self._pieces:
            self._waiter = self._loop.create_future()
            await self._waiter
        self._pieces -= 1
        self.silence.end()

    async def silent_after(self) -> float:
        """Read until it is silent; return how long the last read waited."""
        while True:
            began = self._loop.time()
            try:
                await self.read()
            except Silent:
                return self._loop.time() - began


@pytest.mark.parametrize("before", [[], [0.5], [9.5], [9.9, 9.9, 3.0, 9.9], 50 * [0.3]])
def test_the_limit_counts_from_the_last_piece(before: list[float]) -> None:
    async def main() -> float:
        stream = Stream(10.0)
        at = 0.0
        for pause in before:
            at += pause
            asyncio.get_running_loop().call_later(at, stream.feed)
        return await stream.silent_after()

    assert run_virtual(main) == pytest.approx(10.0)


def test_a_slow_consumer_is_not_taken_for_a_silent_server() -> None:
    async def main() -> float:
        stream = Stream(10.0)
        for _ in range(3):
            stream.feed()
            await stream.read()
            await asyncio.sleep(25.0)
        stream.feed()
        return await stream.silent_after()

    assert run_virtual(main) == pytest.approx(10.0)


@pytest.mark.parametrize("count", [1, 2])
def test_what_comes_at_the_very_end_counts(count: int) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        stream = Stream(10.0)
        for number in range(count):
            loop.call_at(began + 10.0 * (number + 1), stream.feed)
        await stream.silent_after()
        return loop.time() - began

    assert run_virtual(main) == pytest.approx(10.0 * (count + 1))


def test_without_a_limit_it_waits_for_ever() -> None:
    async def main() -> None:
        stream = Stream(None)
        asyncio.get_running_loop().call_later(1e6, stream.feed)
        await stream.read()

    run_virtual(main)


def test_closed_it_tells_nobody() -> None:
    async def main() -> int:
        stream = Stream(10.0)
        reading = asyncio.create_task(stream.silent_after())
        await asyncio.sleep(3.0)
        reading.cancel()
        stream.silence.close()
        await asyncio.sleep(100.0)
        return stream.told

    assert run_virtual(main) == 0
