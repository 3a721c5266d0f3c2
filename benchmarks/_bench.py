"""What all parts of a run share: the server, who takes part, how much is measured, where it is written, how long it may take."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks._processes import BenchmarkError, output, this_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks._measurement import Line
    from benchmarks._peers import Side, Sides
    from benchmarks._plan import Plan
    from benchmarks._results import Recorder


@dataclass(slots=True)
class Budget:
    """Seconds that a run may take: what would go beyond is left out, and said so."""

    seconds: float
    begun: float = field(default_factory=time.perf_counter)

    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.begun)


@dataclass(slots=True)
class Bench:
    """One run on one server."""

    kubeconfig: Path | str
    sides: Sides
    plan: Plan
    recorder: Recorder
    tell: Callable[[str], Any]
    budget: Budget

    async def drive(self, *arguments: str) -> float:
        """Let the load driver do something, in a process of its own; return the seconds it took."""
        begun = time.perf_counter()
        await output(this_program(*arguments), self.kubeconfig, timeout=3600)
        return time.perf_counter() - begun

    def record(self, part: str, number: int, line: Line) -> None:
        """Keep a line and show it, with the load of the machine in that minute: it says how far to trust wall times."""
        line.values["load"] = f"{os.getloadavg()[0]:.1f}"
        self.tell(f"{part} {number + 1}: {line.text()}")
        self.recorder.line(part, number, line)

    async def measure(self, part: str, mode: str, side: Side, n: int, number: int) -> None:
        """Run one mode of one side; a side that fails or takes too long is remarked, the others go on."""
        try:
            line = await side.run(mode, n, self.plan.workers, self.kubeconfig)
        except BenchmarkError as error:
            self.remark(f"{side.name}, {mode} of {n:,}: {str(error).splitlines()[0]}")
            return
        self.record(part, number, line)

    def remark(self, text: str) -> None:
        self.tell(f"-- {text}")
        self.recorder.remark(text)

    def enough_for(self, what: str, seconds: float) -> bool:
        """Whether the budget has so many seconds left; remarks what is left out if not."""
        if self.budget.left() > seconds:
            return True
        self.remark(
            f"{what}: left out, it needs some {seconds:.0f} s and {max(self.budget.left(), 0):.0f} s of --budget are left"
        )
        return False
