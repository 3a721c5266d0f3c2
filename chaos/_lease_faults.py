"""What somebody with kubectl can do to the Lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chaos._fault_parts import find_leader
from chaos._stage import LEASE

if TYPE_CHECKING:
    from random import Random

    from chaos._stage import Stage


async def lease_deleted(stage: Stage, _random: Random) -> str:
    await find_leader(stage)
    await stage.client.delete(LEASE, stage.lease_key)
    await asyncio.sleep(stage.scale.lease_duration)
    return "the Lease deleted"


async def holder_unknown(stage: Stage, _random: Random) -> str:
    await find_leader(stage)
    await stage.edit_lease(holderIdentity="nobody knows \u2603 _", renewTime="2001-01-01T00:00:00.000000Z")
    await asyncio.sleep(stage.scale.lease_duration)
    return "a holder written that does not exist"


async def holder_a_follower(stage: Stage, random: Random) -> str:
    """Write a follower's pod into the Lease, under another process's identity."""
    leader = await find_leader(stage)
    other = random.choice([member for member in stage.fleet.running if member is not leader])
    await stage.edit_lease(holderIdentity=f"{other.name}_00000000-0000-0000-0000-000000000000")
    await asyncio.sleep(stage.scale.lease_duration)
    return f"{other.name} written as the holder, which it is not"


async def holder_empty(stage: Stage, _random: Random) -> str:
    await find_leader(stage)
    await stage.edit_lease(holderIdentity="")
    await asyncio.sleep(1.0)
    return "no holder written"


async def renewed_in_the_past(stage: Stage, _random: Random) -> str:
    await find_leader(stage)
    await stage.edit_lease(renewTime="1999-12-31T23:59:59.000000Z", acquireTime="1999-12-31T23:59:59.000000Z")
    await asyncio.sleep(stage.scale.renew_deadline)
    return "times in 1999 written"


async def renewed_in_the_future(stage: Stage, _random: Random) -> str:
    await find_leader(stage)
    await stage.edit_lease(renewTime="2099-12-31T23:59:59.000000Z")
    await asyncio.sleep(stage.scale.renew_deadline)
    return "times in 2099 written"


async def lease_nonsense(stage: Stage, _random: Random) -> str:
    await find_leader(stage)
    await stage.edit_lease(leaseDurationSeconds=1, leaseTransitions=1_000_000, acquireTime=None, renewTime=None)
    await asyncio.sleep(stage.scale.renew_deadline)
    return "a duration of 1 s, a million transitions and no times written"
