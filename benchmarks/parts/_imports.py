"""Part ``imports``: what importing costs, beside the libraries that any such operator needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._measurement import Line
from benchmarks._processes import operator_python, output

if TYPE_CHECKING:
    from benchmarks._bench import Bench

LIBRARIES = "aiohttp, pydantic, structlog, msgspec"
STATEMENTS = {
    "libraries": f"import {LIBRARIES}",
    "pyoperator": "import pyoperator",
    # What the main.py of an operator names; the doors are lazy, so that the line above costs next to nothing.
    "operator": "from pyoperator import CustomResource, Manager, Reconciler, Request, Result, controller_for, run",
}
_PROGRAM = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{statement}
print(f"peer=pyoperator mode=import what={what} wall_ms={{(time.perf_counter() - wall) * 1000:.1f}}"
      f" cpu_ms={{(time.process_time() - cpu) * 1000:.1f}}")
"""


async def imports(bench: Bench) -> None:
    """Import in fresh processes, in turn; the start of the interpreter is not counted."""
    for number in range(-1, bench.plan.imports):
        for what, statement in STATEMENTS.items():
            program = _PROGRAM.format(statement=statement, what=what)
            printed = await output([operator_python(), "-c", program], bench.kubeconfig)
            line = Line.parse(printed)
            # The first of each fills the disk's cache, and compiles what has no bytecode yet.
            if line is not None and number >= 0:
                bench.record("imports", number, line)
