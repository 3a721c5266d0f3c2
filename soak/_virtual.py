"""The virtual part: hours of changes and faults, each ending in quiet, in which everything is looked at."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final

from benchmarks._load import define
from benchmarks._measurement import memory_megabytes, settle
from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.client import Client, MergePatch
from pyoperator.clock import LoopClock, Randomness
from pyoperator.testing import LOCAL_NETWORK, InProcessTransport, SimulatedProcess
from pyoperator.testing._simulated_process import SimulationLoop
from soak._judge import Level, Part, Sample, differences, leaks
from soak._operator import LEASE, LEASE_KEY, Observer, build, task_names
from soak._stored_changes import StoredChanges
from soak._virtual_weather import VirtualWeather

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.client import Response
    from pyoperator.controller import Reconciler
    from pyoperator.manager import Manager
    from pyoperator.testing import Faults
    from soak._operator import Operator

_LIMIT: Final = 5.0
_HISTORY: Final = 2000
"""Changes the server remembers: its own memory is full, and stays what it is, before the warm-up ends."""
_REST: Final = 420.0
"""Seconds at the end of a round: a silent stream, the longest backoff and a lease that expires may follow each other."""
_SETTLED_WITHIN: Final = 300.0
_ELECTED_WITHIN: Final = 300.0
_TOLD: Final = 0.05
_TERMS: Final = {"lease_duration": 60.0, "renew_deadline": 40.0, "retry_period": 10.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualPlan:
    """``hours`` of virtual time in which ``updates`` changes are made to ``objects`` objects."""

    hours: float = 24.0
    updates: int = 1_000_000
    objects: int = 2000
    seed: int = 1
    limit: float = _LIMIT

    @property
    def rounds(self) -> int:
        return max(4, round(self.hours))

    @property
    def round_seconds(self) -> float:
        return self.hours * 3600.0 / self.rounds

    @property
    def warm_up(self) -> int:
        """Rounds that memory is not judged by."""
        return max(1, self.rounds // 12)

    @property
    def window(self) -> int:
        """Rounds whose median is taken, at the begin and at the end."""
        return max(1, min(3, (self.rounds - self.warm_up) // 2))


class Day:
    """The stage of the virtual part: server, load, weather, and two processes of the operator.

    The *resident* lives all day: what it hoards, it keeps. *Guests* come, take the lease, and end after some minutes.
    """

    def __init__(self, plan: VirtualPlan, reconciler: Callable[[Manager], Reconciler], tell: Callable[[str], None]):
        self.plan = plan
        self.part = Part("virtual", plan.hours * 3600.0, plan.objects, plan.limit)
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SimulationLoop):
            raise TypeError("a day needs a SimulationLoop: use run_virtual()")
        self.loop = loop
        clock = LoopClock(loop)
        self.server = APIServer(
            clock=clock, random=Randomness(f"{plan.seed} server"), options=ServerOptions(history=_HISTORY)
        )
        self.client = Client(InProcessTransport(self.server), clock=clock, random=Randomness(f"{plan.seed} client"))
        self.changes = StoredChanges(self.server, self.client, plan.objects, Randomness(f"{plan.seed} changes"))
        self.weather = VirtualWeather(self, Randomness(f"{plan.seed} weather"))
        self._random = Randomness(f"{plan.seed} pace")
        self._reconciler = reconciler
        self._tell = tell
        self._starts = 0
        self._reconciles = 0
        self._network = LOCAL_NETWORK
        self._cut_off = False
        self._requests: dict[asyncio.Task[Response], None] = {}
        self._levels: list[Level] = []
        self._guest: SimulatedProcess | None = None
        self._resident, self._operator = self._launch()

    # The operator's processes.

    def _launch(self) -> tuple[SimulatedProcess, Operator]:
        self._starts += 1
        built: list[Operator] = []

        def make(process: SimulatedProcess) -> Manager:
            built.append(
                build(
                    self._reconciler,
                    transport_factory=process.transport,
                    clock=process.clock,
                    random=process.random,
                    identity=process.user,
                    **_TERMS,
                )
            )
            return built[0].manager

        process = SimulatedProcess(
            self.server,
            f"operator.{self._starts}",
            seed=str(self.plan.seed),
            faults=self._network,
            partitioned=self._cut_off,
            clock_rate=1.0,
            clock_offset=0.0,
            carry=self._carry,
            build=make,
        )
        return process, built[0]

    def _carry(self, request: Coroutine[Any, Any, Response]) -> asyncio.Task[Response]:
        task = self.loop.create_task(request, name="request")
        self._requests[task] = None
        task.add_done_callback(self._delivered)
        return task

    def _delivered(self, task: asyncio.Task[Response]) -> None:
        self._requests.pop(task, None)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear it

    async def hand_over(self) -> None:
        """Let a guest lead for some minutes and give the lease back."""
        guest, operator = await self._receive()
        guest.terminate()
        await guest.wait()
        await self._see_off(guest, operator)

    async def crash(self) -> None:
        """Let a guest lead for some minutes and die without notice."""
        guest, operator = await self._receive()
        await guest.kill()
        await self._see_off(guest, operator)

    async def _receive(self) -> tuple[SimulatedProcess, Operator]:
        self._guest, operator = guest, _ = self._launch()
        await asyncio.sleep(10.0)  # it has synced by then
        # As if the leader had given it back: whoever waits for it takes it, and that is the guest.
        await self.client.patch(LEASE, LEASE_KEY, MergePatch({"spec": {"holderIdentity": ""}}))
        await asyncio.sleep(self._random.uniform(30.0, 300.0))
        return guest, operator

    async def _see_off(self, guest: SimulatedProcess, operator: Operator) -> None:
        self._guest = None
        await asyncio.sleep(_TOLD)
        left = self.loop.tasks_of(guest)
        if left or guest.ended not in {"clean", "killed"}:
            self._violated(f"{guest!r} ({guest.error!r}) left {len(left)} tasks behind: {left[:3]}")
        self._note_end(operator)
        async with asyncio.timeout(_ELECTED_WITHIN):
            await self._operator.manager.elected.wait()

    def _note_end(self, operator: Operator) -> None:
        condition = operator.condition()
        self._reconciles += condition.reconciles
        if condition.errors:
            self._violated(f"{condition.errors} errors of the operator's own: {operator.controller.status()}")

    # What the weather does.

    def set_network(self, faults: Faults) -> None:
        self._network = faults
        for process in self._processes():
            process.network.faults = faults

    def partition(self, cut_off: bool) -> None:
        self._cut_off = cut_off
        for process in self._processes():
            process.network.partitioned = cut_off

    def _processes(self) -> list[SimulatedProcess]:
        return [self._resident] if self._guest is None else [self._resident, self._guest]

    # The day.

    async def live(self) -> None:
        """Go through all rounds; then end the operator and look at what is left."""
        began, cpu = perf_counter(), process_time()
        await define(self.client)
        await self.changes.create_all()
        for number in range(self.plan.rounds):
            end = (number + 1) * self.plan.round_seconds
            quota = self.plan.updates * (number + 1) // self.plan.rounds
            await self._work(end - min(_REST, self.plan.round_seconds / 2), quota)
            await self._rest(number)
            sample = self.part.samples[-1]
            self._tell(
                f"hour {self.loop.time() / 3600.0:5.2f}: {self.changes.made:,} changes, "
                f"{sum(self.weather.injected.values())} faults, {self._starts - 1} guests, {sample.memory_mb:.1f} MB, "
                f"{sample.tracked:,} Python objects, {sample.tasks} tasks, {sample.connections} watches, "
                f"{perf_counter() - began:.0f} s"
            )
            await asyncio.sleep(max(0.0, end - self.loop.time()))
        await self._end()
        self._judge()
        self.part.wall_seconds, self.part.cpu_seconds = perf_counter() - began, process_time() - cpu

    async def _work(self, end: float, quota: int) -> None:
        """Make changes until there are ``quota`` of them, evenly until ``end``, under faults."""
        weather = self.loop.create_task(self.weather.rage())
        try:
            pause = (end - self.loop.time()) / max(1, quota - self.changes.made)
            while self.changes.made < quota:
                before = self.changes.made
                await self.changes.burst(quota - before)
                lasts = pause * (self.changes.made - before)
                await asyncio.sleep(self._random.uniform(0.0, 2.0 * lasts) if self.loop.time() < end else 0.0)
        finally:
            weather.cancel()
            await asyncio.wait([weather])
        if not weather.cancelled() and (error := weather.exception()) is not None:
            raise error

    async def _rest(self, number: int) -> None:
        """Let everything come to rest and look at it."""
        deadline = self.loop.time() + _SETTLED_WITHIN
        while (unequal := self._unequal()) and self.loop.time() < deadline:  # noqa: ASYNC110  # as an onlooker
            await asyncio.sleep(5.0)
        for difference in unequal:
            self._violated(f"round {number + 1}: after {_SETTLED_WITHIN:.0f} s of rest: {difference}")
        await asyncio.sleep(30.0)
        settle()
        self._levels.append(Level(task_names(), self.server.store.watchers))
        self.part.samples.append(
            Sample(
                at=self.loop.time(),
                memory_mb=memory_megabytes("VmRSS"),
                tasks=len(asyncio.all_tasks()),
                connections=self.server.store.watchers,
                queue=self._operator.condition().queue,
                tracked=len(gc.get_objects()),
            )
        )

    def _unequal(self) -> list[str]:
        condition = self._operator.condition()
        if not condition.leads:
            return ["nobody leads"]
        if condition.queue:
            return [f"{condition.queue} keys are queued"]
        return differences(self._operator.cached(), self.changes.states())

    async def _end(self) -> None:
        self._resident.terminate()
        await self._resident.wait()
        await asyncio.sleep(_TOLD)
        self._note_end(self._operator)
        if self._resident.ended != "clean":
            self._violated(f"the operator's end was not clean: {self._resident!r} {self._resident.error!r}")
        left = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=hash)
        if left:
            self._violated(f"{len(left)} tasks are left after the end: {left[:3]}")
        if self.server.store.watchers:
            self._violated(f"{self.server.store.watchers} watches are left after the end")

    def _judge(self) -> None:
        plan, part = self.plan, self.part
        part.changes = self.changes.made
        part.reconciles = self._reconciles
        part.faults = self.weather.injected
        judged = part.samples[plan.warm_up :]
        part.judge_growth(judged[: plan.window], judged[-plan.window :], at_rest=True)
        levels = self._levels[plan.warm_up :]
        part.judge_rest(levels[0], levels[-1])
        for number, level in enumerate(levels[1:-1], plan.warm_up + 2):
            part.violations += leaks(f"virtual, round {number}", levels[0], level)

    def _violated(self, what: str) -> None:
        self.part.violations.append(f"virtual: {what}")
        self._tell(f"VIOLATION: {what}")


def run_virtual(
    plan: VirtualPlan,
    tell: Callable[[str], None],
    *,
    reconciler: Callable[[Manager], Reconciler] = Observer,
) -> Part:
    """Run the virtual part on a loop of its own; ``reconciler`` makes what the operator does."""
    complaints: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"virtual: {context.get('message')}: {context.get('exception')!r}")

    async def main() -> Part:
        asyncio.get_running_loop().set_exception_handler(note)
        day = Day(plan, reconciler, tell)
        await day.live()
        return day.part

    with asyncio.Runner(loop_factory=SimulationLoop) as runner:
        part = runner.run(main())
    part.violations += complaints
    return part
