"""What is done to the API server, and to the ways that lead there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chaos._fault_parts import FaultFailed, find_leader, taken_over
from chaos._process_faults import sigterm

if TYPE_CHECKING:
    from random import Random

    from chaos._fleet import Member
    from chaos._links import Link, Mode
    from chaos._stage import Stage


async def server_down(stage: Stage, random: Random) -> str:
    """Kill the server and start it again before anybody loses the Lease."""
    return await _restart(stage, crash=True, pause=random.uniform(0.1, 0.5))


async def server_down_long(stage: Stage, random: Random) -> str:
    """Kill the server for longer than a Lease lasts."""
    return await _restart(stage, crash=True, pause=stage.scale.lease_duration + random.uniform(1.0, 3.0))


async def server_restarted(stage: Stage, _random: Random) -> str:
    return await _restart(stage, crash=False, pause=0.0)


async def server_slow(stage: Stage, random: Random) -> str:
    delay = random.uniform(0.05, 0.2)
    for link in _links(stage):
        link.delay = delay
    try:
        await asyncio.sleep(5.0)
    finally:
        for link in _links(stage):
            link.delay = 0.0
    return f"every packet {1000 * delay:.0f} ms late, for 5 s"


async def unreachable(stage: Stage, random: Random) -> str:
    """Refuse all connections to the server, of all replicas, for longer than a Lease lasts."""
    return await _for_all(stage, "refuse", stage.scale.lease_duration + random.uniform(0.5, 2.0))


async def partition(stage: Stage, random: Random) -> str:
    """Cut the leader off: what it sends waits in the net, and so does what it is sent."""
    leader = await find_leader(stage)
    link = _link(leader)
    leader.meddled = True
    link.mode = "freeze"
    try:
        told = await taken_over(stage, leader)
        await asyncio.sleep(random.uniform(0.0, 1.0))
    finally:
        link.mode = "pass"
    return told


async def partition_of_all(stage: Stage, random: Random) -> str:
    return await _for_all(stage, "freeze", stage.scale.lease_duration + random.uniform(0.5, 2.0))


async def half_open(stage: Stage, _random: Random) -> str:
    """Let the leader's connections go silent; new ones work."""
    leader = await find_leader(stage)
    leader.meddled = True
    link = _link(leader)
    count = link.connections
    link.mute()
    await asyncio.sleep(stage.scale.lease_duration + 1.0)
    return f"{count} connections of the leader silent; {'it went on' if leader is stage.leader() else 'another leads'}"


async def watches_dead(stage: Stage, random: Random) -> str:
    """Let all connections of all replicas go silent, watches among them; then end the leader.

    A standby whose watch is dead leads with an old cache until it notices: what it writes from it must lose.
    """
    count = sum(link.connections for link in _links(stage))
    for link in _links(stage):
        link.mute()
    await asyncio.sleep(1.0)
    await sigterm(stage, random)
    return f"{count} connections silent, SIGTERM to the leader"


async def server_errors(stage: Stage, _random: Random) -> str:
    await _failing(stage, 5.0, errors=0.4, late_errors=0.2)
    return "four of ten requests fail, two of ten after they were carried out, for 5 s"


async def server_errors_only(stage: Stage, _random: Random) -> str:
    await _failing(stage, stage.scale.lease_duration + 2.0, errors=1.0)
    return "every request fails, for longer than a Lease lasts"


async def throttled(stage: Stage, _random: Random) -> str:
    await _failing(stage, 5.0, throttled=0.7)
    return "seven of ten requests are answered with 429, for 5 s"


async def history_gone(stage: Stage, _random: Random) -> str:
    """Compact and end all watches, ten times: whoever comes back is too late (410) and lists anew."""
    for _ in range(10):
        await stage.embedded.compact()
        await asyncio.sleep(0.3)
    return "history compacted and all watches ended, 10 times in 3 s"


async def _restart(stage: Stage, *, crash: bool, pause: float) -> str:
    await stage.server.restart(crash=crash, pause=pause)
    return f"{'killed' if crash else 'restarted'}, back after {pause:.1f} s"


async def _for_all(stage: Stage, mode: Mode, seconds: float) -> str:
    links = _links(stage)
    for link in links:
        link.mode = mode
    try:
        await asyncio.sleep(seconds)
    finally:
        for link in links:
            link.mode = "pass"
    return f"for {seconds:.1f} s"


async def _failing(stage: Stage, seconds: float, **faults: float) -> None:
    await stage.embedded.fail(**faults)
    try:
        await asyncio.sleep(seconds)
    finally:
        await stage.embedded.fail()


def _links(stage: Stage) -> list[Link]:
    for member in stage.fleet.running:
        member.meddled = True
    return [_link(member) for member in stage.fleet.running]


def _link(member: Member) -> Link:
    if member.link is None:
        raise FaultFailed(f"{member.name} has no link that could be cut")
    return member.link
