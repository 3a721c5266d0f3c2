"""The harness itself: what it claims of processes is true, and what no run may contain fails it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.client import TransportError
from pyoperator.testing import SimulationError, run_simulation
from tests.simulation.counter import Behaviour, greet, greeted, install

if TYPE_CHECKING:
    from pyoperator.manager import Manager
    from pyoperator.testing import SimulatedProcess, Simulation


def test_every_start_has_a_user_of_its_own() -> None:
    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        await simulation.start()
        replica = simulation.replicas[1]
        await replica.crash()
        replica.start()
        assert [process.user for process in replica.starts] == ["replica-1.1", "replica-1.2"]
        await asyncio.sleep(1)
        assert {exchange.user for exchange in simulation.exchanges} >= {"replica-1.1", "replica-1.2", "admin"}
        assert repr(replica) == "<Replica replica-1 <SimulatedProcess replica-1.2 running>>"

    run_simulation(scenario, Behaviour().build)


def test_a_frozen_process_takes_no_step_and_goes_on_where_it_was() -> None:
    steps: list[float] = []

    def build(process: SimulatedProcess) -> Manager:
        manager = Behaviour().build(process)

        async def tick() -> None:
            while True:
                steps.append(process.loop.time())
                await asyncio.sleep(0.5)

        manager.add(tick, need_leader_election=False)
        return manager

    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        replica = await simulation.start()
        await asyncio.sleep(2)
        replica.freeze()
        frozen = simulation.loop.time()
        await asyncio.sleep(4)
        replica.thaw()
        await asyncio.sleep(1)
        assert not [step for step in steps if frozen + 0.001 < step < frozen + 4]
        assert [step for step in steps if step >= frozen + 4]
        assert replica.leads

    run_simulation(scenario, build, replicas=1)


def test_a_killed_process_leaves_no_task_and_sends_nothing() -> None:
    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        leader = await simulation.start()
        await greet(simulation, "one")
        await asyncio.sleep(0.01)
        await leader.crash()
        assert leader.process.ended == "killed"
        assert leader.process.loop.tasks_of(leader.process) == []
        place = len(simulation.exchanges)
        await asyncio.sleep(10)
        assert not [late for late in simulation.exchanges[place:] if late.user == leader.process.user]

    run_simulation(scenario, Behaviour(takes=1.0).build)


def test_a_stopped_process_leaves_no_task() -> None:
    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        leader = await simulation.start()
        await greet(simulation, "one")
        await asyncio.sleep(3)
        assert await greeted(simulation) == {"one": leader.process.user}
        for replica in simulation.replicas:
            process = await replica.stop()
            assert process.ended == "clean"
            assert process.loop.tasks_of(process) == []
        assert simulation.server.store.watchers == 0

    run_simulation(scenario, Behaviour().build)


def test_a_partition_lets_nothing_through_until_it_is_healed() -> None:
    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        replica = await simulation.start()
        replica.partition()
        with pytest.raises(TransportError):
            await replica.process.network.request("GET", "/version", timeout=1.0)
        replica.heal()
        assert (await replica.process.network.request("GET", "/version", timeout=1.0)).status == 200

    run_simulation(scenario, Behaviour().build, replicas=1)


def test_a_process_that_ends_by_itself_is_started_again() -> None:
    class Fails:
        async def run(self) -> None:
            await asyncio.sleep(5)
            raise RuntimeError("broken")

    def build(process: SimulatedProcess) -> Manager:
        manager = Behaviour().build(process)
        manager.add(Fails())
        return manager

    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        replica = await simulation.start()
        await replica.process.wait()
        assert replica.starts[0].ended == "failed"
        assert str(replica.starts[0].error) == "broken"
        await asyncio.sleep(2)
        assert len(replica.starts) == 2
        assert replica.running

    run_simulation(scenario, build, replicas=1, restart_after=1.0)


@pytest.mark.parametrize(
    ("leak", "complaint"),
    [
        ("task", "left tasks behind"),
        ("exception", "never retrieved"),
    ],
)
def test_leaks_fail_the_run(leak: str, complaint: str) -> None:
    kept: list[Any] = []

    class Leaks:
        async def run(self) -> None:
            async def work() -> None:
                if leak == "exception":
                    raise RuntimeError("nobody looks")
                await asyncio.get_running_loop().create_future()

            task = asyncio.create_task(work())
            if leak == "task":
                kept.append(task)
            del task
            await asyncio.get_running_loop().create_future()

    def build(process: SimulatedProcess) -> Manager:
        manager = Behaviour().build(process)
        manager.add(Leaks())
        return manager

    async def scenario(simulation: Simulation) -> None:
        await install(simulation)
        replica = await simulation.start()
        await asyncio.sleep(1)
        await replica.stop()

    with pytest.raises(SimulationError, match=complaint):
        run_simulation(scenario, build, replicas=1)


def test_waiting_in_vain_says_for_what() -> None:
    async def scenario(simulation: Simulation) -> None:
        await simulation.elected(within=5)

    with pytest.raises(SimulationError, match="waited 5 s in vain for a leader"):
        run_simulation(scenario, Behaviour().build)


def test_a_process_needs_the_simulation_s_loop() -> None:
    from pyoperator.testing import Simulation as Stage

    async def main() -> None:
        stage = Stage(Behaviour().build)
        with pytest.raises(TypeError, match="run_simulation"):
            stage.replicas[0].start()

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(main())
