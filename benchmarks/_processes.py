"""Processes of a benchmark run: the embedded server, one process per mode, and what they print."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

_START_SECONDS = 30.0


class BenchmarkError(RuntimeError):
    """A benchmark can't run; one line that says why and what to do."""


@asynccontextmanager
async def embedded_server() -> AsyncGenerator[Path]:
    """Run the embedded API server as a process of its own; yield its kubeconfig."""
    with tempfile.TemporaryDirectory(prefix="pyoperator-benchmark-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        process = await start(embedded_command(kubeconfig), kubeconfig)
        try:
            await first_line(process, "kubeconfig: ")
            yield kubeconfig
        finally:
            await end(process)


async def start(
    command: Sequence[str],
    kubeconfig: Path | str,
    *,
    more: Mapping[str, str] | None = None,
    told: bool = False,
    errors: int | None = None,
) -> asyncio.subprocess.Process:
    """Start a program of the benchmark against the API server of ``kubeconfig``, its output piped.

    ``told``: its input is piped, too. ``errors``: where its error output goes, as of subprocess; ours by default.
    """
    # An installed package has its bytecode at hand: compiling it in every process would be measured as ours.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "KUBECONFIG": str(kubeconfig), **(more or {})}
    return await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=Path(__file__).parents[1],
        stdin=asyncio.subprocess.PIPE if told else None,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
    )


async def output(
    command: Sequence[str],
    kubeconfig: Path | str,
    *,
    timeout: float = 600.0,
    more: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> str:
    """Run a program to its end and return what it printed; raises BenchmarkError if it fails.

    ``quiet``: its error output is shown only then.
    """
    process = await start(command, kubeconfig, more=more, errors=asyncio.subprocess.PIPE if quiet else None)
    try:
        async with asyncio.timeout(timeout):
            printed, complained = await process.communicate()
    except TimeoutError:
        raise BenchmarkError(f"{' '.join(command[-6:])}: not done after {timeout:.0f} s") from None
    finally:
        await end(process)
    if process.returncode:
        sys.stderr.write((complained or b"").decode(errors="replace")[-4000:])
        raise BenchmarkError(f"{' '.join(command[-6:])}: failed with exit code {process.returncode}, see above")
    return printed.decode()


def embedded_command(kubeconfig: Path) -> list[str]:
    return [sys.executable, "-m", "pyoperator", "apiserver", f"--kubeconfig-out={kubeconfig}"]


def operator_python() -> str:
    """Return the interpreter of what is measured: $BENCH_PYTHON, else this one.

    An operator is deployed with its runtime dependencies alone. Of what else is installed structlog imports rich, and
    pydantic looks through every package for plugins of its own.
    """
    return os.environ.get("BENCH_PYTHON") or sys.executable


def this_program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


async def stamped(process: asyncio.subprocess.Process, word: str, *, timeout: float = 60.0) -> int:
    """Return the Unix nanoseconds of the process's next line ``word NANOSECONDS``."""
    return int(await first_line(process, f"{word} ", timeout=timeout))


async def first_line(process: asyncio.subprocess.Process, prefix: str, *, timeout: float = _START_SECONDS) -> str:
    """Return what follows ``prefix`` in the process's next line that begins with it."""
    if process.stdout is None:
        raise BenchmarkError("the process's output is not piped")
    async with asyncio.timeout(timeout):
        while line := await process.stdout.readline():
            if line.startswith(prefix.encode()):
                return line.decode()[len(prefix) :].strip()
    raise BenchmarkError(f"a process ended before it said {prefix.strip()!r}, see above")


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop a process, politely first, and wait until it is gone."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
