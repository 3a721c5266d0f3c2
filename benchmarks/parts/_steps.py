"""Part ``steps``: the micro-benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._measurement import Line
from benchmarks._micro import measure
from benchmarks._peers import OURS
from pyoperator.manager import configure_logging

if TYPE_CHECKING:
    from benchmarks._bench import Bench


async def steps(bench: Bench) -> None:
    """Measure single steps in this process."""
    configure_logging("warning")
    for cost in await measure():
        bench.record("steps", 0, Line({"peer": OURS, "step": cost.what, "us": f"{cost.microseconds:.3f}"}))
