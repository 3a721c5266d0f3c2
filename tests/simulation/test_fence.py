"""A leader that is cut off, frozen or too late writes nothing that counts; the server's audit log decides."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import ApiError, LeadershipLost, TransportError
from pyoperator.manager import Manager
from pyoperator.objects import Unstructured
from pyoperator.testing import LOCAL_NETWORK, Simulation, run_simulation
from tests.simulation.counter import CONFIG_MAP, LEASE, NAMESPACE, install, lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.testing import Replica, SimulatedProcess


class Writer:
    """Write a ConfigMap four times a second, whatever happens, for as long as it runs."""

    def __init__(self, manager: Manager, process: SimulatedProcess, *, stubborn: bool = False) -> None:
        self._manager = manager
        self._process = process
        self._stubborn = stubborn
        self.refused: list[float] = []

    async def run(self) -> None:
        try:
            await self._write()
        except asyncio.CancelledError:
            if not self._stubborn:
                raise
            await self._write(60.0)

    async def _write(self, seconds: float = float("inf")) -> None:
        number, until = 0, self._process.loop.time() + seconds
        while self._process.loop.time() < until:
            number += 1
            name = f"{self._process.user}-{number}-{int(self._process.loop.time() * 1000)}"
            try:
                await self._manager.client.create(Unstructured.new(CONFIG_MAP, name, NAMESPACE, data={}))
            except LeadershipLost:
                self.refused.append(self._process.loop.time())
            except (ApiError, TransportError):
                pass
            await asyncio.sleep(0.25)


def builder(
    *, stubborn: bool = False, fenced: bool = True, on_lost: str = "exit", grace: float = 30.0
) -> Callable[[SimulatedProcess], Manager]:
    def build(process: SimulatedProcess) -> Manager:
        manager = Manager(
            # Without the fence every gate is open: what client-go has.
            transport_factory=process.transport if fenced else lambda gate: process.transport(),
            clock=process.clock,
            random=process.random,
            identity=process.user,
            leader_election=True,
            leader_election_id=LEASE,
            leader_election_namespace=NAMESPACE,
            on_lost="exit" if on_lost == "exit" else "recampaign",
            graceful_shutdown_timeout=grace,
        )
        manager.add(Writer(manager, process, stubborn=stubborn))
        return manager

    return build


def writes_of(simulation: Simulation, replica: Replica, since: float = 0.0) -> list[float]:
    user = replica.process.user
    return [
        exchange.time
        for exchange in simulation.exchanges
        if exchange.user == user and exchange.method == "POST" and "/configmaps" in exchange.path
        if exchange.time >= since
    ]


async def leading(simulation: Simulation, seconds: float = 6.7) -> Replica:
    await install(simulation)
    leader = await simulation.start()
    await asyncio.sleep(seconds)
    assert writes_of(simulation, leader)
    return leader


def last_renewal(simulation: Simulation, replica: Replica) -> float:
    user = replica.process.user
    return max(
        exchange.time
        for exchange in simulation.exchanges
        if exchange.user == user and exchange.method == "PUT" and "/leases/" in exchange.path and exchange.status == 200
    )


@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "stubborn"])
@pytest.mark.parametrize("seconds", [9.4, 10.6, 15.2, 40.0])
@pytest.mark.parametrize("how", ["partition", "freeze", "renewals vanish"])
def test_a_leader_out_of_touch_writes_nothing_after_valid_until(how: str, seconds: float, stubborn: bool) -> None:
    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        if how == "partition":
            leader.partition()
            await asyncio.sleep(seconds)
            leader.heal()
        elif how == "freeze":
            leader.freeze()
            await asyncio.sleep(seconds)
            leader.thaw()
        else:
            # Only the election's requests are lost: the work could write as before.
            network = leader.process.network
            network.applies_to = lambda method, path: "/leases" in path
            leader.faults = replace(LOCAL_NETWORK, half_open=1.0)
            await asyncio.sleep(seconds)
            leader.faults = LOCAL_NETWORK
        lost = last_renewal(simulation, leader)
        await asyncio.sleep(40)
        verdict = simulation.judge(NAMESPACE, LEASE)
        assert verdict.foreign_writes == ()
        assert verdict.overlaps == ()
        if seconds >= 14.8:
            late = [time for time in writes_of(simulation, leader) if time > lost + 10.0]
            assert late == []
            assert simulation.leader is not None
            assert simulation.leader is not leader

    run_simulation(scenario, builder(stubborn=stubborn, grace=5.0), seed=int(seconds * 10))


def test_the_judge_sees_what_happens_without_the_fence() -> None:
    async def scenario(simulation: Simulation) -> int:
        leader = await leading(simulation)
        leader.freeze()
        await asyncio.sleep(20)
        leader.thaw()
        await asyncio.sleep(5)
        return len(simulation.judge(NAMESPACE, LEASE).foreign_writes)

    assert run_simulation(scenario, builder(fenced=False, stubborn=True, grace=2.0)) > 0
    assert run_simulation(scenario, builder(fenced=True, stubborn=True, grace=2.0)) == 0


def test_a_write_in_flight_when_leadership_is_lost_is_cut_off_in_time() -> None:
    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        lost = last_renewal(simulation, leader)
        # No renewal arrives within its 5 s any more; the work's own requests may take longer, the last would be late.
        leader.faults = replace(LOCAL_NETWORK, latency=(5.1, 5.5))
        await asyncio.sleep(60)
        assert leader.process.ended == "lost"
        assert [time for time in writes_of(simulation, leader) if time > lost + 5.0]
        assert not [time for time in writes_of(simulation, leader) if time > lost + 10.0]
        assert simulation.judge(NAMESPACE, LEASE).foreign_writes == ()

    run_simulation(scenario, builder(), seed=3)


def test_a_write_sent_in_the_last_moment_is_given_up_at_valid_until() -> None:
    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        leader.partition()
        renewed = leader.manager.leadership.valid_until
        assert renewed is not None
        await asyncio.sleep(renewed - leader.process.clock.elapsed() - 1.5)
        begun = simulation.loop.time()
        assert leader.leads
        with contextlib.suppress(TransportError):
            await leader.manager.client.create(Unstructured.new(CONFIG_MAP, "last", NAMESPACE, data={}))
        # Bounded by what remained of the leadership, not by the request's own half minute.
        assert simulation.loop.time() - begun == pytest.approx(1.5, abs=0.01)

    run_simulation(scenario, builder())


def test_a_late_answer_to_a_renewal_does_not_prolong_leadership() -> None:
    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        leader.process.network.applies_to = lambda method, path: "/leases/" in path
        leader.faults = replace(LOCAL_NETWORK, answer_latency=(4.0, 4.5))
        await asyncio.sleep(30)
        # Each renewal is carried out at once and known 4 s later: valid-until counts from before it was sent.
        valid_until = leader.manager.leadership.valid_until
        assert leader.leads
        assert valid_until is not None
        assert valid_until <= last_renewal(simulation, leader) + 10.0

    run_simulation(scenario, builder())


def test_a_former_leader_may_still_write_through_the_unfenced_client() -> None:
    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        standby = next(replica for replica in simulation.replicas if replica is not leader)
        here = Unstructured.new(CONFIG_MAP, "from-a-standby", NAMESPACE, data={})
        with pytest.raises(LeadershipLost, match="unfenced_client"):
            await standby.manager.client.create(here)
        unfenced = standby.manager.unfenced_client(reason="every replica keeps its own")
        assert (await unfenced.create(here)).name == "from-a-standby"
        # Reading is free for everybody, through either.
        assert (await standby.manager.client.get(CONFIG_MAP, (NAMESPACE, "from-a-standby"))).name == "from-a-standby"
        # The judge counts it, as it must: it can't know why.
        assert len(simulation.judge(NAMESPACE, LEASE).foreign_writes) == 1

    run_simulation(scenario, builder())


def test_a_standby_s_events_are_sent() -> None:
    """The policy for Events: the manager's recorders pass no fence, or "stopped leading" could never be told."""

    def build(process: SimulatedProcess) -> Manager:
        manager = builder()(process)
        manager.event_recorder("test")
        return manager

    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        standby = next(replica for replica in simulation.replicas if replica is not leader)
        recorder = standby.manager.event_recorder("test")
        recorder.event(Unstructured.new(CONFIG_MAP, "seen", NAMESPACE), "Normal", "Seen", "by a standby")
        await asyncio.sleep(5)
        assert recorder.statistics().sent == 1
        assert standby.manager.leadership.statistics().refused_total == 0
        assert simulation.judge(NAMESPACE, LEASE).foreign_writes == ()

    run_simulation(scenario, build)


