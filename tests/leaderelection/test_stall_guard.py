"""The guard's rules on virtual time: its loop is the supervisor's, the work loop a fake that stalls."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
import structlog

from pyoperator.leaderelection import ElectionConfig, StallGuard, SwitchOwner
from pyoperator.manager import Supervisor
from tests.leaderelection.test_dead_mans_switch import Timer
from tests.leaderelection.test_heartbeat import WorkLoop
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CONFIG = ElectionConfig(
    name="op", namespace="default", identity="me", lease_duration=3, renew_deadline=2, retry_period=0.5
)


class Scene:
    """A leader that renews twice a second while it may."""

    def __init__(self, *, limit: float = 2.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.leads = True
        self.renewals: list[float] = []
        self.ended: list[tuple[int, float]] = []
        self.work = WorkLoop()
        self.timer = Timer()
        self.supervisor = Supervisor(threaded=False)
        self.guard = StallGuard(
            self.supervisor,
            limit=limit,
            election=CONFIG,
            elapsed=self.loop.time,
            leads=lambda: self.leads,
            end_process=lambda code: self.ended.append((code, self.loop.time())),
            logger=structlog.get_logger(),
        )
        self.guard.heartbeat.attach(self.work, threading.get_ident())  # type: ignore[arg-type]

    async def renew(self, seconds: float) -> None:
        """Do as the elector does."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            if self.guard.may_renew():
                self.renewals.append(self.loop.time())
                self.guard.renewed(self.loop.time() + CONFIG.renew_deadline)
            await asyncio.sleep(CONFIG.retry_period)


def watched(body: Callable[[Scene], Coroutine[object, object, None]], limit: float = 2.0) -> None:
    async def main() -> None:
        scene = Scene(limit=limit)
        watch = asyncio.create_task(scene.guard.watch())
        await body(scene)
        watch.cancel()
        await asyncio.wait([watch])

    run_virtual(main)


def test_up_to_the_limit_a_stall_costs_nothing() -> None:
    async def body(scene: Scene) -> None:
        await scene.renew(5)
        scene.work.stalled = True
        await scene.renew(1.9)
        scene.work.go_on()
        await scene.renew(5)
        assert len(scene.renewals) == 24
        assert scene.ended == []

    watched(body)


def test_beyond_it_renewals_stop_and_the_process_ends_before_valid_until() -> None:
    async def body(scene: Scene) -> None:
        await scene.renew(5)
        scene.work.stalled = True
        began = scene.loop.time()
        await scene.renew(8)
        last = scene.renewals[-1]
        assert began + 1.5 <= last <= began + 2.5
        code, at = scene.ended[0]
        assert code == 1
        assert at == pytest.approx(last + 2 - CONFIG.write_margin)

    watched(body)


def test_a_loop_that_turns_again_in_time_is_renewed_again() -> None:
    async def body(scene: Scene) -> None:
        scene.work.stalled = True
        await scene.renew(3.5)
        held_back = scene.loop.time() - scene.renewals[-1]
        assert held_back > CONFIG.retry_period
        scene.work.go_on()
        await scene.renew(5)
        assert scene.ended == []

    watched(body)


def test_work_that_stalls_beyond_the_limit_after_the_lease_was_lost_ends_the_process_too() -> None:
    async def body(scene: Scene) -> None:
        await scene.renew(1)
        scene.work.stalled = True
        scene.guard.renewed(None)
        await asyncio.sleep(1.9)
        assert scene.ended == []
        await asyncio.sleep(1)
        assert scene.ended

    watched(body)


def test_a_stall_of_who_does_not_lead_ends_nothing() -> None:
    async def body(scene: Scene) -> None:
        scene.leads = False
        scene.work.stalled = True
        await asyncio.sleep(60)
        assert not scene.guard.may_renew()
        assert scene.ended == []

    watched(body)


def test_the_limit_may_be_longer_than_the_lease() -> None:
    async def body(scene: Scene) -> None:
        scene.work.stalled = True
        await scene.renew(9.5)
        assert scene.ended == []
        await scene.renew(5)
        assert scene.ended

    watched(body, limit=10.0)


def test_the_switch_is_armed_to_valid_until_and_disarmed_on_stepping_down() -> None:
    async def main() -> None:
        scene = Scene()
        owner = SwitchOwner(scene.timer.switch)
        with scene.guard.armed(owner):
            await scene.renew(3)
            # From here on nothing runs: the guard does not either.
            await asyncio.sleep(60)
            assert scene.timer.fired == [scene.renewals[-1] + 2]
            scene.guard.renewed(scene.loop.time() + 2)
            scene.guard.renewed(None)
            await asyncio.sleep(60)
            assert len(scene.timer.fired) == 1
            with owner.acquired():  # another election of this process
                scene.guard.renewed(scene.loop.time() + 2)
        await asyncio.sleep(60)
        assert len(scene.timer.fired) == 1
        scene.guard.renewed(scene.loop.time() + 2)
        await asyncio.sleep(60)
        assert len(scene.timer.fired) == 1

    run_virtual(main)


def test_with_the_gil_free_the_elector_may_step_down_by_itself() -> None:
    """A partition: the guard runs in the last moment, so the switch waits until the Lease may be taken."""

    async def body(scene: Scene) -> None:
        with scene.guard.armed(SwitchOwner(scene.timer.switch)):
            scene.guard.renewed(scene.loop.time() + 2)
            await asyncio.sleep(2.5)
            assert scene.timer.fired == []
            await asyncio.sleep(1)
        assert scene.timer.fired == [3], "but an elector that does not come to it is ended"
        assert scene.ended == []

    watched(body)


def test_as_a_service_it_watches_the_loop_that_starts_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        supervisor = Supervisor(threaded=False)
        guard = StallGuard(
            supervisor,
            limit=2,
            election=None,
            elapsed=loop.time,
            leads=lambda: True,
            end_process=lambda code: None,
            logger=structlog.get_logger(),
        )
        await supervisor.start()
        await guard.start()
        await asyncio.sleep(10)
        assert guard.heartbeat.stalled_for == 0
        assert guard.may_renew()
        await guard.stop()
        await guard.stop()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


def test_a_guard_that_breaks_lets_nothing_be_renewed_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        scene = Scene()
        await scene.supervisor.start()
        await scene.guard.start()
        await asyncio.sleep(10)
        assert scene.guard.may_renew()

        def explode(now: float) -> None:
            raise OSError("no space left for the log")

        monkeypatch.setattr(scene.guard.heartbeat, "look", explode)
        await asyncio.sleep(1)
        assert not scene.guard.may_renew()
        with pytest.raises(OSError, match="no space left"):
            await scene.guard.stop()

    run_virtual(main)
