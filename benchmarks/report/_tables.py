"""The tables of the report, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._peers import OURS
from benchmarks.report._targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks._results import Results, Run

_FIGURES = {
    "sync": ("wall_s", "cpu_s", "peak_mb", "rss_mb"),
    "noop": ("wall_s", "rate", "cpu_s", "peak_mb"),
    "status": ("wall_s", "rate", "cpu_s", "peak_mb"),
    "latency": ("p50_ms", "p90_ms", "p99_ms", "max_ms", "cpu_s"),
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def targets(results: Results) -> str:
    head = ("target", "bound", "pyoperator", "controller-runtime or other", "figure", "")
    return table(head, (target.row(results) for target in TARGETS))


def side_by_side(results: Results) -> str:
    """Return the medians of all who took part, by mode."""
    rows = []
    for part, figures in _FIGURES.items():
        for peer in results.peers(part):
            lines = results.lines(part, peer)
            cells = []
            for figure in figures:
                value = results.median(part, peer, figure)
                ours = results.median(part, OURS, figure)
                ratio = f" ({value / ours:.2f})" if peer != OURS and value and ours else ""
                cells.append("-" if value is None else f"{figure} {value:,.4g}{ratio}")
            cells += [""] * (5 - len(cells))
            rows.append(
                (f"{part}, {lines[0].number('n'):,.0f}", f"{peer}, {len(lines)} round{'s' * (len(lines) > 1)}", *cells)
            )
    return table(("mode, objects", "medians of", "", "", "", "", ""), rows) if rows else ""


def growth(results: Results) -> str:
    sizes = sorted({int(line.number("n")) for line in results.lines("growth")})
    rows = []
    for n in sizes:
        for peer in results.peers("growth"):
            values = [results.median("growth", peer, figure, n=n) for figure in _FIGURES["sync"]]
            if values[0] is not None:
                rounds = len(results.lines("growth", peer, n=n))
                rows.append((f"{n:,}", peer, str(rounds), *("-" if one is None else f"{one:,.4g}" for one in values)))
    return table(("objects", "", "rounds", "wall s", "CPU s", "peak MiB", "resident MiB"), rows) if rows else ""


def steps(results: Results) -> str:
    rows = ((line.values["step"], f"{line.number('us'):.2f}") for line in results.lines("steps"))
    return table(("step", "us"), rows) if results.lines("steps") else ""


def memory_gate(recorded: dict[str, dict[str, str | float]]) -> str:
    rows = ((name, f"{one['peak_mb']} MiB", str(one["python"]), str(one["recorded"])) for name, one in recorded.items())
    return table(("interpreter, machine, amounts", "recorded peak", "Python", "recorded"), rows) if recorded else ""


def runs(found: Iterable[Run]) -> str:
    """Return on what each run was made."""
    rows = []
    for run in found:
        machine = run.head.get("machine", {})
        about = ", ".join(machine.get(name, "") for name in ("processor", "kernel", "python", "memory"))
        versions = ", ".join(f"{peer} {version}" for peer, version in run.head.get("versions", {}).items())
        rows.append(
            (
                run.name,
                f"{about}, {machine.get('cores', '?')} cores, load {machine.get('load', '?')}",
                f"{run.head.get('server', '?')}; {versions}",
                ", ".join(sorted(run.parts())),
            )
        )
    return table(("run", "on", "with", "measured"), rows)
