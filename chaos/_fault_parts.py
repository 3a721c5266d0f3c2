"""What most faults begin and end with: a leader that can be lost, and another one after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos._fleet import Member
    from chaos._stage import Stage

RECOVER = 60.0
"""Seconds until all must be well again, unless a fault says otherwise."""


class FaultFailed(Exception):
    """The fault itself could not be made, or nobody took over in time."""


async def find_leader(stage: Stage) -> Member:
    leader = await stage.wait_leader()
    if leader is None:
        raise FaultFailed(f"nobody led within {stage.took_over_within:.0f} s before the fault")
    # Another one must be there to take over; who starts up is not.
    await stage.until(lambda: len(stage.fleet.ready) >= 2, RECOVER)
    return stage.leader() or leader


async def taken_over(stage: Stage, former: Member) -> str:
    leader = await stage.wait_leader(former)
    if leader is None:
        raise FaultFailed(f"nobody took over from {former.name} within {stage.took_over_within:.0f} s")
    return f"{former.name}, then {leader.name}"
