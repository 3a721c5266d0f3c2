from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog
from structlog.testing import capture_logs

from pyoperator.client import LeadershipLost
from pyoperator.manager import LifeCycle, ManagerError, Phase, StopTimedOut
from tests.manager.support import FakeElection, FakeService, Journal, Recorded
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable


class Scene:
    """A life cycle with one fake in each place."""

    def __init__(
        self,
        *,
        timeout: float | None = 30.0,
        drain_delay: float = 0.0,
        on_lost: Literal["exit", "recampaign"] = "exit",
        election: bool = True,
    ) -> None:
        self.journal = Journal()
        self.election = FakeElection(self.journal) if election else None
        self.services = [FakeService(self.journal, "supervisor"), FakeService(self.journal, "probes")]
        self.life = LifeCycle(
            election=self.election,
            services=self.services,
            graceful_shutdown_timeout=timeout,
            drain_delay=drain_delay,
            on_lost=on_lost,
            logger=structlog.get_logger(),
        )
        self.loop = asyncio.get_running_loop()

    def add(self, name: str, group: Any = "leader", **options: Any) -> Recorded:
        runnable = Recorded(self.journal, name, **options)
        self.life.add(runnable, group)
        return runnable

    async def run_until(self, moment: float, then: Callable[[], None] | None = None) -> float:
        """Run, stop (or do ``then``) at ``moment``; return how long the stop took."""
        self.loop.call_at(moment, then or (lambda: self.life.request_stop("test")))
        await self.life.run()
        return self.loop.time() - moment


def test_the_order_of_start_and_stop() -> None:
    async def main() -> Journal:
        scene = Scene()
        for name, group in (
            ("worker", "leader"),
            ("other", "others"),
            ("recorder", "recorders"),
            ("cache", "caches"),
            ("webhook", "webhooks"),
        ):
            scene.add(name, group)
        await scene.run_until(1)
        assert scene.life.phase is Phase.STOPPED
        return scene.journal

    assert run_virtual(main) == [
        "supervisor serves",
        "probes serves",
        "recorder starts",
        "webhook starts",
        "cache starts",
        "other starts",
        "campaign",
        "elected",
        "worker starts",
        "worker ends",
        "fence closes",
        "lease released",
        "election stops",
        "other ends",
        "cache ends",
        "webhook ends",
        "recorder ends",
        "probes closes",
        "supervisor closes",
    ]


def test_nobody_campaigns_before_the_caches_are_warm() -> None:
    async def main() -> Journal:
        scene = Scene()
        worker = scene.add("worker")
        cache = scene.add("cache", "caches")
        warm, synced = asyncio.Event(), asyncio.Event()

        async def warm_up() -> None:
            await warm.wait()
            scene.journal.append("warm")

        async def ready() -> None:
            await synced.wait()
            scene.journal.append("synced")

        worker.warm_up = warm_up  # type: ignore[attr-defined]
        cache.ready = ready  # type: ignore[attr-defined]
        task = asyncio.create_task(scene.life.run())
        await asyncio.sleep(100)
        assert scene.life.phase is Phase.SYNCING
        assert scene.life.warming_up
        warm.set()
        await asyncio.sleep(100)
        assert scene.life.phase is Phase.SYNCING
        synced.set()
        await asyncio.sleep(1)
        assert repr(scene.life.phase) == repr(Phase.LEADING)
        scene.life.request_stop("test")
        await task
        return scene.journal

    journal = run_virtual(main)
    assert journal.index("warm") < journal.index("synced") < journal.index("campaign")


def test_a_stop_while_caches_sync_ends_at_once() -> None:
    async def main() -> float:
        scene = Scene()
        worker = scene.add("worker")

        async def never() -> None:
            await asyncio.get_running_loop().create_future()

        worker.warm_up = never  # type: ignore[attr-defined]
        took = await scene.run_until(5)
        assert "worker starts" not in scene.journal
        return took

    assert run_virtual(main) == pytest.approx(0, abs=0.2)


def test_work_in_flight_finishes_before_the_lease_is_released() -> None:
    async def main() -> float:
        scene = Scene()
        scene.add("worker", drain_takes=7)
        took = await scene.run_until(1)
        assert scene.journal[-8:-3] == [
            "worker drains",
            "worker drained",
            "worker ends",
            "fence closes",
            "lease released",
        ]
        return took

    assert run_virtual(main) == pytest.approx(7)


def test_work_in_flight_is_cancelled_at_the_deadline() -> None:
    async def main() -> float:
        scene = Scene(timeout=3)
        scene.add("worker", drain_takes=100)
        took = await scene.run_until(1)
        assert "worker drained" not in scene.journal
        assert "lease released" in scene.journal
        return took

    assert run_virtual(main) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("timeout", "takes"), [(3.0, 3 + 2.5), (0.0, 0.1)])
