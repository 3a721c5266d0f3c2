"""The memory gate: the peak of a process that caches 10,000 objects through 5,000 updates and a list anew.

The embedded server is another process, so that the peak is the cache's own. It is compared with the recorded figure of
this Python, and fails above 1.1 times of it. Memory repeats within a few per cent whatever else the machine does, so
that this can judge changes where times can't.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._machine import describe, now
from benchmarks._measurement import Line, cpu_seconds, memory_megabytes
from benchmarks._processes import BenchmarkError, end, first_line, start, this_program
from benchmarks._results import FOLDER
from benchmarks._workload import Database, name_of

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from pyoperator.cache import CacheEvent

RECORDED = "memory-gate.json"
"""The file, in the folder of the results."""
ALLOWED = 1.1
N, UPDATES = 10_000, 5_000
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate says: exit code 0 passed, 1 failed, 3 not judged because nothing comparable is recorded."""

    code: int
    text: str


def key(n: int = N, updates: int = UPDATES) -> str:
    """Return under what a figure is recorded: interpreter, machine and amounts decide what it is."""
    import platform

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{platform.python_implementation()} {version}, {platform.machine()}, {n} objects, {updates} updates"


def judge(peak: float, recorded: float | None, name: str) -> Judgement:
    """Compare a peak with the recorded one (MiB)."""
    if recorded is None:
        return Judgement(
            3,
            f"memory gate: NOT JUDGED: peak {peak:.1f} MiB, and none is recorded for {name}: "
            "record it with --memory-gate --record",
        )
    limit = recorded * ALLOWED
    text = f"peak {peak:.1f} MiB, recorded {recorded:.1f}, at most {limit:.1f} ({name})"
    if peak <= limit:
        return Judgement(0, f"memory gate: passed: {text}")
    return Judgement(
        1,
        f"memory gate: FAILED: {text}: find what holds more (tracemalloc in benchmarks/_memory_gate.py's "
        "measured process), or accept it with --memory-gate --record and say why in the change",
    )


def recorded_peak(name: str, folder: Path = FOLDER) -> float | None:
    path = folder / RECORDED
    found = json.loads(path.read_text("utf-8")).get(name) if path.exists() else None
    return None if found is None else float(found["peak_mb"])


def record(name: str, peak: float, folder: Path = FOLDER) -> None:
    """Write a peak down, beside those of other interpreters and machines."""
    path = folder / RECORDED
    everything = json.loads(path.read_text("utf-8")) if path.exists() else {}
    machine = describe()
    everything[name] = {"peak_mb": round(peak, 1), "recorded": now(), "python": machine["python"]}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(everything.items())), indent=2) + "\n", "utf-8")


async def measure(n: int = N, updates: int = UPDATES) -> Line:
    """Run server and measured process; return the line of the latter."""
    with tempfile.TemporaryDirectory(prefix="pyoperator-gate-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        server = await start(this_program("--gate-server", str(kubeconfig), "-n", str(n)), kubeconfig, told=True)
        measured: Process | None = None
        try:
            await first_line(server, "kubeconfig: ", timeout=_PATIENCE)
            measured = await start(this_program("--gate-cache", str(updates), "-n", str(n)), kubeconfig)
            await first_line(measured, "synced", timeout=_PATIENCE)
            await _tell(server, f"update {updates}")
            await first_line(measured, "updated", timeout=_PATIENCE)
            await _tell(server, "relist")
            await first_line(measured, "relisted", timeout=_PATIENCE)
            await _tell(server, f"create {n + 1}")
            line = Line.parse("peer=" + await first_line(measured, "peer=", timeout=_PATIENCE))
            await _close(server)
        finally:
            if measured is not None:
                await end(measured)
            await end(server)
    if line is None:
        raise BenchmarkError("the measured process printed no line")
    return line


async def _tell(server: Process, command: str) -> None:
    if server.stdin is None:
        raise BenchmarkError("the server's input is not piped")
    server.stdin.write(f"{command}\n".encode())
    await first_line(server, "done", timeout=_PATIENCE)


async def _close(server: Process) -> None:
    """Let the server end by itself, and say whether anything was listed anew."""
    if server.stdin is not None:
        server.stdin.close()
    async with asyncio.timeout(_PATIENCE):
        if await server.wait():
            raise BenchmarkError("the gate's server failed, see above")


@dataclass(slots=True)
class Arrivals:
    """A handler that knows what it waits for: changed objects, the one that only a list can bring, and one after it."""

    n: int
    updates: int
    updated: asyncio.Event = field(default_factory=asyncio.Event)
    relisted: asyncio.Event = field(default_factory=asyncio.Event)
    watching: asyncio.Event = field(default_factory=asyncio.Event)
    seen: set[str] = field(default_factory=set)

    def on_add(self, event: CacheEvent) -> None:
        if event.key.name == name_of(self.n):
            self.relisted.set()
        elif event.key.name == name_of(self.n + 1):
            self.watching.set()

    def on_update(self, event: CacheEvent) -> None:
        if event.entry.metadata.generation == 2:
            self.seen.add(event.key.name)
            if len(self.seen) == self.updates:
                self.updated.set()

    def on_delete(self, event: CacheEvent) -> None:
        raise AssertionError(f"{event.key} was not deleted")


async def cache(n: int, updates: int) -> str:
    """Be the measured process: a cache with a handler, told nothing but what the server sends."""
    from pyoperator.cache import Cache
    from pyoperator.client import AiohttpTransport, Configuration
    from pyoperator.objects import Scheme

    begun = time.perf_counter()
    arrivals = Arrivals(n, updates)
    transport = AiohttpTransport(Configuration.load())
    try:
        cache = Cache(transport, Scheme())
        informer = cache.get_informer(Database)
        informer.add_handler(arrivals)
        running = asyncio.create_task(cache.run())
        await cache.wait_for_cache_sync()
        print("synced", flush=True)
        for moment in ("updated", "relisted", "watching"):
            await getattr(arrivals, moment).wait()
            print(moment, flush=True)
        if len(informer.store) != n + 2:
            raise BenchmarkError(f"{len(informer.store)} objects are cached instead of {n + 2}")
        resident = memory_megabytes("VmRSS")  # before the peak: to read them takes memory, too
        line = (
            f"peer=pyoperator mode=memory n={n} updates={updates} wall_s={time.perf_counter() - begun:.3f} "
            f"cpu_s={cpu_seconds():.2f} peak_mb={memory_megabytes('VmHWM'):.1f} rss_mb={resident:.1f}"
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    finally:
        await transport.aclose()
    return line
