"""RESULTS.md: the targets, what was missed, the plots, the medians, every run; and the plots beside the results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks._memory_gate import RECORDED
from benchmarks._results import FOLDER, Results
from benchmarks.report import _tables
from benchmarks.report._plots import plots

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._results import Run

_HEAD = """\
<!-- Written by `python -m benchmarks --report` from benchmarks/results and benchmarks/notes: change those. -->

# Results

One workload, everybody's program on the same API server, one after the other in alternating order: a custom resource of
2.8 KB of JSON (20 parameters, 5 users, 4 conditions, managed fields), {server}. Wall times there are the server's as much
as the programs'; CPU seconds and memory are steadier. `load` in the lines below is the machine's load average of that minute:
two cores are busy at 2. Ratios are of medians; a target shows the run in the middle of all that were recorded of this version, and
in brackets the range of all, for a machine has its hours and no run stands alone. No test passes or fails by any of this; the [memory gate](#memory-gate) judges by memory.
"""
_AGAIN = """\
    make bench                                        # all of it: the figures of this page anew, then this page
    make bench BENCH_FLAGS="--parts sync,noop --rounds 1"    # some of it; the page keeps the newest of each part
    python -m benchmarks --report                     # this page from the figures that there are
    python -m benchmarks --short -n 300               # half a minute, on the embedded server
    python -m benchmarks --memory-gate                # --record: take today's peak as the one to hold
    python -m benchmarks --mode sync -n 10000         # one mode, one line, on the server of $KUBECONFIG

`make bench` measures on the server of `$KUBECONFIG` (whose `Database` objects of the group `bench.example.com` are deleted), or
starts one with the program that `$REAL_APISERVER` names (`up PORT DIR` prints a kubeconfig, `down DIR` stops it), at
`$REAL_APISERVER_PORT`; it is also found next to the repository. Without either it makes the short run. The peers' programs are
looked for next to the repository, too (`--peers`); who is not at hand is left out, and said so. kopf needs `python -m benchmarks
--install-kopf` once, or `KOPF_PYTHON`; kube-rs a build of its own, or `KUBE_RS_BENCH`.
"""


def write_report(results: Path = FOLDER) -> list[Path]:
    """Write RESULTS.md beside the folder of the results, and the plots into it; return what was written.

    Hand-written sections are those of the folder ``notes`` beside it. Raises ValueError for a damaged results file.
    """
    document, notes, recorded = results.parent / "RESULTS.md", results.parent / "notes", results / RECORDED
    found = Results.load(results)
    written = []
    pictures = plots(found)
    for name, (_, svg) in pictures.items():
        path = results / f"{name}.svg"
        path.write_text(svg, "utf-8")
        written.append(path)
    images = "\n\n".join(f"![{title}]({results.name}/{name}.svg)" for name, (title, _) in pictures.items())
    gate = json.loads(recorded.read_text("utf-8")) if recorded.exists() else {}
    sections = [
        ("Targets", _tables.targets(found)),
        ("What was missed, and what was tried", _note(notes, "misses")),
        ("Plots", images),
        ("Side by side", _side_by_side(found)),
        ("Growth", _tables.growth(found)),
        ("Soak", _note(notes, "soak")),
        ("Memory gate", _gate(gate)),
        ("Single steps", _steps(found)),
        ("Compression of the cached bodies", _note(notes, "compression")),
        ("Measuring again", _AGAIN),
        ("Runs", _tables.runs(_used(found))),
        ("Every line", _lines(found)),
    ]
    newest = next((run.head.get("server", "") for run in reversed(found.runs)), "")
    text = _HEAD.format(server=newest or "an API server on loopback")
    text += "".join(f"\n## {title}\n\n{body.strip()}\n" for title, body in sections if body.strip())
    document.write_text(text, "utf-8")
    return [document, *written]


def _note(notes: Path, name: str) -> str:
    path = notes / f"{name}.md"
    return path.read_text("utf-8") if path.exists() else ""


def _side_by_side(results: Results) -> str:
    medians = _tables.side_by_side(results)
    return f"Medians; in brackets a peer's as a multiple of ours.\n\n{medians}" if medians else ""


def _gate(recorded: dict[str, dict[str, str | float]]) -> str:
    text = (
        "A process caches 10,000 objects through 5,000 updates and a list anew, the embedded server being another one. "
        "Its peak may be 1.1 times the recorded figure of its interpreter at most."
    )
    rows = _tables.memory_gate(recorded)
    return f"{text}\n\n{rows}" if rows else ""


def _steps(results: Results) -> str:
    rows = _tables.steps(results)
    return f"Microseconds of process time, the best of some rounds, nothing on a network.\n\n{rows}" if rows else ""


def _used(results: Results) -> list[Run]:
    """Return the runs of which something is shown."""
    used = {run.name for part in results.parts() if (run := results.run_of(part)) is not None}
    return [run for run in results.runs if run.name in used]


def _lines(results: Results) -> str:
    """Return the lines as they were printed, by part, in order; then what was left out and how long things took."""
    texts = []
    for part in sorted(results.parts() - {"steps"}):
        run = results.run_of(part)
        if run is not None:
            measured = [one for one in run.measurements if one.part == part]
            lines = "\n".join(f"    {one.number + 1}  {one.line.text()}" for one in measured)
            texts.append(f"{part}, in run {run.name} (first the round):\n\n{lines}")
    texts += [
        f"Remarks of run {run.name}:\n\n" + "\n".join(f"- {text}" for text in run.remarks)
        for run in _used(results)
        if run.remarks
    ]
    return "\n\n".join(texts)
