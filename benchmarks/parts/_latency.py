"""Part ``latency``: from the creation of an object to its reconcile, while objects are created at a steady rate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks._bench import Bench
    from benchmarks._peers import Side

_ROUNDS = 2


async def latency(bench: Bench) -> None:
    """Let each side watch an empty store in turn, and create objects beside it."""
    for number in range(min(_ROUNDS, bench.plan.rounds)):
        for side in bench.sides.of("latency", number):
            await bench.drive("--wipe")
            await _one(bench, side, number)
    await bench.drive("--wipe")


async def _one(bench: Bench, side: Side, number: int) -> None:
    plan = bench.plan
    measured = asyncio.create_task(bench.measure("latency", "latency", side, plan.n_latency, number))
    try:
        # The watch must be up before the first creation; no side says when.
        await asyncio.wait([measured], timeout=plan.settle)
        if not measured.done():
            await bench.drive("--churn", str(plan.n_latency), f"{plan.rate:g}")
        await measured
    finally:
        measured.cancel()
        await asyncio.gather(measured, return_exceptions=True)
