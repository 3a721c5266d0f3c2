"""The real part: its load and weather on virtual time, its end when the operator ends, and all of it once, small."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks._load import define, seed
from pyoperator.apiserver import APIServer
from pyoperator.client import Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from soak._real import RealPlan, _Run, run_real
from soak._real_load import RealLoad
from soak._real_weather import RealWeather
from tests.support import run_virtual

if TYPE_CHECKING:
    from soak._judge import Sample
    from soak._process import Process


async def load_on(objects: int, rate: float) -> tuple[RealLoad, FaultyTransport]:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    network = FaultyTransport(InProcessTransport(APIServer(clock=clock, random=Randomness(1))), random=Randomness(2))
    client = Client(network, clock=clock, random=Randomness(3))
    await define(client)
    await seed(client, objects)
    return RealLoad(client, objects, rate, Randomness(4)), network


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_the_load_keeps_its_rate_and_its_objects() -> None:
    async def main() -> tuple[RealLoad, int, list[int]]:
        load, _ = await load_on(10, 5.0)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(60.1)
        await cancelled(running)
        states = await load.states()
        return load, len(states), [state.generation for state in states.values()]

    load, count, generations = run_virtual(main)
    assert load.made == 300
    assert load.refused == 0
    assert 8 <= count <= 10  # the others have been deleted just now
    assert max(generations) > 1


def test_what_a_server_that_is_down_has_missed_is_not_made_up_for() -> None:
    async def main() -> tuple[int, int, int]:
        load, network = await load_on(10, 5.0)
        running = asyncio.create_task(load.run())
        network.faults = Faults(errors=1.0)
        await asyncio.sleep(60.0)
        refused, made = load.refused, load.made
        network.faults = Faults()
        await asyncio.sleep(10.0)
        await cancelled(running)
        return refused, made, load.made

    refused, before, after = run_virtual(main)
    assert refused > 0
    assert before == 0
    assert after < 80


class FakeServer:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def restart(self, *, crash: bool, pause: float) -> None:
        await asyncio.sleep(pause)
        self.told.append("killed" if crash else "restarted")

    async def fail(self, **faults: float) -> None:
        self.told.append(",".join(faults) or "well")

    async def compact(self) -> None:
        self.told.append("compacted")


class FakeLink:
    def __init__(self) -> None:
        self.modes: list[str] = []
        self.delay = 0.0
        self.mutes = 0

    @property
    def mode(self) -> str:
        return self.modes[-1]

    @mode.setter
    def mode(self, mode: str) -> None:
        self.modes.append(mode)

    def mute(self) -> None:
        self.mutes += 1


def test_the_weather_tries_everything_and_leaves_calm_behind() -> None:
    async def main() -> tuple[FakeLink, FakeServer, list[Counter[str]]]:
        link, server, seen = FakeLink(), FakeServer(), list[Counter[str]]()
        load, _ = await load_on(1, 1.0)
        for number in range(20):
            weather = RealWeather(cast("Any", link), cast("Any", server), load._client, Randomness(number))
            raging = asyncio.create_task(weather.rage())
            await asyncio.sleep(100.0 + number)
            await cancelled(raging)
            # Whatever was going on has come to its end.
            assert link.mode == "pass"
            assert link.delay == 0.0
            seen.append(weather.injected)
        return link, server, seen

    link, server, seen = run_virtual(main)
    assert all(len(injected) == 12 for injected in seen)
    assert all(max(injected.values()) - min(injected.values()) <= 1 for injected in seen)
    assert link.mutes
    assert {"refuse", "freeze"} < set(link.modes)
    assert {"restarted", "killed", "errors", "late_errors", "throttled", "compacted", "well"} == set(server.told)


class FakeProcess:
    """Answers for five seconds, and then is gone."""

    last_line = "out of memory"
    condition: dict[str, Any]

    def __init__(self) -> None:
        self.condition = {}
        self._end = asyncio.get_running_loop().time() + 5.0

    @property
    def running(self) -> bool:
        return asyncio.get_running_loop().time() < self._end

    async def sample(self, at: float, *, count: bool = False) -> Sample | None:
        return None


def test_an_operator_that_ends_is_a_violation_and_ends_the_part() -> None:
    async def main() -> tuple[list[str], float]:
        load = SimpleNamespace(made=0, refused=0)
        plan = RealPlan(minutes=15.0)
        run = _Run(plan, cast("Process", FakeProcess()), cast("Any", load), cast("Any", None), lambda _: None)
        await run.go()
        return run.part.violations, asyncio.get_running_loop().time()

    violations, now = run_virtual(main)
    assert violations == ["real: the operator has ended: out of memory"]
    assert now < 10.0


@pytest.mark.e2e
async def test_the_real_part_once() -> None:
    """Too short for figures: it ends, measures, and finds cache and server equal."""
    lines: list[str] = []
    part = await run_real(RealPlan(minutes=0.1, objects=10, rate=20.0, limit=60.0, quiet=0.5), lines.append)
    # Connections are not closed in so short a rest: their number may differ.
    assert [said for said in part.violations if "connections leak" not in said and "tasks leak" not in said] == []
    assert part.changes > 0
    assert part.reconciles > 0
    assert part.faults.total() > 0
    assert part.samples[0].memory_mb > 10
    assert part.memory is not None
    assert part.rest_after is not None
    assert part.rest_after.connections > 0
