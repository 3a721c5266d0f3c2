"""The real part: minutes of changes and faults, the operator measured every second by another process."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from benchmarks._load import define, seed
from chaos._links import Link
from chaos._servers import Embedded, address_of
from pyoperator.client import AiohttpTransport, ApiError, Client, Configuration, TransportError
from pyoperator.clock import Randomness, SystemClock
from soak._judge import Level, Part, Sample, differences
from soak._process import Process
from soak._real_load import RealLoad
from soak._real_weather import RealWeather

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_LIMIT: Final = 3.0
_START_WITHIN: Final = 60.0
_SETTLED_WITHIN: Final = 240.0
"""Seconds: a dead watch is found after 90 to 120, a backoff may follow."""
_LOOKS: Final = 5
_COUNTED_EVERY: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class RealPlan:
    """``minutes`` of changes under faults, a fifth of them warm-up; ``rate`` changes a second to ``objects`` objects.

    ``quiet``: seconds of rest before what is held is counted; idle connections are closed after 20 to 40.
    """

    minutes: float = 15.0
    objects: int = 2000
    rate: float = 50.0
    seed: int = 1
    limit: float = _LIMIT
    quiet: float = 45.0

    @property
    def seconds(self) -> float:
        return 60.0 * self.minutes

    @property
    def warm_up(self) -> float:
        return self.seconds / 5

    @property
    def window(self) -> float:
        """Seconds whose median is taken, after the warm-up and at the end."""
        return self.seconds * 2 / 15


class _Run:
    def __init__(
        self, plan: RealPlan, process: Process, load: RealLoad, weather: RealWeather, tell: Callable[[str], None]
    ) -> None:
        self.part = Part("real", plan.seconds, plan.objects, plan.limit)
        self._plan = plan
        self._process = process
        self._load = load
        self._weather = weather
        self._tell = tell
        self._began = asyncio.get_running_loop().time()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def go(self) -> None:
        """Work, rest, work, rest, and judge; or say that the operator has ended meanwhile."""
        sampling = asyncio.create_task(self._sample())
        living = asyncio.create_task(self._live())
        try:
            await asyncio.wait([sampling, living], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sampling, living):
                task.cancel()
            await asyncio.wait([sampling, living])
        for task in (sampling, living):
            if not task.cancelled():
                task.result()

    async def _live(self) -> None:
        await self._settled("the start")
        await self._work(self._plan.warm_up)
        before = await self._rest("the warm-up")
        start = self._now
        await self._work(self._plan.seconds - self._plan.warm_up)
        end = self._now
        self._judge(before, await self._rest("the end"), start, end)

    def _judge(self, before: Level, after: Level, start: float, end: float) -> None:
        part, window = self.part, self._plan.window
        part.cpu_seconds = self._process.cpu_seconds()
        part.changes, part.faults = self._load.made, self._weather.injected
        part.reconciles = int(self._process.condition["reconciles"])
        if errors := self._process.condition["errors"]:
            self._violated(f"{errors} errors of the operator's own")
        part.judge_rest(before, after)
        part.judge_growth(self._between(start, start + window), self._between(end - window, end), at_rest=False)

    def _between(self, start: float, end: float) -> list[Sample]:
        """Return the samples of a window; the nearest one if the run was too short for any."""
        samples = self.part.samples
        found = [sample for sample in samples if start <= sample.at <= end]
        return found or sorted(samples, key=lambda sample: abs(sample.at - start))[:1]

    async def _work(self, seconds: float) -> None:
        both = [asyncio.create_task(work) for work in (self._load.run(), self._weather.rage())]
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        for task in both:
            if not task.cancelled():
                task.result()

    async def _rest(self, after: str) -> Level:
        """Wait until everything is done, and idle connections closed; return what is held then."""
        await self._settled(after)
        await asyncio.sleep(self._plan.quiet)
        latest = self.part.samples[-_LOOKS:]
        return Level(await self._process.task_names(), max(one.connections for one in latest))

    async def _settled(self, after: str) -> None:
        deadline = self._now + _SETTLED_WITHIN
        while (unequal := await self._unequal()) and self._now < deadline:  # noqa: ASYNC110  # other processes
            await asyncio.sleep(1.0)
        for difference in unequal:
            self._violated(f"{_SETTLED_WITHIN:.0f} s after {after}: {difference}")

    async def _unequal(self) -> list[str]:
        condition = self._process.condition
        if not condition.get("leads"):
            return ["the operator does not lead"]
        if condition["queue"]:
            return [f"{condition['queue']} keys are queued"]
        cached = await self._process.cached()
        if cached is None:
            return ["the operator does not answer"]
        with suppress(ApiError, TransportError):
            return differences(cached, await self._load.states())
        return ["the server does not answer"]

    async def _sample(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(1.0)
            if not self._process.running:
                self._violated(f"the operator has ended: {self._process.last_line}")
                return
            number += 1
            sample = await self._process.sample(self._now, count=number % _COUNTED_EVERY == 0)
            if sample is not None:
                self.part.samples.append(sample)
                if number % 30 == 0:
                    self._report(sample)

    def _report(self, sample: Sample) -> None:
        self._tell(
            f"{sample.at:4.0f} s: {self._load.made:,} changes ({self._load.refused:,} refused), "
            f"{self._weather.injected.total()} faults, {sample.memory_mb:.1f} MB, {sample.tasks} tasks, "
            f"{sample.connections} sockets, {sample.queue} queued"
        )

    def _violated(self, what: str) -> None:
        self.part.violations.append(f"real: {what}")
        self._tell(f"VIOLATION: {what}")


@asynccontextmanager
async def _server(folder: Path) -> AsyncGenerator[tuple[Embedded, Client]]:
    clock = SystemClock()
    server = Embedded(folder, os.environ, clock)
    try:
        await server.open()
        transport = AiohttpTransport(
            Configuration.load(kubeconfig=server.kubeconfig, environ={}), clock=clock, max_requests=100
        )
        try:
            yield server, Client(transport, field_manager="soak", clock=clock, random=Randomness())
        finally:
            await transport.aclose()
    finally:
        await server.close()


async def run_real(plan: RealPlan, tell: Callable[[str], None], *, keep: Path | None = None) -> Part:
    """Run the real part; ``keep``: a folder for logs."""
    began = perf_counter()
    with tempfile.TemporaryDirectory(prefix="pyoperator-soak-") as temporary:
        folder = keep if keep is not None else Path(temporary)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with _server(folder) as (server, client), Link(address_of(server.kubeconfig)) as link:
            await define(client)
            tell(f"creating {plan.objects:,} objects")
            await seed(client, plan.objects)
            process = await Process.start(client, server.kubeconfig, link, folder, lasting=plan.seconds + 7200)
            try:
                await process.until_running(_START_WITHIN)
                run = _Run(
                    plan,
                    process,
                    RealLoad(client, plan.objects, plan.rate, Randomness(f"{plan.seed} changes")),
                    RealWeather(link, server, client, Randomness(f"{plan.seed} weather")),
                    tell,
                )
                await run.go()
            finally:
                code = await process.stop()
            if code:
                run.part.violations.append(f"real: the operator ended with code {code}: {process.last_line}")
            run.part.wall_seconds = perf_counter() - began
            return run.part
