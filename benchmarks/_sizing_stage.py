"""The processes of a sizing run: an API server, replicas of the postgres-operator, and what the kernel says of them."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from benchmarks import _measurement
from benchmarks._processes import BenchmarkError, end, start
from pyoperator.client import AiohttpTransport, Client, Configuration
from pyoperator.testing.lab._ports import ReservedPort

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

NAMESPACE = "default"
"""Where the Lease is."""
WIDTH = 16
"""Requests of the driver at a time."""


@dataclass(slots=True, eq=False)
class Replica:
    process: asyncio.subprocess.Process
    begun: float
    metrics: str
    probes: str
    slowest_probe: float = 0.0

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def memory(self, name: str) -> float:
        """Return ``VmRSS`` or ``VmHWM`` (peak) in MiB."""
        return _measurement.memory_megabytes(name, self.process.pid)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a running process, all threads."""
    try:
        return _measurement.cpu_seconds(pid)
    except OSError:
        raise BenchmarkError("a replica or the server ended on its own: see its log above") from None


@dataclass(slots=True, eq=False)
class Stage:
    """One API server and the replicas on it."""

    folder: Path
    server: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    flags: tuple[str, ...]
    quiet: float
    ports: AsyncExitStack
    replicas: list[Replica] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def client(self) -> Client:
        """Return a client of the driver; close its transport."""
        configuration = Configuration.load(kubeconfig=str(self.kubeconfig))
        return Client(AiohttpTransport(configuration, max_requests=WIDTH + 4), field_manager="sizing")

    async def replica(self, group: Path | None = None) -> Replica:
        """Start a replica, in a control group if one is given."""
        name = f"postgres-operator-{next(self.numbers)}"
        metrics, probes = (self.ports.enter_context(ReservedPort()).address for _ in range(2))
        command = [
            *([] if group is None else ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"]),
            *(sys.executable, "-m", "postgres_operator.main"),
            "--leader-elect",
            f"--leader-election-namespace={NAMESPACE}",
            f"--kubeconfig={self.kubeconfig}",
            f"--metrics-bind-address={metrics}",
            f"--health-probe-bind-address={probes}",
            "--log-format=json",
            *self.flags,
        ]
        # Installed packages have their bytecode at hand; a pod of a read-only image must not compile it either.
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command, env={**kept, "POD_NAME": name}, cwd=self.folder, stdout=log, stderr=log
            )
        made = Replica(process, time.perf_counter(), f"http://{metrics}/metrics", f"http://{probes}")
        self.replicas.append(made)
        return made

    async def answers(self, replica: Replica, path: str, patience: float) -> float:
        """Return seconds from the start of the process to the first 200 of a probe, nan if there is none in time."""
        while (now := time.perf_counter()) - replica.begun < patience:
            try:
                async with self.session.get(replica.probes + path) as response:
                    await response.read()
                    replica.slowest_probe = max(replica.slowest_probe, time.perf_counter() - now)
                    if response.status == 200:
                        return time.perf_counter() - replica.begun
            except (aiohttp.ClientError, TimeoutError):
                pass
            if replica.process.returncode is not None:
                log = sorted(self.folder.glob("*.log"))[-1].read_text("utf-8")[-2000:]
                raise BenchmarkError(f"a replica ended with {replica.process.returncode}: {log}")
            await asyncio.sleep(0.05)
        return float("nan")

    async def values(self, replica: Replica) -> dict[str, float]:
        """Return the sum of each of the replica's series, by name; empty if it does not answer."""
        found: dict[str, float] = {}
        try:
            async with self.session.get(replica.metrics) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return found
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    async def until(self, replica: Replica, true: Callable[[dict[str, float]], bool], patience: float) -> float:
        """Return the seconds until the replica's metrics say so, nan if they do not in time."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < patience:
            if true(await self.values(replica)):
                return time.perf_counter() - begun
            await asyncio.sleep(0.1)
        return float("nan")

    async def settle(self, *replicas: Replica, patience: float) -> float:
        """Wait until server and replicas are quiet, below a tenth of a core each; return when they became so."""
        pids = [self.server.pid, *(one.process.pid for one in replicas)]
        deadline = time.perf_counter() + patience
        before = [cpu_seconds(pid) for pid in pids]
        while (began := time.perf_counter()) < deadline:
            await asyncio.sleep(self.quiet)
            after = [cpu_seconds(pid) for pid in pids]
            if all(new - old < self.quiet * 0.1 for old, new in zip(before, after, strict=True)):
                return began
            before = after
        raise BenchmarkError(f"not settled after {patience:.0f} s: take fewer --objects")

    async def stop(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        await end(replica.process)


def leads(values: dict[str, float]) -> bool:
    return values.get("leader_election_master_status") == 1


def through(n: int) -> Callable[[dict[str, float]], bool]:
    """Whether a leader has been through all ``n`` objects of its term and has nothing left to do."""

    def true(values: dict[str, float]) -> bool:
        left = values.get("workqueue_depth", 0) + values.get("controller_runtime_active_workers", 0)
        return values.get("controller_runtime_reconcile_total", 0) >= n and left == 0

    return true


@asynccontextmanager
async def open_stage(data: Path | None, *, flags: tuple[str, ...], quiet: float) -> AsyncGenerator[Stage]:
    with tempfile.TemporaryDirectory(prefix="pyoperator-sizing-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        more = ["--simulate-workloads"] if data is None else [f"--data-dir={data}"]
        command = [sys.executable, "-m", "pyoperator", "apiserver", f"--kubeconfig-out={kubeconfig}", *more]
        server = await start(command, kubeconfig)
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with asyncio.timeout(120):
                while not kubeconfig.exists():
                    if server.stdout is None or not await server.stdout.readline():
                        raise BenchmarkError("the API server did not start, see above")
            async with aiohttp.ClientSession(timeout=timeout) as session, AsyncExitStack() as ports:
                stage = Stage(Path(folder), server, session, flags, quiet, ports)
                try:
                    yield stage
                finally:
                    await asyncio.gather(*(end(one.process) for one in stage.replicas))
        finally:
            await end(server)


@contextmanager
def quota(millicores: int) -> Generator[Path | None]:
    """Make a control group of so many millicores; None where none can be made (not root, nothing delegated)."""
    root = Path("/sys/fs/cgroup")
    second = (root / "cgroup.controllers").exists()
    path = (root if second else root / "cpu") / f"pyoperator-sizing-{os.getpid()}-{millicores}"
    period = 100_000
    share = millicores * period // 1000
    files = (
        {"cpu.max": f"{share} {period}"}
        if second
        else {"cpu.cfs_period_us": f"{period}", "cpu.cfs_quota_us": f"{share}"}
    )
    made: Path | None = path
    try:
        path.mkdir()
        for name, value in files.items():
            (path / name).write_text(value, "ascii")
    except OSError:
        made = None
    try:
        yield made
    finally:
        with suppress(OSError):
            path.rmdir()
