"""How large a replica must be: memory and CPU of leader and standby of the postgres-operator, by number of objects.

Everything is a process of its own: the embedded API server with simulated workloads, two replicas that elect a leader,
and this driver. Figures are the kernel's (``/proc``), probes and metrics are read over HTTP as a kubelet does.
"""

from __future__ import annotations

import asyncio
import math
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._processes import BenchmarkError
from benchmarks._sizing_fleet import copy_fleet, define, fill, stand_in, until_ready
from benchmarks._sizing_records import Fleet, Limited, picture, table
from benchmarks._sizing_stage import leads, open_stage, quota, through

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks._sizing_stage import Replica, Stage

_CREATE_PATIENCE = 1500.0
_START_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. Seconds; ``limits`` are CPU quotas in millicores, ``patience`` bounds each step under one."""

    objects: tuple[int, ...] = (10, 100, 1000, 10_000)
    limits: tuple[int, ...] = (100, 500)
    idle: float = 30.0
    quiet: float = 3.0
    patience: float = 120.0
    copy_above: int = 1000
    flags: tuple[str, ...] = ()


async def measure(n: int, plan: Plan, tell: Callable[[str], Any]) -> tuple[Fleet, list[Limited]]:
    """Measure with ``n`` objects, on a server of their own."""
    with tempfile.TemporaryDirectory(prefix="pyoperator-sizing-") as folder:
        data = Path(folder) / "data"
        if n > plan.copy_above:
            await _make_copies(n, plan, data)
            tell(f"n={n}: copied")
            return await _measure(n, plan, tell, data)
        return await _measure(n, plan, tell, None)


async def _make_copies(n: int, plan: Plan, data: Path) -> None:
    """Let the operator make one database, then copy it."""
    async with open_stage(data, flags=plan.flags, quiet=plan.quiet) as stage:
        client = stage.client()
        try:
            await define(client)
            leader = await stage.replica()
            await _in_time(stage.until(leader, leads, _START_PATIENCE), "no replica became leader")
            await fill(client, 1)
            await _through_or_raise(stage, leader, 1)
            await stage.settle(leader, patience=_START_PATIENCE)
            await stand_in(client, 1)
            await until_ready(client, 1, _START_PATIENCE)
            await stage.settle(leader, patience=_START_PATIENCE)
        finally:
            await client.transport.aclose()
    await asyncio.to_thread(copy_fleet, data, n)


async def _measure(n: int, plan: Plan, tell: Callable[[str], Any], data: Path | None) -> tuple[Fleet, list[Limited]]:
    async with open_stage(data, flags=plan.flags, quiet=plan.quiet) as stage:
        client = stage.client()
        try:
            if data is None:
                await define(client)
            leader = await stage.replica()
            await _in_time(stage.until(leader, leads, _START_PATIENCE), "no replica became leader")
            standby = await stage.replica()
            await _in_time(stage.answers(standby, "/readyz", _START_PATIENCE), "the standby did not become ready")
            before = leader.cpu(), standby.cpu()
            begun = time.perf_counter()
            if data is None:
                await fill(client, n)
            await _through_or_raise(stage, leader, n)
            await until_ready(client, n, _CREATE_PATIENCE)
            settled = await stage.settle(leader, standby, patience=_CREATE_PATIENCE)
        finally:
            await client.transport.aclose()
        tell(f"n={n}: settled after {settled - begun:.1f} s")
        idle = leader.cpu(), standby.cpu()
        memory = [one.memory(name) for one in (leader, standby) for name in ("VmRSS", "VmHWM")]
        await asyncio.sleep(plan.idle)
        rest = leader.cpu() - idle[0], standby.cpu() - idle[1]
        hand_over, term, term_cpu = await _hand_over(stage, leader, standby, n, _CREATE_PATIENCE)
        tell(f"n={n}: a new term of {term:.1f} s")
        fresh = await stage.replica()
        ready = await stage.answers(fresh, "/readyz", _START_PATIENCE)
        made = data is None
        fleet = Fleet(
            n=n,
            created_s=settled - begun if made else math.nan,
            leader_ms=(idle[0] - before[0]) * 1000 / n if made else math.nan,
            standby_ms=(idle[1] - before[1]) * 1000 / n if made else math.nan,
            leader_cpu_s=idle[0],
            standby_cpu_s=idle[1],
            leader_rss_mb=memory[0],
            leader_peak_mb=memory[1],
            standby_rss_mb=memory[2],
            standby_peak_mb=memory[3],
            leader_idle=rest[0] / plan.idle * 100,
            standby_idle=rest[1] / plan.idle * 100,
            hand_over_s=hand_over,
            term_s=term,
            term_cpu_s=term_cpu,
            term_peak_mb=standby.memory("VmHWM"),
            start_s=ready,
            start_cpu_s=fresh.cpu(),
            start_peak_mb=fresh.memory("VmHWM"),
        )
        tell(fleet.text())
        await stage.stop(fresh)
        limited: list[Limited] = []
        now = standby
        for millicores in plan.limits:
            with quota(millicores) as group:
                if group is None:
                    tell(f"n={n}: no control group can be made here: nothing is measured under a CPU limit")
                    break
                measured, successor = await _under_limit(stage, now, n, millicores, group, plan.patience)
                tell(measured.text())
                limited.append(measured)
                # The next one takes over from a leader that is not throttled.
                await stage.stop(successor)
                now = await stage.replica()
                await _in_time(stage.until(now, leads, _START_PATIENCE), "no replica became leader")
                await stage.until(now, through(n), _CREATE_PATIENCE)
        return fleet, limited


async def _in_time(step: Awaitable[float], otherwise: str) -> None:
    if (seconds := await step) != seconds:
        raise BenchmarkError(f"{otherwise} within {_START_PATIENCE:.0f} s")


async def _through_or_raise(stage: Stage, leader: Replica, n: int) -> None:
    """Wait, without asking too often, until the leader has seen all."""
    deadline = time.perf_counter() + _CREATE_PATIENCE
    while not through(n)(await stage.values(leader)):
        if time.perf_counter() > deadline:
            raise BenchmarkError(
                f"{n} objects were not reconciled within {_CREATE_PATIENCE:.0f} s: take fewer --objects"
            )
        await asyncio.sleep(1.0)


async def _hand_over(
    stage: Stage, leader: Replica, standby: Replica, n: int, patience: float
) -> tuple[float, float, float]:
    """Stop the leader by SIGTERM; return seconds to the new term, seconds of it until idle, and its CPU seconds."""
    before = standby.cpu()
    leader.process.send_signal(signal.SIGTERM)
    elected = await stage.until(standby, leads, 60)
    term = await stage.until(standby, through(n), patience)
    cpu = standby.cpu() - before
    await stage.stop(leader)
    return elected, term, cpu


async def _under_limit(
    stage: Stage, leader: Replica, n: int, millicores: int, group: Path, patience: float
) -> tuple[Limited, Replica]:
    replica = await stage.replica(group)
    alive = await stage.answers(replica, "/healthz", patience)
    ready = await stage.answers(replica, "/readyz", patience)
    at_start, replica.slowest_probe = replica.slowest_probe, 0.0
    probing = asyncio.create_task(_probe(stage, replica))
    try:
        _, term, _ = await _hand_over(stage, leader, replica, n, patience)
    finally:
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    kept = leads(await stage.values(replica))
    measured = Limited(
        n=n,
        millicores=millicores,
        healthz_s=alive,
        readyz_s=ready,
        start_probe_s=at_start,
        busy_probe_s=replica.slowest_probe,
        term_s=term,
        kept_lease=kept,
        peak_mb=replica.memory("VmHWM"),
    )
    return measured, replica


async def _probe(stage: Stage, replica: Replica) -> None:
    """Ask for the liveness probe, once a second."""
    while True:
        await stage.answers(replica, "/healthz", math.inf)
        await asyncio.sleep(1.0)


async def sizing(plan: Plan, tell: Callable[[str], Any], plot: Path | None = None) -> str:
    """Measure all of ``plan`` and return the tables; ``tell`` hears each record as it is made."""
    fleets: list[Fleet] = []
    limited: list[Limited] = []
    for n in plan.objects:
        fleet, under = await measure(n, plan, tell)
        fleets.append(fleet)
        limited += under
    if plot is not None:
        await asyncio.to_thread(plot.write_text, picture(fleets), "utf-8")
    return "\n\n".join(table(records) for records in (fleets, limited) if records)