def test_what_hangs_is_named_and_keeps_the_lease(timeout: float, takes: float) -> None:
    async def main() -> float:
        scene = Scene(timeout=timeout)
        scene.add("worker", unwind_takes=1000)
        scene.add("other", "others")
        with pytest.raises(StopTimedOut) as caught:
            await scene.run_until(1)
        (blocker,) = caught.value.blockers
        assert blocker.startswith("Recorded worker (at ")
        assert "support.py" in blocker
        assert "lease released" not in scene.journal
        assert scene.journal.index("fence closes") < scene.journal.index("other ends")
        return scene.loop.time() - 1

    with capture_logs() as logs:
        assert run_virtual(main) == pytest.approx(takes, abs=0.7)
    assert any("worker" in str(line.get("blockers")) for line in logs)


def test_a_thread_that_goes_on_keeps_the_lease() -> None:
    async def main() -> None:
        scene = Scene(timeout=3)
        worker = scene.add("worker")
        worker.blockers = lambda: ["thread 7 in compute()"]  # type: ignore[attr-defined]
        with pytest.raises(StopTimedOut, match=r"thread 7 in compute\(\)"):
            await scene.run_until(1)
        assert "lease released" not in scene.journal

    run_virtual(main)


def test_none_waits_for_ever_and_says_for_whom() -> None:
    async def main() -> float:
        scene = Scene(timeout=None)
        scene.add("worker", unwind_takes=500)
        return await scene.run_until(1)

    with capture_logs() as logs:
        assert run_virtual(main) == pytest.approx(500)
    assert len([line for line in logs if line["event"] == "still waiting to stop"]) > 10


def test_zero_does_not_wait_but_what_ends_at_once_has_ended() -> None:
    async def main() -> float:
        scene = Scene(timeout=0)
        scene.add("worker", drain_takes=10)
        took = await scene.run_until(1)
        assert "lease released" in scene.journal
        return took

    assert run_virtual(main) == pytest.approx(0, abs=0.2)


def test_drain_delay_comes_first_and_work_goes_on_meanwhile() -> None:
    async def main() -> float:
        scene = Scene(drain_delay=5)
        scene.add("worker")
        scene.loop.call_at(3, lambda: scene.journal.append(f"{scene.life.phase.value}, leads={scene.life.leads}"))
        took = await scene.run_until(1)
        assert "draining, leads=True" in scene.journal
        assert scene.journal.index("draining, leads=True") < scene.journal.index("worker ends")
        return took

    assert run_virtual(main) == pytest.approx(5, abs=0.1)


def test_a_second_request_can_cut_everything_short() -> None:
    async def main() -> float:
        scene = Scene(drain_delay=50)
        scene.add("worker", drain_takes=20)
        scene.loop.call_at(2, scene.life.hurry)
        return await scene.run_until(1)

    assert run_virtual(main) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("group", ["leader", "others", "caches", "webhooks", "recorders"])
def test_a_runnable_that_fails_stops_everything_with_its_error(group: str) -> None:
    async def main() -> Journal:
        scene = Scene(drain_delay=50)
        scene.add("worker")
        scene.add("broken", group, fails_after=2)
        with pytest.raises(ConnectionError, match="broken broke"):
            await scene.life.run()
        assert scene.loop.time() == pytest.approx(2, abs=0.1)
        return scene.journal

    journal = run_virtual(main)
    assert "worker ends" in journal
    assert "lease released" in journal
    assert journal[-1] == "supervisor closes"


def test_a_service_that_fails_to_start_is_the_error_and_the_others_close() -> None:
    async def main() -> Journal:
        scene = Scene()
        scene.add("worker")

        class Broken(FakeService):
            async def start(self) -> None:
                raise OSError("port in use")

        scene.services[1] = Broken(scene.journal, "metrics")
        with pytest.raises(OSError, match="port in use"):
            await scene.life.run()
        return scene.journal

    journal = run_virtual(main)
    assert "worker starts" not in journal
    assert "supervisor closes" in journal


def test_a_one_shot_runnable_may_return() -> None:
    async def main() -> None:
        scene = Scene()

        class Once:
            async def run(self) -> None:
                scene.journal.append("done")

        scene.life.add(Once(), "leader")
        await scene.run_until(10)
        assert "done" in scene.journal

    run_virtual(main)


def test_lost_leadership_ends_work_undrained_and_the_manager() -> None:
    async def main() -> Journal:
        scene = Scene(drain_delay=50)
        election = scene.election
        assert election is not None
        scene.add("worker", drain_takes=20)
        with pytest.raises(LeadershipLost, match="no longer leads: usurped"):
            await scene.run_until(3, lambda: election.lose("usurped"))
        assert scene.loop.time() == pytest.approx(3, abs=0.1)
        return scene.journal

    journal = run_virtual(main)
    assert "worker drains" not in journal
    assert journal.index("worker ends") < journal.index("fence closes")


