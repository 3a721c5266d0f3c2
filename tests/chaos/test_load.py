"""The load of a run, on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from chaos._load import Load
from tests.support import run_virtual

if TYPE_CHECKING:
    from pyoperator.client import Client


class SlowServer:
    """Answers a change when it is told to."""

    def __init__(self) -> None:
        self.begun = self.answered = 0
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def patch(self, *_given: Any) -> None:
        self.begun += 1
        self.asked.set()
        await self.go.wait()
        self.answered += 1


def test_a_pause_lasts_from_the_answer_of_the_last_change() -> None:
    async def scenario() -> None:
        server = SlowServer()
        load = Load(cast("Client", server), "default", 2, 1000.0, lambda: 0.0)
        running = asyncio.create_task(load.run())
        # As many as may be under way, and the next one waits for its turn.
        await asyncio.sleep(10)
        pausing = asyncio.create_task(load.pause())
        await asyncio.sleep(10)
        assert not pausing.done()
        begun = server.begun
        server.go.set()
        await pausing
        assert server.answered == server.begun == begun > 1
        await asyncio.sleep(10)
        assert server.begun == begun
        load.paused = False
        await asyncio.sleep(10)
        assert server.begun > begun
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(scenario)


def test_a_pause_that_is_given_up_keeps_nothing() -> None:
    async def scenario() -> None:
        server = SlowServer()
        load = Load(cast("Client", server), "default", 2, 1.0, lambda: 0.0)
        running = asyncio.create_task(load.run())
        await server.asked.wait()
        pausing = asyncio.create_task(load.pause())
        await asyncio.sleep(1)
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)
        server.go.set()
        async with asyncio.timeout(60):
            await load.pause()
        assert server.answered == server.begun
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(scenario)
