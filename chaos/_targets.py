"""The promised figures, measured without faults in between: hand-overs, crashes, rolls, and what a standby costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks._measurement import cpu_seconds, memory_megabytes
from chaos._fleet import cached_bytes
from chaos._result import Targets
from chaos._stage import alongside

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos._stage import Stage

_START_WITHIN = 60.0
_IDLE = 20.0
_ROLL_WITHIN = 120.0
_QUIET = 3.0
_KUBELETS_PROBES = 10.0
"""Seconds, as in config/manager: to probe as often as we do elsewhere costs a standby more than all else."""


async def measure(
    stage: Stage, *, hand_overs: int, crashes: int, rolls: int, replicas: int, tell: Callable[[str], None]
) -> Targets:
    """Measure all targets on a fresh stage; the audit log decides, as everywhere."""
    scale = stage.scale
    began = stage.now
    targets = Targets(
        (scale.lease_duration, scale.renew_deadline, scale.retry_period), stage.load.rate, stage.load.count
    )
    await stage.fleet.scale(replicas)
    await stage.well(_START_WITHIN)
    await stage.settle()
    await _standbys(stage, targets)
    tell(
        f"standbys: {targets.standby_mib} MiB, of it cached {targets.standby_cache_mib}, {targets.standby_cpu} % of a core at rest"
    )
    stage.load.paused = False
    windows: list[tuple[float, float]] = []

    async def under_load() -> None:
        await _hand_overs(stage, hand_overs, tell)
        await _crashes(stage, crashes, tell)
        for number in range(rolls):
            start = stage.now
            stage.fleet.failed_probes.clear()
            done = await stage.fleet.roll(_ROLL_WITHIN)
            await stage.well(_START_WITHIN)
            windows.append((start, stage.now))
            targets.failed_probes += [
                f"{probe.replica} {probe.path}: {probe.answer}" for probe in stage.fleet.failed_probes
            ]
            if not done:
                targets.failed_probes.append(f"roll {number + 1} did not end within {_ROLL_WITHIN:.0f} s")
            tell(f"roll {number + 1}/{rolls}: {stage.now - start:.1f} s")

    await alongside(stage, under_load())
    await stage.settle()
    targets.probes = stage.fleet.probes
    await stage.fleet.stop()
    verdict = await stage.judge()
    terms = verdict.tenures
    inside = [one for one in terms if any(start <= one.end <= end for start, end in windows)]
    targets.roll_hand_overs = [sum(start <= one.end <= end for one in inside) for start, end in windows]
    targets.roll_gap_ms = [1000 * one.leaderless for one in inside if one.leaderless is not None]
    first_roll = windows[0][0] if windows else stage.now
    targets.gap_ms = [
        1000 * one.leaderless
        for one in terms
        if one.how == "released" and one.leaderless is not None and one.end < first_roll
    ]
    targets.first_write_ms = list(verdict.first_write_ms)
    targets.sigterm_ms = [value for label, value in verdict.sigterm_ms.items() if not _was_rolled(stage, label)]
    targets.crash_after_renewal_s = [
        one.leaderless for one in terms if one.how == "expired" and one.leaderless is not None
    ]
    targets.foreign = len(verdict.foreign_writes)
    targets.seconds = stage.now - began
    return targets


def _was_rolled(stage: Stage, label: str) -> bool:
    return any(member.rolling for member in stage.fleet.members if member.name == label)


async def _hand_overs(stage: Stage, count: int, tell: Callable[[str], None]) -> None:
    """End the leader with SIGTERM, over and over; all replicas are there and the new one at rest when the next ends."""
    for number in range(count):
        await stage.until(lambda: len(stage.fleet.ready) >= stage.fleet.wanted, _START_WITHIN)
        leader = await stage.wait_leader()
        if leader is not None:
            leader.terminate()
            await stage.wait_leader(leader)
            await leader.gone.wait()
        if (number + 1) % 10 == 0:
            tell(f"hand-over {number + 1}/{count}")


async def _crashes(stage: Stage, count: int, tell: Callable[[str], None]) -> None:
    for _ in range(count):
        await stage.well(_START_WITHIN)
        leader = await stage.wait_leader()
        if leader is not None:
            leader.kill()
            await stage.wait_leader(leader)
    await stage.well(_START_WITHIN)
    tell(f"{count} crashes")


async def _standbys(stage: Stage, targets: Targets) -> None:
    """Look at memory and CPU of those that do not lead, while nothing happens."""
    standbys = [member for member in stage.fleet.running if member is not stage.leader()]
    stage.fleet.probe_every, often = _KUBELETS_PROBES, stage.fleet.probe_every
    await asyncio.sleep(_QUIET)
    before = [cpu_seconds(member.process.pid) for member in standbys]
    start = stage.now
    await asyncio.sleep(_IDLE)
    passed = stage.now - start
    stage.fleet.probe_every = often
    targets.standby_mib = [round(memory_megabytes("VmRSS", member.process.pid), 1) for member in standbys]
    targets.standby_cache_mib = [round(await cached_bytes(member.ports[0].address) / 2**20, 2) for member in standbys]
    targets.standby_cpu = [
        round(100 * (cpu_seconds(member.process.pid) - spent) / passed, 2)
        for member, spent in zip(standbys, before, strict=True)
    ]
