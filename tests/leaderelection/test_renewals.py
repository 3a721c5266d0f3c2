"""What a host tells of renewals, and how they can be held back."""

from __future__ import annotations

import asyncio

from pyoperator.clock import LoopClock, Randomness
from pyoperator.leaderelection import ElectionConfig, LoopHost
from tests.leaderelection.lease_server import LeaseServer, LeaseTransport
from tests.support import run_virtual


class Scene:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.server = LeaseServer()
        self.allowed = True
        self.told: list[tuple[float, float | None]] = []
        self.host = LoopHost(
            ElectionConfig(name="op", namespace="default", identity="a"),
            LeaseTransport(self.server, "a"),
            clock=LoopClock(self.loop),
            random=Randomness(1),
            may_renew=lambda: self.allowed,
            on_renewed=lambda until: self.told.append((self.loop.time(), until)),
        )


def test_each_renewal_is_told_and_the_step_down() -> None:
    async def main() -> None:
        scene = Scene()
        await scene.host.acquire()
        await asyncio.sleep(60)
        # Renewed every 2 s, valid for 10 s from before each request.
        assert len(scene.told) in {30, 31, 32}
        assert all(until is not None and at < until <= at + 10 for at, until in scene.told)
        await scene.host.release()
        assert scene.told[-1][1] is None
        await scene.host.aclose()
        assert [until for _, until in scene.told].count(None) == 1

    run_virtual(main)


def test_renewals_that_are_held_back_end_leadership_at_valid_until() -> None:
    async def main() -> None:
        scene = Scene()
        await scene.host.acquire()
        await asyncio.sleep(11)
        scene.allowed = False
        await scene.host.lost.wait()
        assert "the work loop stands still" in scene.host.lost_reason
        (*_, (_, until), (lost_at, none)) = scene.told
        assert none is None
        assert until is not None
        assert until <= lost_at < until + 0.01
        scene.allowed = True
        await scene.host.acquire()
        assert scene.host.leadership.is_leader
        await scene.host.aclose()

    run_virtual(main)


def test_who_may_not_renew_does_not_acquire() -> None:
    async def main() -> None:
        scene = Scene()
        scene.allowed = False
        acquiring = asyncio.create_task(scene.host.acquire())
        await asyncio.sleep(60)
        assert scene.server.holder == ""
        scene.allowed = True
        await acquiring
        assert scene.server.holder == "a"
        await scene.host.aclose()

    run_virtual(main)