def test_what_a_killed_leader_had_sent_arrives_and_nothing_else() -> None:
    async def scenario(simulation: Simulation) -> None:
        leader = await leading(simulation)
        leader.faults = replace(LOCAL_NETWORK, latency=(2.0, 2.5))
        await asyncio.sleep(1)
        await leader.crash()
        killed = simulation.loop.time()
        await asyncio.sleep(30)
        after = [time - killed for time in writes_of(simulation, leader, killed)]
        assert len(after) == 1
        assert after[0] < 2.5
        assert not simulation.judge(NAMESPACE, LEASE).foreign_writes

    run_simulation(scenario, builder())


def test_clocks_at_the_bound_of_the_guarantee() -> None:
    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        for replica, rate, offset in zip(simulation.replicas, (0.7, 1.0, 0.75), (3600.0, 0.0, -3600.0), strict=True):
            replica.clock_rate, replica.clock_offset = rate, offset
        # The slow clock leads: it believes longest.
        simulation.replicas[0].start()
        leader = await simulation.elected()
        for replica in simulation.replicas[1:]:
            replica.start()
        await asyncio.sleep(10)
        leader.partition()
        await asyncio.sleep(12)
        leader.heal()
        await asyncio.sleep(60)
        assert not simulation.judge(NAMESPACE, LEASE).foreign_writes
        assert (await lease(simulation))["holderIdentity"]

    run_simulation(scenario, builder(stubborn=True, grace=5.0))
