"""Part ``growth``: time and memory of a cold sync, by number of objects; the plots of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._peers import KOPF

if TYPE_CHECKING:
    from benchmarks._bench import Bench

_REPEATED_UP_TO = 10_000


async def growth(bench: Bench) -> None:
    """Fill the server further and further, without statuses, and let each side sync; the largest numbers once."""
    await bench.drive("--wipe")
    present = 0
    per_object = 0.003  # seconds of seeding, until they have been measured
    for n in sorted(bench.plan.points):
        rounds = bench.plan.rounds if n <= _REPEATED_UP_TO else 1
        sides = [side for side in bench.sides.present if side.name != KOPF]
        # A sync takes some half a millisecond of everybody's time an object, and as much again when both cores are busy.
        if not bench.enough_for(f"sync of {n:,}", (n - present) * per_object + n * 0.001 * rounds * len(sides)):
            return
        seconds = await bench.drive("--seed", str(n), "--first", str(present), "--bare")
        per_object = max(seconds / (n - present), 0.0005)
        bench.remark(f"growth: {n - present:,} more objects, without a status, took {seconds:.0f} s to create")
        present = n
        for number in range(rounds):
            for side in bench.sides.of("sync", number):
                await bench.measure("growth", "sync", side, n, number)
