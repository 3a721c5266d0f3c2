"""The table of faults in the guide on high availability, with its times, tried row by row on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator import GroupVersionKind, MergePatch, ObjectKey
from pyoperator.testing import run_simulation
from tests.docs.pages import DOCS
from tests.simulation.counter import LEASE, NAMESPACE, Behaviour, install

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.testing import Replica, Simulation

LEASES = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
KEY = ObjectKey(NAMESPACE, LEASE)


def tried(row: Callable[[Simulation, Replica], Awaitable[None]]) -> None:
    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        leader = await simulation.start()
        await asyncio.sleep(7.3)
        await row(simulation, leader)
        assert simulation.judge(NAMESPACE, LEASE).writes_by_non_leader == 0

    run_simulation(scenario, Behaviour().build)


async def taken_over_after(simulation: Simulation, leader: Replica) -> float:
    begun = simulation.loop.time()
    await simulation.elected(other_than=leader)
    return simulation.loop.time() - begun


async def ended(simulation: Simulation, replica: Replica, how: str, within: float) -> float:
    begun = simulation.loop.time()
    await simulation.until(lambda: replica.process.ended == how, f"{replica} to be {how}", within=within, every=0.001)
    return simulation.loop.time() - begun


async def works_on_for(simulation: Simulation, leader: Replica) -> float:
    begun = simulation.loop.time()
    await simulation.until(lambda: not leader.leads, f"{leader} to stop work", within=60, every=0.001)
    return simulation.loop.time() - begun


def test_crash() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        await leader.crash()
        assert 13 <= await taken_over_after(simulation, leader) <= 15.1

    tried(row)


def test_sigterm() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        leader.terminate()
        assert await taken_over_after(simulation, leader) <= 0.1
        await ended(simulation, leader, "clean", 1)

    tried(row)


@pytest.mark.parametrize(("seconds", "survives"), [(5, True), (20, False)])
def test_sigstop(seconds: float, survives: bool) -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        leader.freeze()
        await asyncio.sleep(seconds)
        others = [replica for replica in simulation.replicas if replica is not leader and replica.leads]
        assert bool(others) is not survives
        leader.thaw()
        if survives:
            await asyncio.sleep(30)
            assert leader.leads
        else:
            await ended(simulation, leader, "lost", 1)

    tried(row)


def test_partition() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        leader.partition()
        assert 8 <= await works_on_for(simulation, leader) <= 10.1
        assert await taken_over_after(simulation, leader) <= 15.1 - 8
        await ended(simulation, leader, "lost", 7.1)

    tried(row)


def test_api_server_down() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        for replica in simulation.replicas:
            replica.partition()
        await asyncio.sleep(5)
        for replica in simulation.replicas:
            replica.heal()
        await asyncio.sleep(30)
        assert leader.leads
        for replica in simulation.replicas:
            replica.partition()
        assert 8 <= await works_on_for(simulation, leader) <= 10.1
        await ended(simulation, leader, "lost", 7.1)
        await asyncio.sleep(60)
        assert simulation.leader is None
        for replica in simulation.replicas:
            replica.heal()
        assert await taken_over_after(simulation, leader) <= 15

    tried(row)


def test_wrong_wall_clock() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        leader.process.clock.offset = 3600
        await asyncio.sleep(30)
        leader.process.clock.offset = -3600
        await asyncio.sleep(30)
        assert leader.leads
        assert len([replica for replica in simulation.replicas if replica.leads]) == 1

    tried(row)


def test_lease_deleted() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        await simulation.client.delete(LEASES, KEY)
        assert await ended(simulation, leader, "lost", 1) <= 0.1
        assert await taken_over_after(simulation, leader) <= 15.1
        assert (await simulation.client.get(LEASES, KEY))["spec"]["leaseTransitions"] == 0

    tried(row)


async def edit(simulation: Simulation, **spec: Any) -> None:
    await simulation.client.patch(LEASES, KEY, MergePatch({"spec": spec}))


@pytest.mark.parametrize(("holder", "least", "most"), [("", 0, 0.1), ("somebody", 14.9, 15.1)])
def test_holder_edited(holder: str, least: float, most: float) -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        await edit(simulation, holderIdentity=holder)
        assert least <= await taken_over_after(simulation, leader) <= most
        await ended(simulation, leader, "lost", 1)

    tried(row)


def test_other_fields_edited() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        await edit(simulation, leaseDurationSeconds=12, leaseTransitions=40)
        await asyncio.sleep(1)
        spec = (await simulation.client.get(LEASES, KEY))["spec"]
        assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (15, 0)
        await asyncio.sleep(30)
        assert leader.leads

    tried(row)


def test_renewed_by_somebody_else_under_the_same_identity() -> None:
    async def row(simulation: Simulation, leader: Replica) -> None:
        await edit(simulation, renewTime="2026-01-01T00:00:00.000000Z")
        await ended(simulation, leader, "lost", 1)

    tried(row)


def test_the_table_has_these_rows() -> None:
    text = (DOCS / "high-availability.md").read_text("utf-8")
    for fault in ("crash", "SIGTERM", "SIGSTOP", "partition", "API server down", "clock jump", "Lease deleted"):
        assert f"| **{fault}**" in text
