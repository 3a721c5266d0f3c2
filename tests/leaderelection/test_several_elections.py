"""Several elections in one process, one for each shard: they know nothing of each other."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from pyoperator.client import AiohttpTransport, Configuration, LeadershipLost, Transport
from pyoperator.clock import LoopClock, Randomness
from pyoperator.health import CheckFailed, leadership_check
from pyoperator.leaderelection import ElectionConfig, LeaderElector, Leadership, Transition
from pyoperator.metrics import election_families
from tests.leaderelection.http_lease_server import HTTPLeaseServer, http_lease_server
from tests.leaderelection.lease_server import LeaseServer, LeaseTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARDS = ("even", "odd")


def on_the_loop(servers: dict[str, LeaseServer], shard: str, identity: str, **options: Any) -> LeaderElector:
    return LeaderElector(
        ElectionConfig(name="op", namespace="default", identity=identity),
        LeaseTransport(servers[shard], identity),
        clock=LoopClock(asyncio.get_running_loop()),
        random=Randomness(f"{shard} {identity}"),
        **options,
    )


def test_two_processes_share_two_shards_and_each_is_lost_and_won_by_itself() -> None:
    async def main() -> None:
        servers = {shard: LeaseServer() for shard in SHARDS}
        working: dict[str, list[str]] = {shard: [] for shard in SHARDS}

        async def work(elector: LeaderElector, shard: str, identity: str) -> None:
            async def body(leadership: Leadership) -> None:
                assert not working[shard], "two workers on one shard"
                working[shard].append(identity)
                try:
                    while True:
                        leadership.check()
                        await asyncio.sleep(1.0)
                finally:
                    working[shard].remove(identity)

            while True:
                try:
                    await elector.run(body)
                except LeadershipLost:
                    continue

        async with AsyncExitStack() as stack:
            tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
            # Each shard is led by another process: "a" is first at one, "b" at the other.
            for identity, shard in (("a", "even"), ("b", "odd"), ("b", "even"), ("a", "odd")):
                elector = await stack.enter_async_context(on_the_loop(servers, shard, identity))
                tasks[identity, shard] = asyncio.create_task(work(elector, shard, identity))
                await asyncio.sleep(1.0)
            assert working == {"even": ["a"], "odd": ["b"]}
            # Losing one shard costs nothing at the other.
            servers["even"].edit(holderIdentity="by-hand", leaseDurationSeconds=3)
            await asyncio.sleep(0.1)
            assert working == {"even": [], "odd": ["b"]}
            await asyncio.sleep(2.8)
            assert working["even"] == []  # what was written by hand promises three seconds
            await asyncio.sleep(0.2)
            assert len(working["even"]) == 1
            assert working["odd"] == ["b"]
            # So does giving one back.
            tasks["b", "odd"].cancel()
            await asyncio.wait([tasks["b", "odd"]])
            await asyncio.sleep(0.1)
            assert working["odd"] == ["a"]
            assert len(working["even"]) == 1
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())

    run_virtual(main)


@pytest.fixture
def servers() -> Iterator[list[HTTPLeaseServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(http_lease_server()) for _ in SHARDS]


async def test_two_electors_on_threads_of_their_own(servers: list[HTTPLeaseServer]) -> None:
    def factory(address: str) -> Callable[[], Transport]:
        return lambda: AiohttpTransport(Configuration(server=address))

    electors = [
        LeaderElector(ElectionConfig(name="op", namespace="default", identity=f"me-{place}"), factory(server.address))
        for place, server in enumerate(servers)
    ]
    both = asyncio.Barrier(2)

    async def body(leadership: Leadership) -> str:
        leadership.check()
        await both.wait()  # both lead at once, in one process
        threads = [thread.name for thread in threading.enumerate()]
        assert threads.count("election-op") == 2
        await both.wait()
        return leadership.identity

    async with electors[0], electors[1], asyncio.timeout(30):
        assert await asyncio.gather(*(elector.run(body) for elector in electors)) == ["me-0", "me-1"]
    assert [server.core.holder for server in servers] == ["", ""]


def test_leadership_shows_as_record_callback_log_event_metric_and_health_check() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.messages: list[str] = []

        def event(self, obj: Any, type_: str, reason: str, message: str, *, action: str = "") -> None:
            self.messages.append(message)

    def master_status(elector: LeaderElector) -> float:
        status = elector.status()
        families = election_families(
            status.name,
            leads=status.is_leader,
            slow_paths=status.slowpath_total,
            transitions=status.acquisitions_total + status.losses_total,
            refused=elector.leadership.statistics().refused_total,
        )
        (family,) = (one for one in families if one.name == "leader_election_master_status")
        (sample,) = family.samples
        assert sample.labels == ("op",)
        assert isinstance(sample.value, int | float)
        return sample.value

    async def main() -> None:
        servers = {"even": LeaseServer()}
        recorder, transitions, heard = Recorder(), list[Transition](), list[str]()
        clock = LoopClock(asyncio.get_running_loop())
        elector = on_the_loop(
            servers,
            "even",
            "a",
            recorder=recorder,
            on_transition=transitions.append,
            on_started_leading=lambda _: heard.append("started"),
            on_stopped_leading=lambda: heard.append("stopped"),
            on_new_leader=heard.append,
        )
        leading = True
        check = leadership_check(
            leads=lambda: leading, valid_until=lambda: elector.leadership.valid_until, elapsed=clock.elapsed
        )
        async with elector:
            assert master_status(elector) == 0
            async with elector.lead():
                assert elector.status().is_leader
                assert elector.status().holder == "a"
                assert master_status(elector) == 1
                check()
            with pytest.raises(CheckFailed, match="without a lease"):
                check()
            leading = False
            check()
        assert heard == ["a", "started", "stopped"]
        assert [one.kind for one in transitions] == ["acquired", "new_leader", "released"]
        assert recorder.messages == ["a became leader", "a stopped leading"]

    with capture_logs() as logs:
        run_virtual(main)
    assert [line["event"] for line in logs] == ["became leader", "stopped leading"]
