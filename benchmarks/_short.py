"""The short run: the parts that need no peer, with few objects, as one table; nothing is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._plan import Plan
from benchmarks._processes import BenchmarkError
from benchmarks._results import Results, figures
from benchmarks._suite import whole_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._measurement import Line

PARTS = ("sync", "status", "latency", "elect", "steps")
_COLUMNS = ("wall_s", "cpu_s", "peak_mb", "rss_mb", "p50_ms", "p99_ms", "rate")
_MODES = ("sync", "noop", "status", "latency")


async def short_run(n: int, workers: int, parts: Sequence[str] = PARTS, *, settle: float = 3.0) -> Results:
    """Measure once, on the server of $KUBECONFIG or on an embedded one. Raises BenchmarkError if nothing came of it."""
    plan = Plan(n=n, n_status=n, n_latency=n, rounds=1, workers=workers, hand_overs=1, crashes=0, settle=settle)
    embedded = not os.environ.get("KUBECONFIG")
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pyoperator-benchmark-") as folder:
        await whole_run(plan, parts, folder=Path(folder), tell=told.append, embedded=embedded, alone=True)
        results = Results.load(Path(folder))
    missing = set(parts) - results.parts()
    if missing:
        raise BenchmarkError("\n".join([f"nothing was measured of {', '.join(sorted(missing))}", *told[-5:]]))
    return results


def table(results: Results) -> str:
    """Return a row for each mode, the time of a hand-over, and what the single steps cost."""
    rows = [f"{'mode':<10}{'n':>8}" + "".join(f"{name:>10}" for name in _COLUMNS)]
    rows += [_row(line) for mode in _MODES for line in results.lines(mode)]
    rows += [
        f"\nhand-over of the lease on SIGTERM: {line.number('sigterm_ms'):.0f} ms" for line in results.lines("elect")
    ]
    steps = results.lines("steps")
    if steps:
        rows.append("\nmicroseconds of CPU per step")
    rows += [f"  {line.values['step']:<60}{line.number('us'):>10.2f}" for line in steps]
    return "\n".join(rows)


def _row(line: Line) -> str:
    cells = "".join(f"{found[0]:>10.5g}" if (found := figures(line, name)) else f"{'-':>10}" for name in _COLUMNS)
    return f"{line.values['mode']:<10}{line.values['n']:>8}{cells}"
