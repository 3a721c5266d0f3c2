"""Modes ``noop``, ``status``, ``latency`` and ``elect``: a manager with one controller, as an operator would be one."""

from __future__ import annotations

import asyncio
import time

from benchmarks._measurement import latency_line, usage_line
from benchmarks._workload import CHURN_BASE, CREATED_ANNOTATION, NAMESPACE, Database, DatabaseStatus, name_of
from pyoperator.client import MergePatch, NotFound
from pyoperator.controller import ControllerOptions, Request, controller_for
from pyoperator.manager import Manager

LEASE = "bench.example.com"


class _Reconciler:
    """Read each object, whole and typed; in status mode report the generation seen. Ends with ``n`` distinct keys."""

    def __init__(self, manager: Manager, mode: str, n: int) -> None:
        self.finished = asyncio.Event()
        self.reconciles = 0
        self.milliseconds: list[float] = []
        self._client = manager.client
        self._mode = mode
        self._n = n
        self._done: set[str] = set()

    async def reconcile(self, request: Request) -> None:
        now = time.time_ns()
        self.reconciles += 1
        try:
            database = await self._client.get(Database, request)
        except NotFound:
            return
        if self._mode == "latency":
            self._measure(database, now)
            return
        if self._mode == "status":
            await self._report(database)
        self._finish(request.name)

    async def _report(self, database: Database) -> None:
        status = database.status or DatabaseStatus()
        if status.observed_generation != database.metadata.generation:
            patch = MergePatch({"status": {"observedGeneration": database.metadata.generation, "phase": "Ready"}})
            await self._client.status.patch(Database, database.key, patch)

    def _measure(self, database: Database, now: int) -> None:
        # Objects of an earlier seed carry times of their own, long past.
        if database.metadata.name >= name_of(CHURN_BASE) and database.metadata.name not in self._done:
            self.milliseconds.append((now - int(database.metadata.annotations[CREATED_ANNOTATION])) / 1e6)
            self._finish(database.metadata.name)

    def _finish(self, name: str) -> None:
        self._done.add(name)
        if len(self._done) >= self._n:
            self.finished.set()


async def reconcile(mode: str, n: int, workers: int) -> str:
    """Run noop, status or latency: a manager with one controller, until ``n`` distinct objects were reconciled."""
    manager = Manager(metrics_bind_address="0", health_probe_bind_address="0")
    reconciler = _Reconciler(manager, mode, n)
    options = ControllerOptions(max_concurrent_reconciles=workers)
    controller_for(manager).for_(Database).named("bench").with_options(options).complete(reconciler)
    begun = time.perf_counter()
    running = asyncio.create_task(manager.start())
    finished = asyncio.create_task(reconciler.finished.wait())
    await asyncio.wait([running, finished], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        finished.cancel()
        running.result()
        raise RuntimeError("the manager ended before all objects were reconciled")
    wall = time.perf_counter() - begun
    line = latency_line(reconciler.milliseconds) if mode == "latency" else usage_line(mode, n, wall)
    manager.stop("measured")
    await running
    return line


def elect() -> int:
    """Run a manager with default election until a signal; print when it was elected and when it had stopped."""
    manager = Manager(
        metrics_bind_address="0",
        health_probe_bind_address="0",
        leader_election=True,
        leader_election_id=LEASE,
        leader_election_namespace=NAMESPACE,
    )

    async def announce() -> None:
        print(f"elected {time.time_ns()}", flush=True)
        await asyncio.get_running_loop().create_future()

    async def ignore(_request: Request) -> None:
        pass

    manager.add(announce)
    controller_for(manager).for_(Database).named("bench").complete(ignore)
    code = manager.run()
    print(f"stopped {time.time_ns()}", flush=True)
    return code
