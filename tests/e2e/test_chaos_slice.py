"""A slice of ``make chaos``: few faults, with real processes, judged as the whole is."""

from __future__ import annotations

import asyncio

import pytest

from chaos._run import Plan, run_faults
from chaos._stage import open_stage
from pyoperator.testing.lab import Project, Scale
from tests.e2e.support import PROJECT

pytestmark = pytest.mark.e2e

SLICE = ("sigterm", "sigstop", "holder-empty")


async def test_nothing_is_lost_duplicated_or_foreign_among_faults() -> None:
    lines: list[str] = []
    async with asyncio.timeout(240):
        async with open_stage(Project.read(PROJECT), Scale(3, 4, 3.0, 2.0, 0.5), databases=4, rate=40.0) as stage:
            run = await run_faults(stage, Plan(seed=1, only=SLICE, times=1), 3, lines.append)
    told = "\n".join(lines)
    assert run.violations == [], told
    assert sorted(act.name for act in run.acts) == sorted([*SLICE, "settle"]), told
    assert run.reconciled == run.expected == 4
    # The faults were faults: the leader changed each time, once in silence, and the operator worked all along.
    assert {"released", "expired", "edited"} <= {term.how for term in run.terms}, told
    assert sum(run.writes) > 0
    assert sum(run.changes) > 0
