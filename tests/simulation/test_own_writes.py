"""What reading its own writes saves an operator: work on old states, and the conflicts that end it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from postgres_operator.api import Postgres
from postgres_operator.main import cache_configuration
from pyoperator.testing import run_simulation
from tests.cache.slow_watch import SlowWatch
from tests.simulation import postgres

if TYPE_CHECKING:
    from pyoperator.client import Gate, Transport
    from pyoperator.manager import Manager
    from pyoperator.testing import SimulatedProcess, Simulation

LAG = 0.05  # seconds that the watches are behind, as behind a busy API server
NAMES = [f"p{number}" for number in range(5)]


def refusals(*, read_your_own_writes: bool) -> Counter[str]:
    """Count what the server refuses to an operator that makes, changes and deletes some databases, in calm."""

    def build(process: SimulatedProcess) -> Manager:
        def slow(gate: Gate) -> Transport:
            transport = SlowWatch(process.transport(gate))
            transport.lag = lambda: LAG
            return transport

        cache = replace(cache_configuration(), read_your_own_writes=read_your_own_writes)
        return postgres.build(process, transport_factory=slow, cache=cache)

    async def scenario(simulation: Simulation) -> Counter[str]:
        await postgres.install(simulation)
        async with asyncio.TaskGroup() as group:
            workloads = group.create_task(postgres.pretend_workloads(simulation))
            await simulation.start()
            for name in NAMES:
                await simulation.client.create(postgres.postgres(name))
            await asyncio.sleep(10)
            for name in NAMES:
                await postgres.change(simulation, name, parameters={"work_mem": "16MB"})
            await asyncio.sleep(10)
            assert await postgres.unready(simulation) == []
            for name in NAMES:
                await simulation.client.delete(Postgres, postgres.key(name))
            await asyncio.sleep(10)
            workloads.cancel()
        assert (await simulation.client.list(Postgres)).items == []
        return Counter(
            f"{exchange.method} {exchange.status}"
            for exchange in simulation.exchanges
            if exchange.method != "GET" and exchange.status >= 400 and "/leases" not in exchange.path
        )

    return run_simulation(scenario, build, seed=1)


def test_an_operator_that_reads_its_own_writes_has_no_conflicts() -> None:
    assert refusals(read_your_own_writes=True) == {}


def test_one_that_does_not_works_on_old_states() -> None:
    found = refusals(read_your_own_writes=False)
    assert found["PATCH 409"] > 0
    assert found["PUT 404"] > 0
