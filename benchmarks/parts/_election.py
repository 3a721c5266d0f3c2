"""Part ``elect``: two candidates with default election; the leader is stopped or killed, and the Lease is watched.

By the definitions of the high-availability report: ``sigterm_ms`` is from the signal to the next acquisition, ``gap_ms``
from the release to it, ``beyond_ms`` from when the killed leader's term ends (its last renewal plus the duration of the
lease). The moments are those at which the watch of this driver is told, on the same machine.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks._load import open_client
from benchmarks._measurement import Line
from benchmarks._operator import LEASE
from benchmarks._peers import OURS
from benchmarks._processes import BenchmarkError, end, stamped, start
from benchmarks._workload import NAMESPACE
from pyoperator.client import ApiError, TransportError, ignore_not_found
from pyoperator.objects import GroupVersionKind, ObjectKey

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, Callable

    from benchmarks._bench import Bench
    from benchmarks._peers import Side
    from pyoperator.client import Client

_KIND = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
_ELECTED_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Write:
    """One state of the Lease, at the moment in which it became known here (seconds of a monotonic clock)."""

    at: float
    holder: str
    duration: float


@dataclass(slots=True)
class History:
    """All states of the Lease, in order; ``changed`` is told of each."""

    writes: list[Write] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, write: Write) -> None:
        async with self.changed:
            self.writes.append(write)
            self.changed.notify_all()

    async def wait(self, true: Callable[[Write], bool], since: int) -> Write:
        """Return the first state at or after number ``since`` that is so."""
        async with self.changed, asyncio.timeout(_ELECTED_WITHIN):
            while True:
                found = next((write for write in self.writes[since:] if true(write)), None)
                if found is not None:
                    return found
                await self.changed.wait()


async def election(bench: Bench) -> None:
    """Measure each side by itself: its candidates share a Lease that is its own only by name."""
    await bench.drive("--wipe")
    for side in bench.sides.of("elect", 0):
        plan = bench.plan
        seconds = plan.hand_overs * (plan.settle + 3) + plan.crashes * (plan.settle + 18)
        if bench.enough_for(f"{side.name}, elect", seconds):
            try:
                await _measure(bench, side)
            except (BenchmarkError, TimeoutError) as error:
                bench.remark(f"{side.name}, elect: {str(error) or 'nobody was elected in time'}")


async def _measure(bench: Bench, side: Side) -> None:
    candidates: list[Process] = []

    async def launch() -> None:
        errors = None if side.name == OURS else asyncio.subprocess.DEVNULL  # they log as they go
        command = side.command("elect", 1, bench.plan.workers)
        candidates.append(await start(command, bench.kubeconfig, errors=errors))

    async with _watched(bench.kubeconfig) as history:
        try:
            await launch()
            await stamped(candidates[0], "elected", timeout=_ELECTED_WITHIN)
            for number in range(bench.plan.hand_overs + bench.plan.crashes):
                await launch()
                # A follower can take over once it has seen the Lease; by then its retries are out of step with its start.
                await asyncio.sleep(bench.plan.settle)
                leader, follower = candidates
                crash = number >= bench.plan.hand_overs
                line = await _change(history, leader, follower, crash=crash)
                # Told once already: a second signal would cut its end short.
                async with asyncio.timeout(_ELECTED_WITHIN):
                    await leader.wait()
                candidates.remove(leader)
                bench.record("elect", number, Line({"peer": side.name, "mode": "elect", **line}))
        finally:
            for candidate in candidates:
                await end(candidate)


async def _change(history: History, leader: Process, follower: Process, *, crash: bool) -> dict[str, str]:
    before, since = history.writes[-1], len(history.writes)
    told = time.perf_counter()
    leader.send_signal(signal.SIGKILL if crash else signal.SIGTERM)
    acquired = await history.wait(lambda write: write.holder not in {"", before.holder}, since)
    await stamped(follower, "elected", timeout=_ELECTED_WITHIN)
    taken = (acquired.at - told) * 1000
    if crash:
        # A renewal that was on its way when the signal came counts as the leader's last.
        last = [write for write in history.writes if write.holder == before.holder and write.at < acquired.at][-1]
        beyond = (acquired.at - last.at - last.duration) * 1000
        return {
            "what": "crash",
            "takeover_ms": f"{taken:.1f}",
            "lease_s": f"{last.duration:g}",
            "beyond_ms": f"{beyond:.1f}",
        }
    released = [write.at for write in history.writes[since:] if not write.holder and write.at <= acquired.at]
    gap = {"gap_ms": f"{(acquired.at - released[-1]) * 1000:.1f}"} if released else {}
    return {"what": "hand-over", "sigterm_ms": f"{taken:.1f}", **gap}


@asynccontextmanager
async def _watched(kubeconfig: Any) -> AsyncGenerator[History]:
    """Yield the history of the Lease from now on; the Lease of an earlier run is deleted first."""
    history = History()
    async with open_client(kubeconfig) as client:
        with ignore_not_found():
            await client.delete(_KIND, ObjectKey(NAMESPACE, LEASE))
        watching = asyncio.create_task(_watch(client, history))
        try:
            yield history
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _watch(client: Client, history: History) -> None:
    last: Write | None = None
    version = ""
    while True:
        try:
            watch = client.watch(
                _KIND, namespace=NAMESPACE, field_selector=f"metadata.name={LEASE}", resource_version=version
            )
            async with watch:
                async for event in watch:
                    now = time.perf_counter()
                    if event.type in {"ADDED", "MODIFIED"}:
                        version = event.object["metadata"]["resourceVersion"]
                        spec = event.object["spec"]
                        last = Write(
                            now, spec.get("holderIdentity") or "", float(spec.get("leaseDurationSeconds") or 0)
                        )
                        await history.add(last)
        except (ApiError, TransportError):
            version = ""
            await asyncio.sleep(0.05)
