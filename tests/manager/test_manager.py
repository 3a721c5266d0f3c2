from __future__ import annotations

import asyncio
import gc
import io
import sys
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from pyoperator.client import LeadershipLost
from pyoperator.clock import LoopClock, Randomness
from pyoperator.health import ping
from pyoperator.leaderelection import DeadMansSwitch, ElectionConfigError, SwitchOwner
from pyoperator.manager import CacheConfiguration, Manager, ManagerError, Phase, StopTimedOut
from pyoperator.manager._running import run_manager
from pyoperator.objects import Unstructured
from pyoperator.serving import BindAddressError
from tests.manager.support import Journal, LeaseServer, Recorded, in_process
from tests.support import run_virtual

CONFIG_MAP: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "x", "namespace": "default"},
}


def manager(server: LeaseServer, *, identity: str = "me", **options: Any) -> Manager:
    """A manager in simulation: on the caller's loop, with virtual clocks and a seed."""
    settings: dict[str, Any] = {
        "leader_election": True,
        "leader_election_id": "test.example.com",
        "leader_election_namespace": "system",
    }
    return Manager(
        transport_factory=in_process(server),
        identity=identity,
        clock=LoopClock(asyncio.get_running_loop()),
        random=Randomness(1),
        **{**settings, **options},
    )


async def reasons(checks: Any) -> dict[str, str]:
    return {result.name: result.reason for result in await checks.run() if result.reason}


def test_leads_works_and_releases() -> None:
    async def main() -> None:
        server, journal = LeaseServer(), Journal()
        mgr = manager(server)
        mgr.add(Recorded(journal, "worker", drain_takes=1))
        mgr.add(Recorded(journal, "everywhere", need_leader_election=False))
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        await asyncio.sleep(1)
        assert server.holder == "me"
        assert await mgr.client.create(Unstructured(CONFIG_MAP))
        assert mgr.leadership.is_leader
        assert mgr.status().phase is Phase.LEADING
        assert mgr.status().runnables["leader"] == ("Recorded worker",)
        assert await reasons(mgr.readyz) == {}
        assert await reasons(mgr.healthz) == {}
        mgr.stop()
        await task
        assert server.holder == ""
        assert journal == [
            "everywhere starts",
            "worker starts",
            "worker drains",
            "worker drained",
            "worker ends",
            "everywhere ends",
        ]
        assert mgr.status().phase is Phase.STOPPED
        with pytest.raises(LeadershipLost, match="unfenced_client"):
            await mgr.client.create(Unstructured(CONFIG_MAP))
        with pytest.raises(ManagerError, match="lives once"):
            await mgr.start()
        with pytest.raises(ManagerError, match="is stopping"):
            mgr.add(Recorded(journal, "late"))

    run_virtual(main)


def test_a_standby_is_ready_fenced_and_takes_over() -> None:
    async def main() -> None:
        server, journal = LeaseServer(), Journal()
        first, second = manager(server, identity="a"), manager(server, identity="b")
        second.add(Recorded(journal, "worker"))
        running = [asyncio.create_task(first.start())]
        await first.elected.wait()
        running.append(asyncio.create_task(second.start()))
        await asyncio.sleep(30)
        assert second.status().phase is Phase.STANDING_BY
        assert await reasons(second.readyz) == {}
        with pytest.raises(LeadershipLost):
            await second.client.create(Unstructured(CONFIG_MAP))
        assert await second.unfenced_client(reason="a test").create(Unstructured(CONFIG_MAP))
        first.stop()
        await running[0]
        await second.elected.wait()
        await asyncio.sleep(0)
        assert server.holder == "b"
        assert journal == ["worker starts"]
        second.stop()
        await running[1]

    run_virtual(main)


def test_losing_the_lease_ends_the_manager() -> None:
    async def main() -> None:
        server, journal = LeaseServer(), Journal()
        mgr = manager(server)
        mgr.add(Recorded(journal, "worker", drain_takes=5))
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        server.take_away()
        with pytest.raises(LeadershipLost, match="no longer leads"):
            await task
        assert server.holder == "usurper"
        assert "worker drains" not in journal

    run_virtual(main)


def test_recampaign_leads_again_in_the_same_process() -> None:
    async def main() -> None:
        server, journal = LeaseServer(), Journal()
        mgr = manager(server, on_lost="recampaign")
        mgr.add(Recorded(journal, "worker"))
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        server.take_away()
        await asyncio.sleep(5)
        assert mgr.status().phase is Phase.STANDING_BY
        await mgr.elected.wait()
        await asyncio.sleep(1)
        assert journal == ["worker starts", "worker ends", "worker starts"]
        assert await mgr.client.create(Unstructured(CONFIG_MAP))
        mgr.stop()
        await task

    run_virtual(main)


