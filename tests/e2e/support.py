"""Start the launcher as a user does, and look for what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "postgres-operator" / "lab.yaml"
SHORT_LEASE = ("--lease-duration=3", "--renew-deadline=2s", "--retry-period=500ms")


class Launcher:
    """A running ``pyoperator lab``; reads its lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, *parts: str) -> str:
        """Return the next line of output that has all these parts."""
        assert self.process.stdout is not None
        while raw := await self.process.stdout.readline():
            text = raw.decode().rstrip("\n")
            self.lines.append(text)
            if all(part in text for part in parts):
                return text
        raise AssertionError(f"ended without a line with {parts}:\n" + "\n".join(self.lines))

    async def kubeconfig(self) -> Path:
        return Path((await self.line("kubeconfig: ")).removeprefix("kubeconfig: "))

    async def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.lines += (await self.process.stdout.read()).decode().splitlines()
        return await self.process.wait()


@asynccontextmanager
async def launcher(
    *arguments: str, environ: Mapping[str, str] | None = None, within: float = 60.0
) -> AsyncIterator[Launcher]:
    """Run ``python -m pyoperator lab ARGUMENTS`` in a folder that is not the project's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pyoperator",
        "lab",
        *arguments,
        f"--project={PROJECT}",
        cwd="/",
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(within):
            yield Launcher(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose command line names a lab's folder (Linux)."""
    mark = str(folder).encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if mark in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile
            continue
    return found


class Ends:
    """Handles on processes that are nobody's children here, to wait for their ends without polling."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._handles = [os.pidfd_open(pid) for pid in pids]

    def wait(self, within: float) -> bool:
        """Tell whether all have ended within that many seconds; may be asked once."""
        ended = all(select.select([handle], [], [], within)[0] for handle in self._handles)
        for handle in self._handles:
            os.close(handle)
        return ended
