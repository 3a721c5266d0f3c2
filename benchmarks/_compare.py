"""Beside controller-runtime: the same workload on one real API server, alternating, as ratios to the targets."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks._measurement import Line
from benchmarks._processes import BenchmarkError, output, this_program

if TYPE_CHECKING:
    from collections.abc import Sequence

PEERS = Path(__file__).parents[2] / "shared" / "tools" / "peers"
_CACHE = Path.home() / ".cache" / "pyoperator-benchmarks"


@dataclass(frozen=True, slots=True)
class Target:
    """The ratio to controller-runtime that a figure should reach; ``rate`` figures should be above it, costs below."""

    mode: str
    figure: str
    limit: float

    def ratio(self, ours: Sequence[Line], theirs: Sequence[Line]) -> float:
        return median(_figure(line, self.figure) for line in ours) / median(
            _figure(line, self.figure) for line in theirs
        )

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.figure == "rate" else ratio <= self.limit


TARGETS = (
    Target("sync", "cpu_s", 0.4),
    Target("sync", "wall_s", 0.7),
    Target("sync", "rss_mb", 0.85),
    Target("noop", "rate", 1.3),
    Target("status", "cpu_s", 0.7),
)


def _figure(line: Line, name: str) -> float:
    return line.number("n") / line.number("wall_s") if name == "rate" else line.number(name)


async def build_peer(peers: Path) -> Path:
    """Build controller-runtime's program into a cache of the user; raises BenchmarkError saying what is missing."""
    source = peers / "controller-runtime"
    if shutil.which("go") is None:
        raise BenchmarkError("--compare builds the peer with Go: install it, or put go into PATH")
    if not (source / "main.go").exists():
        raise BenchmarkError(f"--compare needs the peer's program, and {source} has none: give its folder with --peers")
    await asyncio.to_thread(_CACHE.mkdir, parents=True, exist_ok=True)
    binary = _CACHE / "controller-runtime"
    build = await asyncio.create_subprocess_exec("go", "build", "-o", str(binary), ".", cwd=source)
    if await build.wait():
        raise BenchmarkError("go build of the peer failed, see above")
    return binary


async def compare(peers: Path, *, n: int, n_status: int, rounds: int, workers: int) -> str:
    """Run sync, noop and status ``rounds`` times each, in alternating order; return lines, ratios and verdicts."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        raise BenchmarkError("--compare needs a real kube-apiserver: set KUBECONFIG to a cluster made for benchmarks")
    binary = await build_peer(peers)
    ours: dict[str, list[Line]] = {}
    theirs: dict[str, list[Line]] = {}
    await output(this_program("--wipe"), kubeconfig)
    await output(this_program("--seed", str(n)), kubeconfig, timeout=1800)
    for number in range(rounds):
        for mode in ("sync", "noop"):
            await _pair(mode, n, number, workers, binary, kubeconfig, ours, theirs)
    await output(this_program("--wipe"), kubeconfig)
    await output(this_program("--seed", str(n_status)), kubeconfig, timeout=1800)
    for number in range(rounds):
        await _pair("status", n_status, number, workers, binary, kubeconfig, ours, theirs)
    return _verdict(ours, theirs)


async def _pair(
    mode: str,
    n: int,
    number: int,
    workers: int,
    binary: Path,
    kubeconfig: str,
    ours: dict[str, list[Line]],
    theirs: dict[str, list[Line]],
) -> None:
    ours_first = (this_program("--mode", mode, "-n", str(n), "--workers", str(workers)), ours)
    peer = ([str(binary), "-mode", mode, "-n", str(n), "-workers", str(workers)], theirs)
    for command, lines in (ours_first, peer) if number % 2 == 0 else (peer, ours_first):
        if mode == "status":
            await output(this_program("--bump", str(n)), kubeconfig, timeout=1800)
        printed = await output(command, kubeconfig)
        line = Line.parse(printed)
        if line is None:
            raise BenchmarkError(f"mode {mode} printed no line: {printed!r}")
        print(line.text(), flush=True)
        lines.setdefault(mode, []).append(line)


def _verdict(ours: dict[str, list[Line]], theirs: dict[str, list[Line]]) -> str:
    rows = [f"{'mode':<8}{'figure':<8}{'pyoperator':>12}{'controller-runtime':>20}{'ratio':>8}{'target':>9}"]
    for target in TARGETS:
        left, right = ours[target.mode], theirs[target.mode]
        ratio = target.ratio(left, right)
        sign = ">=" if target.figure == "rate" else "<="
        rows.append(
            f"{target.mode:<8}{target.figure:<8}{median(_figure(line, target.figure) for line in left):>12.2f}"
            f"{median(_figure(line, target.figure) for line in right):>20.2f}{ratio:>8.2f}"
            f"{sign + format(target.limit, '.2f'):>9}  {'met' if target.met(ratio) else 'missed'}"
        )
    return "\n".join(rows)
