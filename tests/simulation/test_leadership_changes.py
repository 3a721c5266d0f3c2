"""What a change of leader costs, and that nothing is lost by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.client import MergePatch
from pyoperator.objects import ObjectKey
from pyoperator.testing import run_simulation
from tests.simulation.counter import (
    NAMESPACE,
    Behaviour,
    Greeting,
    greet,
    greeted,
    install,
    lease,
    mutations,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.testing import Exchange, Replica, Simulation

NAMES = [f"greeting-{number:02}" for number in range(10)]


def simulate(
    body: Callable[[Simulation, Behaviour], Awaitable[None]],
    behaviour: Behaviour | None = None,
    *,
    seed: int = 1,
    **options: Any,
) -> None:
    it = behaviour or Behaviour()

    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        await body(simulation, it)

    run_simulation(scenario, it.build, seed=seed, **options)


async def settled(simulation: Simulation, seconds: float = 7.3) -> Replica:
    """Start all, greet, and wait until every replica has seen everything; an odd time, so that no timer is due."""
    leader = await simulation.start()
    for name in NAMES:
        await greet(simulation, name)
    await asyncio.sleep(seconds)
    assert set(await greeted(simulation)) == set(NAMES)
    return leader


def requests_of(simulation: Simulation, replica: Replica, since: float) -> list[Exchange]:
    user = replica.process.user
    return [exchange for exchange in simulation.exchanges if exchange.user == user and exchange.time >= since]


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_costs_one_lease_and_no_more(seed: int) -> None:
    async def body(simulation: Simulation, _: Behaviour) -> None:
        leader = await settled(simulation, 7.3 + simulation.random.uniform(0, 4))
        renewals = [
            exchange.time
            for exchange in simulation.exchanges
            if exchange.user == leader.process.user and exchange.method == "PUT" and "/leases/" in exchange.path
        ]
        await leader.crash()
        await simulation.elected(other_than=leader)
        taken = simulation.loop.time()
        assert renewals[-1] + 15.0 < taken < renewals[-1] + 15.1
        assert (await lease(simulation))["leaseTransitions"] == 1

    simulate(body, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_graceful_stop_costs_milliseconds(seed: int) -> None:
    async def body(simulation: Simulation, _: Behaviour) -> None:
        leader = await settled(simulation)
        asked = simulation.loop.time()
        leader.terminate()
        await simulation.elected(other_than=leader)
        assert simulation.loop.time() - asked < 0.05
        await leader.stop()
        assert leader.process.ended == "clean"

    simulate(body, seed=seed)


def test_a_rolling_update_changes_leaders_as_few_times_as_possible() -> None:
    async def body(simulation: Simulation, _: Behaviour) -> None:
        await settled(simulation)
        for replica in simulation.replicas:
            await replica.stop()
            replica.start()
            await asyncio.sleep(5)
        verdict = simulation.judge(NAMESPACE, "greeter.example.com")
        assert not verdict.foreign_writes
        # The first stop moves leadership; whether the last does again depends on who took it: never more than once each.
        assert 1 <= verdict.lease_transitions <= 2
        assert max(verdict.sigterm_ms.values()) < 50

    simulate(body)


def test_a_standby_is_warm_and_lists_nothing_when_it_becomes_leader() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        stopped = simulation.loop.time()
        await leader.crash()
        successor = await simulation.elected(other_than=leader)
        await asyncio.sleep(3)
        lists = [
            exchange
            for exchange in requests_of(simulation, successor, stopped)
            if exchange.method == "GET" and "watch=" not in exchange.path and "/leases/" not in exchange.path
        ]
        assert lists == []
        assert sorted(behaviour.seen_by(successor.process.user)) == NAMES

    simulate(body)


def test_every_key_is_reconciled_once_by_the_new_leader() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        leader.terminate()
        successor = await simulation.elected(other_than=leader)
        await asyncio.sleep(5)
        assert sorted(behaviour.seen_by(successor.process.user)) == NAMES
        assert set((await greeted(simulation)).values()) == {successor.process.user}

    simulate(body)


def test_timers_of_the_old_leader_live_on() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        await asyncio.sleep(100)
        assert len(behaviour.seen) == len(NAMES)
        await leader.crash()
        successor = await simulation.elected(other_than=leader)
        begun = simulation.loop.time()
        await asyncio.sleep(400)
        # At once, since the old timers are unknown, and from then on every 300 s.
        times = [time for time, user, name in behaviour.seen if user == successor.process.user and name == NAMES[0]]
        assert [round(time - begun) for time in times] == [0, 300]

    simulate(body, Behaviour(again_after=300.0))


def test_events_during_the_change_are_not_lost_and_go_first() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        await leader.crash()
        await asyncio.sleep(5)
        await greet(simulation, "meanwhile")
        await simulation.client.patch(
            Greeting, ObjectKey(NAMESPACE, NAMES[3]), MergePatch({"spec": {"text": "changed"}})
        )
        await simulation.client.delete(Greeting, ObjectKey(NAMESPACE, NAMES[4]))
        successor = await simulation.elected(other_than=leader)
        await greet(simulation, "afterwards")
        await asyncio.sleep(2)
        seen = behaviour.seen_by(successor.process.user)
        assert set(seen) >= {*NAMES, "meanwhile", "afterwards"} - {NAMES[4]}
        # A fresh event goes before the backlog, of which a worker each was under way already.
        assert seen.index("afterwards") <= 8

    simulate(body, Behaviour(takes=0.05))


def test_the_lease_is_released_when_slow_reconciles_have_ended_and_not_before() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await simulation.start()
        for name in NAMES[:3]:
            await greet(simulation, name)
        await asyncio.sleep(1)
        assert len(behaviour.seen) == 3
        asked = simulation.loop.time()
        leader.terminate()
        successor = await simulation.elected(other_than=leader)
        taken = simulation.loop.time()
        assert 3.5 < taken - asked < 4.1
        ends = [time for time, user, _ in behaviour.finished if user == leader.process.user]
        assert len(ends) == 3
        assert max(ends) < taken < max(ends) + 0.05
        assert max(mutations(simulation, leader.process.user)) < taken
        await leader.stop()
        assert leader.process.ended == "clean"
        await asyncio.sleep(10)
        assert set((await greeted(simulation)).values()) == {successor.process.user}

    simulate(body, Behaviour(takes=5.0))


def test_a_hung_reconcile_keeps_the_lease_until_it_expires() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await simulation.start()
        await greet(simulation, "stuck")
        await asyncio.sleep(5.3)
        assert behaviour.seen_by(leader.process.user) == ["stuck"]
        asked = simulation.loop.time()
        leader.terminate()
        await asyncio.sleep(9.5)
        # All that time it renews: work that is still running must not overlap with a successor's.
        assert (await lease(simulation))["holderIdentity"] == leader.process.user
        await leader.process.wait()
        ended = simulation.loop.time()
        assert leader.process.ended == "stop timed out"
        assert 10.0 <= ended - asked < 14.0
        assert (await lease(simulation))["holderIdentity"] == leader.process.user
        behaviour.hangs = False
        await simulation.elected(other_than=leader)
        # No release: the lease had to run out, from the last renewal, which came at most a retry period before the end.
        assert simulation.loop.time() - ended > 12.0
        assert mutations(simulation, leader.process.user) == []
        await asyncio.sleep(3)
        assert set(await greeted(simulation)) == {"stuck"}

    simulate(body, Behaviour(hangs=True, options={"graceful_shutdown_timeout": 10.0}))


def test_a_lease_taken_away_ends_the_process_and_the_next_one_stands_by() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/greeter.example.com"
        await simulation.client.raw("PATCH", path, body=b'{"spec": {"holderIdentity": "usurper"}}', headers={
            "content-type": "application/merge-patch+json"
        })  # fmt: skip
        began = simulation.loop.time()
        await leader.process.wait()
        assert simulation.loop.time() - began < 0.1
        assert leader.process.ended == "lost"
        successor = await simulation.elected()
        assert 14.0 < simulation.loop.time() - began < 16.0
        await asyncio.sleep(5)
        assert sorted(set(behaviour.seen_by(successor.process.user))) == NAMES
        assert len([replica for replica in simulation.replicas if replica.running]) == 3

    simulate(body, restart_after=1.0)


def test_a_leader_out_of_touch_ends_at_valid_until_and_waits_for_nobody() -> None:
    """Neither for a release nor for events, which a server that is silent would not take."""

    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        renewed = max(
            exchange.time
            for exchange in requests_of(simulation, leader, 0.0)
            if exchange.method == "PUT" and "/leases/" in exchange.path
        )
        leader.partition()
        await leader.process.wait()
        assert leader.process.ended == "lost"
        assert simulation.loop.time() == pytest.approx(renewed + 10.0, abs=0.1)

    simulate(body)


def test_a_leader_that_recampaigns_leads_again_in_the_same_process() -> None:
    async def body(simulation: Simulation, behaviour: Behaviour) -> None:
        leader = await settled(simulation)
        leader.partition()
        successor = await simulation.elected(other_than=leader)
        await asyncio.sleep(5)
        leader.heal()
        await asyncio.sleep(60)
        assert leader.running
        assert not leader.leads
        for replica in simulation.replicas:
            if replica is not leader:
                await replica.stop()
        again = await simulation.elected()
        assert again is leader
        await asyncio.sleep(5)
        assert len(leader.starts) == 1
        assert set((await greeted(simulation)).values()) == {leader.process.user}
        assert sorted(set(behaviour.seen_by(successor.process.user))) == NAMES
        assert not simulation.judge(NAMESPACE, "greeter.example.com").foreign_writes

    simulate(body, Behaviour(options={"on_lost": "recampaign"}))


def test_three_replicas_started_at_once_elect_one() -> None:
    async def body(simulation: Simulation, _: Behaviour) -> None:
        await simulation.start()
        await asyncio.sleep(10)
        assert sum(replica.leads for replica in simulation.replicas) == 1
        assert (await lease(simulation))["leaseTransitions"] == 0

    simulate(body)