def test_an_unreachable_server_is_waited_for_and_said() -> None:
    async def main() -> None:
        server = LeaseServer()
        server.reachable = False
        mgr = manager(server)
        task = asyncio.create_task(mgr.start())
        await asyncio.sleep(3600)
        assert "can't be reached" in (await reasons(mgr.readyz))["startup"]
        assert any("can't be reached" in reason for reason in mgr.status().waiting_for)
        server.reachable = True
        await mgr.elected.wait()
        assert await reasons(mgr.readyz) == {}
        mgr.stop()
        await task

    with capture_logs() as logs:
        run_virtual(main)
    waiting = [line for line in logs if line["event"] == "waiting for the API server"]
    assert 50 < len(waiting) < 70  # once a minute


def test_credentials_that_the_server_refuses_are_said() -> None:
    async def main() -> None:
        server = LeaseServer()
        server.known = False
        mgr = manager(server)
        task = asyncio.create_task(mgr.start())
        await asyncio.sleep(10)
        assert "does not know us" in (await reasons(mgr.readyz))["startup"]
        server.known = True
        await mgr.elected.wait()
        mgr.stop()
        await task

    run_virtual(main)


def test_a_second_cancellation_gives_up_waiting() -> None:
    async def main() -> None:
        server, journal = LeaseServer(), Journal()
        mgr = manager(server, graceful_shutdown_timeout=None)
        mgr.add(Recorded(journal, "worker", drain_takes=3600))
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() < 10
        assert "worker drained" not in journal
        assert server.holder == ""

    run_virtual(main)


def test_readiness_fails_while_it_drains() -> None:
    async def main() -> None:
        mgr = manager(LeaseServer(), drain_delay=10)
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        mgr.stop()
        await asyncio.sleep(5)
        assert await reasons(mgr.readyz) == {"shutdown": "shutting down"}
        assert mgr.leadership.is_leader
        await task

    run_virtual(main)


def test_cancelling_start_is_a_graceful_stop() -> None:
    async def main() -> None:
        server, journal = LeaseServer(), Journal()
        mgr = manager(server)
        mgr.add(Recorded(journal, "worker", drain_takes=3))
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "worker drained" in journal
        assert server.holder == ""

    run_virtual(main)


def test_transitions_become_events_on_the_lease() -> None:
    async def main() -> None:
        server = LeaseServer()
        mgr = manager(server)
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        await asyncio.sleep(1)
        mgr.stop()
        await task
        events = [path for method, path in server.requests if method == "POST" and path.endswith("/events")]
        assert events == ["/apis/events.k8s.io/v1/namespaces/system/events"] * 2

    with capture_logs() as logs:
        run_virtual(main)
    said = [line["event"] for line in logs]
    assert said.index("became leader") < said.index("stopped leading") < said.index("stopped")


async def test_what_may_be_added() -> None:
    mgr = manager(LeaseServer(), leader_election=False)

    async def work() -> None: ...

    mgr.add(work)
    mgr.add(work, need_leader_election=False)
    mgr.add(Recorded(Journal(), "hook"), group="webhooks")
    runnables = mgr.status().runnables
    assert len(runnables["leader"]) == len(runnables["others"]) == len(runnables["webhooks"]) == 1
    assert "work" in runnables["leader"][0]
    with pytest.raises(ManagerError, match="async def run"):
        mgr.add(object())  # type: ignore[arg-type]
    mgr.add_healthz_check("healthz", ping)
    mgr.add_readyz_check("readyz", ping)
    assert mgr.event_recorder("x") is mgr.event_recorder("x")
    with pytest.raises(ManagerError, match="needs a reason"):
        mgr.unfenced_client(reason=" ")
    with pytest.raises(ManagerError, match="no leadership"):
        _ = mgr.leadership
    with pytest.raises(ManagerError, match="can't be used"):
        mgr.add_metrics_server_extra_handler("/metrics", work)
    assert mgr.field_indexer is mgr.cache
    assert mgr.rest_mapper is mgr.client.rest_mapper
    assert repr(mgr) == "<Manager new>"
    await mgr._connections.aclose()


