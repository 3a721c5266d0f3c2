"""The short run: every mode on one API server, then the micro-benchmarks, as one table."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from benchmarks._measurement import Line
from benchmarks._micro import measure as measure_steps
from benchmarks._processes import BenchmarkError, end, output, stamped, start, this_program

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._micro import Cost

_CHURN_RATE = 100
_COLUMNS = ("wall_s", "cpu_s", "peak_mb", "rss_mb", "p50_ms", "p99_ms")


async def overview(kubeconfig: Path | str, n: int, workers: int) -> str:
    """Seed ``n`` objects, run all modes one after the other, and return the table."""
    await output(this_program("--wipe"), kubeconfig)
    await output(this_program("--seed", str(n)), kubeconfig)
    lines = [await run_mode(kubeconfig, "sync", n, workers), await run_mode(kubeconfig, "noop", n, workers)]
    await output(this_program("--bump", str(n)), kubeconfig)
    lines.append(await run_mode(kubeconfig, "status", n, workers))
    lines.append(await latency(kubeconfig, n, workers))
    hand_over = await hand_over_milliseconds(kubeconfig)
    return table(lines, hand_over, await measure_steps())


async def run_mode(kubeconfig: Path | str, mode: str, n: int, workers: int) -> Line:
    """Run one mode in a process of its own and return its line; churn beside it for ``latency``."""
    printed = await output(this_program("--mode", mode, "-n", str(n), "--workers", str(workers)), kubeconfig)
    line = Line.parse(printed)
    if line is None:
        raise BenchmarkError(f"mode {mode} printed no line: {printed!r}")
    return line


async def latency(kubeconfig: Path | str, n: int, workers: int) -> Line:
    """Measure creation to reconcile while objects are created at 100 a second."""
    async with asyncio.TaskGroup() as group:
        measured = group.create_task(run_mode(kubeconfig, "latency", n, workers))
        # The watch must be up before the first creation; the measured process needs about a second to start.
        await asyncio.sleep(2.0)
        group.create_task(output(this_program("--churn", str(n), str(_CHURN_RATE)), kubeconfig))
    return measured.result()


async def hand_over_milliseconds(kubeconfig: Path | str) -> float:
    """Start two managers with election, end the leader with SIGTERM, return how long until the other was elected."""
    command = this_program("--mode", "elect")
    leader = await start(command, kubeconfig)
    try:
        await stamped(leader, "elected")
        follower = await start(command, kubeconfig)
        try:
            await asyncio.sleep(4.0)  # a follower is ready to take over once it has seen the lease twice
            told = time.time_ns()
            leader.send_signal(signal.SIGTERM)
            elected = await stamped(follower, "elected")
        finally:
            await end(follower)
    finally:
        await end(leader)
    return (elected - told) / 1e6


def table(lines: list[Line], hand_over: float, steps: list[Cost]) -> str:
    rows = [f"{'mode':<10}{'n':>8}" + "".join(f"{name:>10}" for name in _COLUMNS) + f"{'rate/s':>10}"]
    for line in lines:
        wall, n = line.number("wall_s"), line.number("n")
        cells = "".join(f"{line.values.get(name, '-'):>10}" for name in _COLUMNS)
        rate = f"{n / wall:>10.0f}" if "wall_s" in line.values else f"{'-':>10}"
        rows.append(f"{line.values['mode']:<10}{line.values['n']:>8}{cells}{rate}")
    rows.append(f"\nhand-over of the lease on SIGTERM: {hand_over:.0f} ms")
    rows.append("\nmicroseconds of CPU per step")
    rows += [f"  {step.what:<48}{step.microseconds:>10.2f}" for step in steps]
    return "\n".join(rows)
