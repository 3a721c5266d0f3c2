"""pyoperator and client-go compete for one Lease on a real server: never two leaders, and each heeds the other."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.real.interop.duel import DURATION, Duel, build
from tests.real.interop.witnesses import Version, history_faults, interval_faults
from tests.real.server import KUBECONFIG, administrator, fresh_namespace, needs_real_server

if TYPE_CHECKING:
    from pathlib import Path

needs_go = pytest.mark.skipif(
    shutil.which("go") is None or "INTEROP" not in os.environ,
    reason="MISSING TOOL: Go and client-go's modules, to build the candidate that elects with it: set INTEROP=10 (the first "
    "build takes minutes)",
)


@pytest.mark.real_server
@needs_real_server
@needs_go
async def test_hand_overs_and_crashes_in_both_directions(tmp_path: Path) -> None:
    """A slice; ``python -m tests.real.interop`` does 200 hand-overs and five crashes of each side."""
    program = await build(tmp_path)
    async with administrator() as client:
        namespace = await fresh_namespace(client, "interop")
        result = await Duel(client, namespace, KUBECONFIG, program, tmp_path).run(hand_overs=10, crashes=1)
    assert not result.faults(), result.report()
    assert {side: len(gaps) for side, gaps in result.gaps.items()} == {"pyoperator": 5, "client-go": 5}
    assert all(gap >= DURATION for gaps in result.crash_gaps.values() for gap in gaps)
    # One tenure at first, and one more by each hand-over and crash; making the Lease is no change of holder.
    assert result.acquisitions == 1 + 10 + 2
    assert result.transitions == result.acquisitions - 1


HELD = Version("a", 4, 3, acquired=100.0, renewed=102.0, seen=0.0)
FREE = dataclasses.replace(HELD, holder="", duration=1, acquired=102.5, renewed=102.5)
TAKEN = dataclasses.replace(HELD, holder="b", transitions=5, acquired=105.0, renewed=105.0)


@pytest.mark.parametrize(
    ("versions", "fault"),
    [
        ([HELD, HELD, FREE, TAKEN], ""),
        ([HELD, TAKEN], ""),
        ([HELD, dataclasses.replace(TAKEN, acquired=104.9)], "before it had expired"),
        ([HELD, FREE, dataclasses.replace(TAKEN, transitions=4)], "leaseTransitions is wrong"),
        ([HELD, dataclasses.replace(FREE, transitions=5)], "leaseTransitions is wrong"),
        ([FREE, dataclasses.replace(HELD, transitions=4)], "leaseTransitions is wrong"),
    ],
)
def test_the_lease_s_history_is_judged(versions: list[Version], fault: str) -> None:
    faults = history_faults(versions)
    assert len(faults) == bool(fault)
    assert all(fault in found for found in faults)


def test_overlapping_leaders_are_found() -> None:
    assert not interval_faults([(20, 30, "b"), (0, 20, "a")])
    assert interval_faults([(20, 30, "b"), (0, 21, "a")]) == ["b began 0.000 ms before a had ended"]