@pytest.mark.parametrize(
    ("options", "error", "teaches"),
    [
        ({"lease_duration": 10}, ElectionConfigError, "must be greater than renew deadline"),
        ({"lease_duration": 15.5}, ElectionConfigError, "whole number"),
        ({"leader_election_id": ""}, ElectionConfigError, "leader_election_id"),
        ({"metrics_bind_address": "8080"}, BindAddressError, "did you mean ':8080'"),
        ({"health_probe_bind_address": ":x"}, BindAddressError, "number from 0"),
        ({"on_lost": "panic"}, ManagerError, "recampaign"),
        ({"graceful_shutdown_timeout": -1}, ManagerError, "from 0 up"),
        ({"drain_delay": float("nan")}, ManagerError, "from 0 up"),
        ({"stall_limit": 0.1}, ElectionConfigError, "at least 0.5 seconds"),
        ({"stall_limit": float("inf")}, ElectionConfigError, "can't be kept"),
        ({"release_on_cancel": True, "leader_election_release_on_cancel": False}, ManagerError, "two names"),
        ({"namespaces": ("a",), "cache": CacheConfiguration(default_namespaces=("b",))}, ManagerError, "give one"),
    ],
)
async def test_wrong_options_teach(options: dict[str, Any], error: type[Exception], teaches: str) -> None:
    with pytest.raises(error) as caught:
        manager(LeaseServer(), **options)
    assert teaches in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, True), ({"release_on_cancel": False}, False), ({"leader_election_release_on_cancel": False}, False)],
)
async def test_release_on_cancel_has_two_names(options: dict[str, Any], expected: bool) -> None:
    election = manager(LeaseServer(), **options).options.election
    assert election is not None
    assert election.release_on_cancel is expected


async def test_the_stall_limit_is_the_renew_deadline_unless_given() -> None:
    assert manager(LeaseServer()).options.stall_limit == 10
    assert manager(LeaseServer(), renew_deadline=7).options.stall_limit == 7
    assert manager(LeaseServer(), stall_limit=3).options.stall_limit == 3


@pytest.mark.parametrize(
    ("asked", "in_run", "in_start"), [(None, True, False), (True, True, True), (False, False, False)]
)
def test_the_dead_mans_switch_is_on_in_run_and_off_in_start(
    monkeypatch: pytest.MonkeyPatch, asked: bool | None, in_run: bool, in_start: bool
) -> None:
    timers: list[float] = []

    class Timer:
        def start(self, seconds: float) -> None:
            timers.append(seconds)

        def cancel(self) -> None: ...

        def close(self) -> None: ...

    owner = SwitchOwner(lambda: DeadMansSwitch(make_timer=Timer))
    monkeypatch.setattr("pyoperator.manager._manager.PROCESS_SWITCH", owner)

    def make() -> Manager:
        mgr = Manager(
            transport_factory=LeaseServer().transport,
            leader_election=True,
            leader_election_id="test.example.com",
            leader_election_namespace="system",
            metrics_bind_address="0",
            health_probe_bind_address="0",
            dead_mans_switch=asked,
        )

        async def work() -> None:
            mgr.stop()

        mgr.add(work)
        return mgr

    assert make().run() == 0
    assert bool(timers) is in_run
    assert all(5 < seconds <= 10 for seconds in timers)
    timers.clear()
    asyncio.run(make().start())
    assert bool(timers) is in_start
    assert "users=0" in repr(owner)


def test_run_spares_the_garbage_collector_what_lives_as_long_as_the_process() -> None:
    def collected() -> bool:
        return any(found is Manager for found in gc.get_objects())

    seen: list[bool] = []

    def make() -> Manager:
        mgr = Manager(
            transport_factory=LeaseServer().transport, metrics_bind_address="0", health_probe_bind_address="0"
        )

        async def work() -> None:
            seen.append(collected())
            mgr.stop()

        mgr.add(work)
        return mgr

    assert make().run() == 0
    assert collected()
    # Only who has the process to himself may decide that.
    asyncio.run(make().start())
    assert seen == [False, True]


def test_metrics_tell_of_the_election_and_the_cache() -> None:
    async def main() -> str:
        mgr = manager(LeaseServer())
        task = asyncio.create_task(mgr.start())
        await mgr.elected.wait()
        text, _ = mgr.metrics.render()
        mgr.stop()
        await task
        return text.decode()

    text = run_virtual(main)
    assert 'leader_election_master_status{name="test.example.com"} 1.0' in text
    assert 'leader_election_slowpath_total{name="test.example.com"} 0.0' in text
    assert "# TYPE pyoperator_cache_objects gauge" in text
    assert 'pyoperator_health_check_failures_total{check="startup",endpoint="readyz"} 0.0' in text
    assert "python_info" in text


def test_a_reader_of_standard_output_that_is_gone_does_not_keep_a_hanging_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    class Stuck:
        logger = structlog.get_logger()

        def stop(self, reason: str) -> None: ...

        async def start(self) -> None:
            raise StopTimedOut(("thread 7",), 1.0)

    codes: list[int] = []
    with capture_logs():
        monkeypatch.setattr(sys, "stdout", Gone())
        assert run_manager(Stuck(), None, codes.append) == 4  # type: ignore[arg-type]
    assert codes == [4]
