"""What the operator must not believe its cache: a watch that died silently shows the past for two minutes."""

from __future__ import annotations

import asyncio

from postgres_operator import names
from postgres_operator.api import Postgres
from pyoperator.client import MergePatch
from pyoperator.testing import LOCAL_NETWORK, Faults, Replica, Simulation, run_simulation
from tests.simulation import postgres


async def hide_volumes(simulation: Simulation, leader: Replica) -> None:
    await hide(simulation, leader, "persistentvolumeclaims")


async def hide(simulation: Simulation, leader: Replica, resource: str) -> None:
    """Let the replica's watch of a resource be one that is open and brings nothing."""
    leader.faults = Faults(silent=1.0)
    simulation.server.store.close_watchers(resource)
    await asyncio.sleep(5)
    leader.faults = LOCAL_NETWORK


def test_volumes_that_the_cache_does_not_know_are_deleted_with_their_owner() -> None:
    async def scenario(simulation: Simulation) -> None:
        await postgres.install(simulation)
        await hide_volumes(simulation, await simulation.start())
        await simulation.client.create(postgres.postgres("orders"))
        await asyncio.sleep(20)
        assert await postgres.unready(simulation) == []
        await simulation.client.delete(Postgres, postgres.key("orders"))
        await asyncio.sleep(20)
        assert (await simulation.client.list(names.CLAIM)).items == []

    run_simulation(scenario, postgres.build, replicas=1, simulate_workloads=True)


def test_passwords_are_not_made_for_volumes_that_the_cache_does_not_know() -> None:
    async def scenario(simulation: Simulation) -> None:
        await postgres.install(simulation)
        await hide_volumes(simulation, await simulation.start())
        await simulation.client.create(postgres.postgres("orders"))
        await asyncio.sleep(20)
        await simulation.client.delete(names.SECRET, postgres.key("orders-credentials"))
        await asyncio.sleep(20)
        assert (await simulation.client.list(names.SECRET, namespace=postgres.NAMESPACE)).items == []
        status = (await simulation.client.get(Postgres, postgres.key("orders"))).status
        assert status is not None
        assert [condition.reason for condition in status.conditions if condition.type == "Degraded"] == [
            "CredentialsLost"
        ]

    run_simulation(scenario, postgres.build, replicas=1, simulate_workloads=True)


def test_a_child_that_changed_unseen_is_brought_to_what_is_wanted() -> None:
    async def scenario(simulation: Simulation) -> None:
        await postgres.install(simulation)
        leader = await simulation.start()
        await simulation.client.create(postgres.postgres("orders"))
        await asyncio.sleep(20)
        await hide(simulation, leader, "configmaps")
        config = postgres.key("orders-config")
        await simulation.client.patch(names.CONFIG_MAP, config, MergePatch({"data": {"spoiled": "yes"}}))
        wish = MergePatch({"spec": {"parameters": {"work_mem": "8MB"}}})
        await simulation.client.patch(Postgres, postgres.key("orders"), wish)
        await asyncio.sleep(5)
        data = (await simulation.client.get(names.CONFIG_MAP, config))["data"]
        assert "spoiled" not in data
        assert "work_mem" in data["postgresql.conf"]

    run_simulation(scenario, postgres.build, replicas=1, simulate_workloads=True)


async def two_replicas_one_blind(simulation: Simulation, **spec: object) -> tuple[Replica, Replica]:
    """Let one replica lead and clean up an owner, while the standby's watch of owners brings nothing."""
    leader = await simulation.start()
    standby = next(replica for replica in simulation.replicas if replica is not leader)
    await simulation.client.create(postgres.postgres("orders", **spec))
    await asyncio.sleep(20)
    standby.faults = Faults(silent=1.0)
    simulation.server.store.close_watchers("postgreses.database.example.com")
    await asyncio.sleep(5)
    standby.faults = LOCAL_NETWORK
    await simulation.client.delete(Postgres, postgres.key("orders"))
    await asyncio.sleep(5)
    assert (await simulation.client.list(Postgres)).items == []
    return leader, standby


def test_a_standby_that_missed_a_deletion_makes_nothing_for_the_dead() -> None:
    async def scenario(simulation: Simulation) -> None:
        await postgres.install(simulation)
        leader, standby = await two_replicas_one_blind(simulation)
        leader.terminate()
        assert await simulation.elected(other_than=leader) is standby
        assert (await standby.manager.client.get(Postgres, postgres.key("orders"))).metadata.name == "orders"
        await asyncio.sleep(200)
        made = [
            exchange
            for exchange in simulation.exchanges
            if exchange.user == standby.process.user and exchange.method == "POST" and "/namespaces/" in exchange.path
            if "/events" not in exchange.path
        ]
        assert made == []

    run_simulation(scenario, postgres.build, replicas=2, simulate_workloads=True)


def test_a_standby_that_missed_a_deletion_does_not_adopt_the_retained_secret() -> None:
    async def scenario(simulation: Simulation) -> None:
        await postgres.install(simulation)
        leader, _ = await two_replicas_one_blind(simulation, deletion_policy="Retain")
        kept = await simulation.client.get(names.SECRET, postgres.key("orders-credentials"))
        leader.terminate()
        await simulation.elected(other_than=leader)
        await asyncio.sleep(200)
        # Adopted by an owner that is no more it would have been garbage, and the volumes without passwords.
        again = await simulation.client.get(names.SECRET, kept.key)
        assert again["data"] == kept["data"]
        assert again.metadata["uid"] == kept.metadata["uid"]

    run_simulation(scenario, postgres.build, replicas=2, simulate_workloads=True)
