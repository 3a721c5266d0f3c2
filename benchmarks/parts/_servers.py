"""Part ``servers``: the embedded API server beside the real one, each on one core, driven from another."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._load import define, open_client
from benchmarks._measurement import Line, cpu_seconds
from benchmarks._processes import BenchmarkError, embedded_command, end, first_line, output, start, this_program
from benchmarks._real_server import find_program, real_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from benchmarks._bench import Bench

EMBEDDED, REAL = "embedded", "kube-apiserver"
_ROUNDS = 2
_STARTS = 5
_REST_WITHIN = 30
_PORT_OFFSET = 10


async def servers(bench: Bench) -> None:
    """Measure starts, then writes and fan-out of both in turn; without a program that starts a real one, ours alone."""
    cores = sorted(os.sched_getaffinity(0))
    core, driver = cores[0], cores[-1]
    if core == driver:
        bench.remark("servers: there is one core only, which server and driver share")
    await _starts(bench, core)
    for number in range(min(_ROUNDS, bench.plan.rounds)):
        await _embedded(bench, number, core, driver)
        await _real(bench, number, core, driver)
        await _driven(bench, number, "-", "in-process", EMBEDDED, core)


async def _starts(bench: Bench, core: int) -> None:
    for number in range(_STARTS):
        begun = time.perf_counter()
        async with _pinned(core):
            line = {"peer": EMBEDDED, "mode": "server", "what": "start", "wall_s": f"{time.perf_counter() - begun:.3f}"}
        bench.record("servers", number, Line(line))


@asynccontextmanager
async def _pinned(core: int) -> AsyncGenerator[Path]:
    with tempfile.TemporaryDirectory(prefix="pyoperator-benchmark-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        process = await start(_on(core, embedded_command(kubeconfig)), kubeconfig)
        try:
            await first_line(process, "kubeconfig: ")
            yield kubeconfig
        finally:
            await end(process)


async def _embedded(bench: Bench, number: int, core: int, driver: int) -> None:
    async with _pinned(core) as kubeconfig:
        await _driven(bench, number, str(kubeconfig), "https", EMBEDDED, driver)


async def _real(bench: Bench, number: int, core: int, driver: int) -> None:
    program = find_program()
    if program is None:
        if not number:
            bench.remark(f"servers: REAL_APISERVER names no program that starts a {REAL}: the embedded one alone")
        return
    begun = time.perf_counter()
    async with real_server(program, offset=_PORT_OFFSET, core=core) as real:
        line = {"peer": REAL, "mode": "server", "what": "start", "wall_s": f"{time.perf_counter() - begun:.3f}"}
        bench.record("servers", number, Line(line))
        async with open_client(real.kubeconfig) as client:
            await define(client)
        await _quiet(real.pids)
        await _driven(bench, number, str(real.kubeconfig), "https", REAL, driver)


async def _quiet(pids: Sequence[int]) -> None:
    """Wait until the server rests: for seconds after it says ready, and after a definition, it is busy with itself.

    On one core that would be measured as slow writes.
    """
    before = sum(cpu_seconds(pid) for pid in pids)
    for _ in range(_REST_WITHIN):
        await asyncio.sleep(1.0)
        now = sum(cpu_seconds(pid) for pid in pids)
        if now - before < 0.1:
            return
        before = now


async def _driven(bench: Bench, number: int, kubeconfig: str, what: str, peer: str, core: int) -> None:
    plan = bench.plan
    amounts = f"{plan.writes},{plan.watchers},{plan.events}"
    command = this_program("--drive-server", what, "--peer", peer, "--amounts", amounts)
    try:
        printed = await output(_on(core, command), kubeconfig)
    except BenchmarkError as error:
        bench.remark(f"servers: {peer}, {what}: {error}")
        return
    line = Line.parse(printed)
    if line is not None:
        bench.record("servers", number, line)


def _on(core: int, command: list[str]) -> list[str]:
    """Return a command that runs another one on one core, which its children inherit."""
    pin = f"import os, sys; os.sched_setaffinity(0, {{{core}}}); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", pin, *command]