def test_leadership_lost_while_draining_cancels_the_work() -> None:
    async def main() -> None:
        scene = Scene()
        election = scene.election
        assert election is not None
        scene.add("worker", drain_takes=20)
        scene.loop.call_at(5, lambda: election.lose("renewal failed"))
        with pytest.raises(LeadershipLost):
            await scene.run_until(3)
        assert scene.loop.time() == pytest.approx(5, abs=0.1)
        assert "worker drained" not in scene.journal

    run_virtual(main)


def test_recampaign_runs_the_leader_group_again() -> None:
    async def main() -> Journal:
        scene = Scene(on_lost="recampaign")
        election = scene.election
        assert election is not None
        scene.add("worker", drain_takes=20)
        scene.loop.call_at(3, lambda: election.lose("usurped"))
        scene.loop.call_at(4, lambda: scene.journal.append(f"leads={scene.life.elected.is_set()}"))
        scene.loop.call_at(5, election.won.set)
        await scene.run_until(100)
        return scene.journal

    journal = run_virtual(main)
    kept = [line for line in journal if "drain" not in line]
    assert kept[2:11] == [
        "campaign",
        "elected",
        "worker starts",
        "worker ends",
        "campaign",
        "leads=False",
        "elected",
        "worker starts",
        "worker ends",
    ]


def test_recampaign_falls_back_to_exit_if_work_does_not_stop() -> None:
    async def main() -> None:
        scene = Scene(on_lost="recampaign", timeout=2)
        election = scene.election
        assert election is not None
        scene.add("worker", unwind_takes=1000)
        with pytest.raises(LeadershipLost) as caught:
            await scene.run_until(3, lambda: election.lose("usurped"))
        assert "worker" in caught.value.__notes__[0]

    run_virtual(main)


@pytest.mark.parametrize(
    ("timeout", "drains", "takes"), [(10.0, 1.0, 10.5), (10.0, 9.0, 12.0), (0.0, 0.0, 3.0), (0.1, 0.0, 3.0)]
)
def test_services_that_hang_are_given_up_by_the_shared_deadline(timeout: float, drains: float, takes: float) -> None:
    """As all do that live on a supervisor thread whose loop hangs; servers get 2.5 s in any case, each more 0.5 s."""

    async def main() -> None:
        scene = Scene(timeout=timeout)
        scene.add("worker", drain_takes=drains)
        for service in scene.services:
            service.hangs = True
        with pytest.raises(StopTimedOut) as caught:
            await scene.run_until(1)
        assert scene.loop.time() - 1 == pytest.approx(takes, abs=0.01)
        assert caught.value.blockers == tuple(
            f"<FakeService {name}> (its stop() does not return)" for name in ("probes", "supervisor")
        )

    run_virtual(main)


def test_services_that_hang_are_waited_for_for_ever_if_asked_until_hurried() -> None:
    async def main() -> None:
        scene = Scene(timeout=None)
        for service in scene.services:
            service.hangs = True
        scene.loop.call_at(100, scene.life.hurry)
        with pytest.raises(StopTimedOut):
            await scene.run_until(1)
        assert scene.loop.time() == pytest.approx(101, abs=0.01)

    run_virtual(main)


def test_an_election_that_cannot_be_ended_does_not_keep_the_rest() -> None:
    async def main() -> None:
        scene = Scene()
        assert scene.election is not None

        async def hangs() -> None:
            raise TimeoutError("the election's loop does not answer")

        scene.election.release = scene.election.stop = hangs  # type: ignore[method-assign]
        await scene.run_until(1)
        assert scene.journal[-1] == "supervisor closes"

    with capture_logs() as logs:
        run_virtual(main)
    said = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert said == ["the lease could not be released and will expire", "the election could not be ended"]


def test_without_election_everybody_works() -> None:
    async def main() -> Journal:
        scene = Scene(election=False)
        scene.add("worker", drain_takes=2)
        await scene.run_until(1)
        return scene.journal

    journal = run_virtual(main)
    assert journal.index("worker starts") < journal.index("worker drained") < journal.index("worker ends")


def test_what_is_added_later_starts_at_once_and_nothing_after_the_stop() -> None:
    async def main() -> None:
        scene = Scene()
        scene.loop.call_at(2, scene.add, "late", "others")
        await scene.run_until(3)
        assert "late starts" in scene.journal
        with pytest.raises(ManagerError, match="is stopping"):
            scene.add("too late", "others")
        with pytest.raises(ManagerError, match="lives once"):
            await scene.life.run()

    run_virtual(main)


def test_a_runnable_cancelled_by_someone_else_is_a_failure() -> None:
    async def main() -> None:
        scene = Scene()

        class Victim:
            name = "victim"

            async def run(self) -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1)

        scene.life.add(Victim(), "leader")
        with pytest.raises(RuntimeError, match="cancelled by someone else"):
            await scene.life.run()

    run_virtual(main)
