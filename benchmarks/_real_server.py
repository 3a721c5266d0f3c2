"""Find or start a real kube-apiserver, without depending on one."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._processes import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_BESIDE = Path(__file__).parents[2] / "shared" / "tools" / "real-apiserver" / "real-apiserver"
_PORT = 17761


@dataclass(frozen=True, slots=True)
class RealServer:
    """A server started here: its kubeconfig and the ids of its processes (the API server's and its store's)."""

    kubeconfig: Path
    pids: tuple[int, ...]


def find_program() -> Path | None:
    """Return the program that starts a real server: what $REAL_APISERVER names, or the one next to this repository.

    ``up PORT DIR`` prints a kubeconfig's path as its last line, ``down DIR`` stops what ``up`` started there.
    """
    named = os.environ.get("REAL_APISERVER")
    if named is not None:
        if named and not os.access(named, os.X_OK):
            raise BenchmarkError(f"REAL_APISERVER={named} can't be run: name a program, or set it empty for none")
        return Path(named) if named else None
    return _BESIDE if os.access(_BESIDE, os.X_OK) else None


@asynccontextmanager
async def real_server(program: Path, *, offset: int = 0, core: int | None = None) -> AsyncGenerator[RealServer]:
    """Run a server of one's own from ``program``, with all of its processes on one ``core`` if given.

    It listens at $REAL_APISERVER_PORT (17761) plus ``offset``, and at the two ports after it.
    """
    port = int(os.environ.get("REAL_APISERVER_PORT", _PORT)) + offset
    with tempfile.TemporaryDirectory(prefix="pyoperator-benchmark-") as folder:
        try:
            printed = await _run(program, "up", str(port), folder, core=core)
            yield RealServer(Path(printed.strip().splitlines()[-1]), await asyncio.to_thread(_pids, Path(folder)))
        finally:
            await _run(program, "down", folder)


def _pids(folder: Path) -> tuple[int, ...]:
    return tuple(int(path.read_text("ascii")) for path in sorted(folder.glob("*.pid")))


async def _run(program: Path, *arguments: str, core: int | None = None) -> str:
    command = [str(program), *arguments]
    if core is not None:
        # Set before the programs start: Go sizes its scheduler by the cores that it sees then.
        pin = f"import os, sys; os.sched_setaffinity(0, {{{core}}}); os.execv(sys.argv[1], sys.argv[1:])"
        command = [sys.executable, "-c", pin, *command]
    with tempfile.TemporaryFile() as log:
        # A file, not a pipe: the servers inherit it and would keep a pipe open.
        process = await asyncio.create_subprocess_exec(*command, stdout=log)
        if await process.wait():
            raise BenchmarkError(f"{program.name} {arguments[0]} failed with exit code {process.returncode}, see above")
        log.seek(0)
        return log.read().decode()
