"""Who runs the workloads: this library, and the peers' programs as far as they are at hand."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measurement import Line
from benchmarks._processes import BenchmarkError, operator_python, output, this_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PEERS = Path(__file__).parents[2] / "shared" / "tools" / "peers"
CACHE = Path.home() / ".cache" / "pyoperator-benchmarks"
OURS, CONTROLLER_RUNTIME, KUBE_RS, KOPF = "pyoperator", "controller-runtime", "kube-rs", "kopf"
_ALL = frozenset({"sync", "noop", "status", "latency", "elect"})


@dataclass(frozen=True, slots=True)
class Side:
    """One program of the comparison. ``once``: too slow to be measured in every round. ``patience`` in seconds a run."""

    name: str
    command: Callable[[str, int, int], Sequence[str]]
    modes: frozenset[str] = _ALL
    environment: Callable[[str, int], Mapping[str, str]] = lambda _mode, _n: {}
    version: str = ""
    once: bool = False
    patience: float = 600.0

    async def run(self, mode: str, n: int, workers: int, kubeconfig: Path | str) -> Line:
        """Run one mode to its end and return its line. Raises BenchmarkError."""
        printed = await output(
            self.command(mode, n, workers),
            kubeconfig,
            timeout=self.patience,
            more=self.environment(mode, n),
            quiet=self.name != OURS,  # they log as they go
        )
        line = Line.parse(printed)
        if line is None:
            raise BenchmarkError(f"{self.name}: mode {mode} printed no line: {printed!r}")
        return line


@dataclass(slots=True)
class Sides:
    """Who takes part, and why who does not."""

    present: list[Side]
    absent: list[str] = field(default_factory=list)

    def of(self, mode: str, number: int) -> list[Side]:
        """Return who runs a mode in a round: another one begins each time."""
        able = [side for side in self.present if mode in side.modes and (number == 0 or not side.once)]
        first = number % max(len(able), 1)
        return able[first:] + able[:first]


def ours() -> Side:
    from pyoperator import __version__

    def command(mode: str, n: int, workers: int) -> Sequence[str]:
        return [operator_python(), *this_program("--mode", mode, "-n", str(n), "--workers", str(workers))[1:]]

    return Side(OURS, command, version=__version__)


async def find_sides(peers: Path = PEERS) -> Sides:
    """Return this library and the peers whose programs are at hand; controller-runtime's is built when Go is there."""
    sides = Sides([ours()])
    for find in (_controller_runtime, _kube_rs, _kopf):
        try:
            sides.present.append(await find(peers))
        except BenchmarkError as error:
            sides.absent.append(str(error))
    return sides


async def _controller_runtime(peers: Path) -> Side:
    source = peers / "controller-runtime"
    if not await asyncio.to_thread((source / "main.go").exists):
        raise BenchmarkError(f"{CONTROLLER_RUNTIME}: no program in the folder of the peers (--peers): not measured")
    if shutil.which("go") is None:
        raise BenchmarkError(f"{CONTROLLER_RUNTIME}: built with Go, which is not installed: not measured")
    await asyncio.to_thread(CACHE.mkdir, parents=True, exist_ok=True)
    binary = CACHE / "controller-runtime"
    build = await asyncio.create_subprocess_exec("go", "build", "-o", str(binary), ".", cwd=source)
    if await build.wait():
        raise BenchmarkError(f"{CONTROLLER_RUNTIME}: go build failed, see above: not measured")
    modules = await asyncio.to_thread((source / "go.mod").read_text, "utf-8")
    version = re.search(r"sigs\.k8s\.io/controller-runtime v(\S+)", modules)
    return Side(CONTROLLER_RUNTIME, _with_flags(binary), version=version.group(1) if version else "")


async def _kube_rs(peers: Path) -> Side:
    binary = Path(os.environ.get("KUBE_RS_BENCH") or peers / "kube-rs" / "target" / "release" / "bench-kube")
    if not os.access(binary, os.X_OK):
        raise BenchmarkError(f"{KUBE_RS}: not built (cargo build --release, or name it by KUBE_RS_BENCH): not measured")
    locked = await asyncio.to_thread(_text_or_nothing, peers / "kube-rs" / "Cargo.lock")
    version = re.search(r'name = "kube"\nversion = "(\S+)"', locked)
    # It has no leader election.
    return Side(KUBE_RS, _with_flags(binary), _ALL - {"elect"}, version=version.group(1) if version else "")


async def _kopf(peers: Path) -> Side:
    program = peers / "kopf" / "bench_kopf.py"
    python = os.environ.get("KOPF_PYTHON") or str(CACHE / "kopf" / "bin" / "python")
    if not await asyncio.to_thread(program.exists):
        raise BenchmarkError(f"{KOPF}: no program in the folder of the peers (--peers): not measured")
    try:
        asked = [python, "-c", "import importlib.metadata as m; print(m.version('kopf'))"]
        version = (await output(asked, "", timeout=60, quiet=True)).strip()
    except (BenchmarkError, OSError):
        raise BenchmarkError(
            f"{KOPF}: not installed (`python -m benchmarks --install-kopf`, or KOPF_PYTHON=a Python that has it): not measured"
        ) from None
    return Side(
        KOPF,
        lambda _mode, _n, _workers: [python, str(program)],
        frozenset({"noop", "status", "latency"}),  # it keeps no cache to be filled, and has no election by lease
        environment=lambda mode, n: {"MODE": mode, "N": str(n)},
        version=version,
        once=True,
        patience=200.0,
    )


async def install_kopf() -> str:
    """Make a virtual environment of its own with kopf in the user's cache; return the path of its Python."""
    folder = CACHE / "kopf"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "kopf"],
    ):
        await output(command, "")
    return str(folder / "bin" / "python")


def _with_flags(binary: Path) -> Callable[[str, int, int], Sequence[str]]:
    return lambda mode, n, workers: [str(binary), "-mode", mode, "-n", str(n), "-workers", str(workers)]


def _text_or_nothing(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
