"""Parts ``sync`` (with ``noop``) and ``status``: the same workload for everybody, alternating, on one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks._bench import Bench


async def noop_and_sync(bench: Bench) -> None:
    """Fill the server once, then let each side fill its cache, and reconcile all without a change."""
    n = bench.plan.n
    await bench.drive("--wipe")
    seconds = await bench.drive("--seed", str(n))
    bench.remark(f"seeding {n:,} objects, with a status each, took {seconds:.0f} s")
    for number in range(bench.plan.rounds):
        for mode in ("sync", "noop"):
            for side in bench.sides.of(mode, number):
                await bench.measure(mode, mode, side, n, number)


async def status(bench: Bench) -> None:
    """Change all objects, then let a side report the generation that it has seen; for each side anew."""
    n = bench.plan.n_status
    await bench.drive("--wipe")
    await bench.drive("--seed", str(n))
    for number in range(bench.plan.rounds):
        for side in bench.sides.of("status", number):
            await bench.drive("--bump", str(n))
            await bench.measure("status", "status", side, n, number)
