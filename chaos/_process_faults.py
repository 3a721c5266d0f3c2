"""What is done to processes: signals, stalls, wrong clocks, and starting them in other ways."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chaos import _stallable
from chaos._fault_parts import RECOVER, FaultFailed, find_leader, taken_over

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from random import Random

    from chaos._stage import Stage


async def sigkill(stage: Stage, _random: Random) -> str:
    leader = await find_leader(stage)
    leader.kill()
    return await taken_over(stage, leader)


async def sigterm(stage: Stage, _random: Random) -> str:
    leader = await find_leader(stage)
    leader.terminate()
    return await taken_over(stage, leader)


async def sigstop(stage: Stage, random: Random) -> str:
    """Stop the leader until another one has taken over, and a moment longer; then let it find out."""
    leader = await find_leader(stage)
    leader.freeze()
    try:
        told = await taken_over(stage, leader)
        await asyncio.sleep(random.uniform(0.0, 0.5))
    finally:
        leader.thaw()
    await stage.until(lambda: not leader.running, stage.took_over_within)
    return told


async def sigstop_short(stage: Stage, random: Random) -> str:
    """Stop the leader for less than it may be late: nothing must come of it."""
    leader = await find_leader(stage)
    slack = stage.scale.renew_deadline - stage.scale.retry_period
    leader.freeze()
    try:
        await asyncio.sleep(random.uniform(0.2, 0.6) * slack)
    finally:
        leader.thaw()
    return f"{leader.name} went on"


async def cold_start(stage: Stage, _random: Random) -> str:
    """End all at once, and start all at once."""
    members = stage.fleet.running
    for member in members:
        member.kill()
    for member in members:
        await member.gone.wait()
    return f"{stage.fleet.wanted} replicas killed at once, and started at once"


async def rolling_update(stage: Stage, _random: Random) -> str:
    if not await stage.fleet.roll(90.0):
        raise FaultFailed("the rolling update did not come to its end within 90 s")
    return "all replaced, one after the other"


async def five_replicas(stage: Stage, random: Random) -> str:
    """Five for a while: a crash and a stop among them."""
    before = stage.fleet.wanted
    await stage.fleet.scale(5)
    try:
        if not await stage.well(RECOVER):
            raise FaultFailed("five replicas were not ready in time")
        await sigkill(stage, random)
        await stage.well(RECOVER)
        await sigterm(stage, random)
        await stage.well(RECOVER)
    finally:
        await stage.fleet.scale(before)
    return "five replicas, SIGKILL and SIGTERM to their leaders"


async def blocked_loop(stage: Stage, random: Random) -> str:
    """Block the leader's event loop for half and for four times of what it may, with the GIL released and held."""
    stall = stage.server.kubeconfig.parent / f"stall-{stage.namespace}"
    stage.fleet.variables = {"CHAOS_STALL": str(stall)}
    async with _program(stage):
        told = []
        for number, word in ((signal.SIGUSR1, "GIL released"), (signal.SIGUSR2, "GIL held")):
            for times in (0.5, 4.0):
                leader = await find_leader(stage)
                seconds = times * stage.scale.renew_deadline
                stall.write_text(str(seconds), "ascii")
                leader.meddled = True
                leader.process.signal(number)
                await asyncio.sleep(seconds + random.uniform(0.0, 0.5))
                if not await stage.well(RECOVER):
                    raise FaultFailed(f"not well after a loop blocked for {seconds:g} s, {word}")
                told.append(f"{seconds:g} s {word}: {'ended' if not leader.running else 'went on'}")
    return "; ".join(told)


async def wrong_clocks(stage: Stage, random: Random) -> str:
    """One replica an hour ahead, one an hour behind; a crash and a stop among them."""
    stage.fleet.variables = {"CHAOS_WALL_OFFSET": "3600"}
    async with _program(stage, at_once=False):
        await _replace(stage, 0)
        stage.fleet.variables = {"CHAOS_WALL_OFFSET": "-3600"}
        await _replace(stage, 1)
        for act in (sigkill, sigterm, sigterm):
            await act(stage, random)
            await stage.well(RECOVER)
    return "wall clocks an hour ahead and behind"


@asynccontextmanager
async def _program(stage: Stage, *, at_once: bool = True) -> AsyncGenerator[None]:
    """Let replicas be of the program that can be stalled and has a wrong clock, at once by a rolling update."""
    before = stage.fleet.program
    stage.fleet.program = [sys.executable, str(Path(_stallable.__file__))]
    try:
        if at_once and not await stage.fleet.roll(90.0):
            raise FaultFailed("the replicas that can be stalled were not all ready within 90 s")
        yield
    finally:
        stage.fleet.program, stage.fleet.variables = before, {}


async def _replace(stage: Stage, slot: int) -> None:
    old = next((member for member in stage.fleet.running if member.slot == slot), None)
    new = await stage.fleet.start(slot)
    if old is not None:
        old.stopping = True
        old.terminate()
        await old.gone.wait()
    await stage.until(lambda: new.ready, RECOVER)
