"""A few virtual hours of the soak: it passes, and it fails for each leak and loss that is put in on purpose."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from benchmarks._workload import Database, DatabaseStatus
from pyoperator.client import NotFound
from soak._operator import Observer
from soak._virtual import VirtualPlan, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.controller import Reconciler, Request
    from pyoperator.manager import Manager
    from soak._judge import Part

# Memory of so short a run, in a process that does other things, says nothing below this.
PLAN = VirtualPlan(hours=2.0, updates=400, objects=15, limit=60.0)


def run(reconciler: Callable[[Manager], Reconciler] = Observer, plan: VirtualPlan = PLAN) -> tuple[Part, list[str]]:
    lines: list[str] = []
    return run_virtual(plan, lines.append, reconciler=reconciler), lines


def test_hours_of_faults_leave_nothing_behind() -> None:
    part, lines = run()
    assert part.violations == []
    assert part.changes == PLAN.updates
    assert part.faults.total() > 10
    assert part.reconciles > PLAN.objects
    assert len(part.samples) == PLAN.rounds
    assert len([line for line in lines if line.startswith("hour ")]) == PLAN.rounds
    assert part.memory is not None
    assert part.rest_before == part.rest_after


def test_a_seed_repeats_itself() -> None:
    def figures() -> tuple[object, ...]:
        part, _ = run(plan=VirtualPlan(hours=0.5, updates=100, objects=5, limit=60.0))
        return part.reconciles, part.faults, [sample.at for sample in part.samples], part.rest_after

    assert figures() == figures()


class Hoarder(Observer):
    """Keeps something of every reconcile: a leak of Python objects."""

    kept: list[list[int]]

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self.kept = []

    async def reconcile(self, request: Request) -> None:
        self.kept.extend([number] for number in range(10_000))
        await super().reconcile(request)


class Starter(Observer):
    """Starts a task at some reconciles and forgets it."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self._tasks: list[asyncio.Task[bool]] = []

    async def reconcile(self, request: Request) -> None:
        if request.name.endswith("3"):
            self._tasks.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))
        await super().reconcile(request)


class Sleeper(Observer):
    """Never looks again at an object that it has seen at its second generation."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self._manager = manager

    async def reconcile(self, request: Request) -> None:
        try:
            database = await self._manager.client.get(Database, request)
        except NotFound:
            return
        if (database.status or DatabaseStatus()).observed_generation < 2:
            await super().reconcile(request)


def broken(text: str, reconciler: Callable[[Manager], Reconciler], limit: float = 60.0) -> None:
    part, _ = run(reconciler, VirtualPlan(hours=0.4, updates=150, objects=5, limit=limit))
    assert any(text in violation for violation in part.violations), (part.violations, part.samples)


def test_a_leak_of_memory_is_found() -> None:
    # Of all that the process has, other tests' leavings included.
    broken("Python objects grew by", Hoarder, limit=20.0)


def test_a_leak_of_tasks_is_found() -> None:
    broken("more Event.wait", Starter)


def test_a_lost_generation_is_found() -> None:
    broken("not reconciled at the last generation: db-0000", Sleeper)


def test_a_reconciler_that_is_a_bug_is_found() -> None:
    class Bug(Observer):
        async def reconcile(self, request: Request) -> None:
            await super().reconcile(request)
            raise KeyError(request.name)

    broken("errors of the operator's own", Bug)


@pytest.mark.parametrize(
    ("hours", "rounds", "warm_up", "window"), [(24.0, 24, 2, 3), (1.0, 4, 1, 1), (8.0, 8, 1, 3), (100.0, 100, 8, 3)]
)
def test_a_plan_has_rounds_of_about_an_hour(hours: float, rounds: int, warm_up: int, window: int) -> None:
    plan = VirtualPlan(hours=hours)
    assert (plan.rounds, plan.warm_up, plan.window) == (rounds, warm_up, window)
    assert plan.rounds * plan.round_seconds == pytest.approx(hours * 3600)
