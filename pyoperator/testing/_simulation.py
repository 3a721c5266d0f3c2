"""Several replicas of an operator, the embedded server and its controllers, in one place where time is virtual.

A run is decided by its seed: two runs of one seed make the same requests at the same instants and leave the same store.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pyoperator.apiserver import APIServer, AuditLog, Controllers, ServerOptions
from pyoperator.client import Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.testing._faults import Faults
from pyoperator.testing._in_process import InProcessTransport
from pyoperator.testing._judge import ProcessStart, Verdict, judge
from pyoperator.testing._recording_server import Exchange, RecordingServer, masked
from pyoperator.testing._simulated_process import SimulatedProcess, SimulationError, SimulationLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.client import Response
    from pyoperator.manager import Manager

T = TypeVar("T")

LOCAL_NETWORK = Faults(latency=(0.0002, 0.002), answer_latency=(0.0002, 0.002))
"""A network without faults, in which messages take time: two things never happen at one instant by accident."""

_TOLD = 0.05  # seconds between the end of a process and the look at what it has left behind


class Replica:
    """One place in the Deployment: at most one process at a time, each start with a user ``<name>.<count>``.

    ``faults``, ``clock_rate`` and ``clock_offset`` (seconds) belong to the machine: they hold for later starts as well.
    """

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.name = name
        self.clock_rate: float = 1.0
        self.clock_offset: float = 0.0
        self.starts: list[SimulatedProcess] = []
        self._simulation = simulation
        self._faults = LOCAL_NETWORK
        self._partitioned = False
        self._wanted = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def process(self) -> SimulatedProcess:
        """The latest process; IndexError before the first start."""
        return self.starts[-1]

    @property
    def running(self) -> bool:
        return bool(self.starts) and not self.process.ended

    @property
    def leads(self) -> bool:
        """Whether leader-only runnables run here (a process that is cut off may believe so for a while)."""
        return self.running and self.process.leads

    @property
    def manager(self) -> Manager:
        return self.process.manager

    @property
    def faults(self) -> Faults:
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        if self.starts:
            self.process.network.faults = faults

    def start(self) -> SimulatedProcess:
        """Start a process, unless one is running."""
        if self.running:
            return self.process
        self._wanted = True
        process = self._simulation._launch(self, self._partitioned)
        self.starts.append(process)
        self._keeper = self._simulation._own(self._keep(process), f"keeper of {process.user}")
        return process

    async def crash(self) -> None:
        """Kill the process without notice, and leave it dead."""
        self._wanted = False
        if self.running:
            await self.process.kill()
        await self._end_keeper()

    def terminate(self) -> None:
        """Ask the process to stop, as SIGTERM does, and don't start another; returns at once."""
        self._wanted = False
        if self.running:
            self.process.terminate()

    async def stop(self) -> SimulatedProcess:
        """Terminate, and wait for the end, however long that takes."""
        self.terminate()
        await self.process.wait()
        await self._end_keeper()
        return self.process

    def partition(self) -> None:
        """Cut the machine off: nothing arrives, nothing comes back, no connection breaks."""
        self._partitioned = True
        if self.starts:
            self.process.network.partitioned = True

    def heal(self) -> None:
        """Undo ``partition``; what was lost stays lost."""
        self._partitioned = False
        if self.starts:
            self.process.network.partitioned = False

    def freeze(self) -> None:
        """Stop the process as SIGSTOP does; its clock goes on, what it has sent arrives."""
        if self.running:
            self.process.loop.freeze(self.process)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        if self.starts:
            self.process.loop.thaw(self.process)

    async def _keep(self, process: SimulatedProcess) -> None:
        """Look at what a process leaves behind, and start the next one as a kubelet would."""
        await process.wait()
        await asyncio.sleep(_TOLD)
        left = process.loop.tasks_of(process)
        if left:
            # Something hung, and the process said so: exiting ended it. Anything else is a leak.
            hung = process.ended == "stop timed out" or bool(getattr(process.error, "__notes__", None))
            if process.ended != "killed" and not hung:
                self._simulation.complaints.append(f"{process!r} left tasks behind: {left}")
            await process.kill()
        pause = self._simulation.restart_after
        if self._wanted and pause is not None:
            await asyncio.sleep(pause)
            if self._wanted:
                self.start()

    async def _end_keeper(self) -> None:
        keeper = self._keeper
        if keeper is not None and keeper is not asyncio.current_task():
            await asyncio.wait([keeper])

    def __repr__(self) -> str:
        return f"<Replica {self.name} {self.process if self.starts else 'not started'}>"


class Simulation:
    """The whole stage; made by :func:`run_simulation`.

    ``client`` has all rights. ``random`` is for the scenario's own choices. ``restart_after``: seconds after which a
    process that ended by itself is started again, None: never. ``complaints``: what no run may contain; they fail it.
    """

    def __init__(
        self,
        build: Callable[[SimulatedProcess], Manager],
        *,
        seed: int = 0,
        replicas: int = 3,
        simulate_workloads: bool = False,
        restart_after: float | None = None,
    ) -> None:
        self.seed = seed
        self.build = build
        self.restart_after = restart_after
        self.complaints: list[str] = []
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.clock: LoopClock = LoopClock(self.loop)
        self.random: Randomness = Randomness(f"{seed} scenario")
        self.audit: AuditLog = AuditLog()
        self._server = RecordingServer(
            clock=self.clock, random=Randomness(f"{seed} server"), options=ServerOptions(audit=self.audit)
        )
        self._controllers = Controllers(
            self._server.system, self.clock, Randomness(f"{seed} controllers"), simulate_workloads=simulate_workloads
        )
        self.client: Client = Client(
            InProcessTransport(self._server), clock=self.clock, random=Randomness(f"{seed} administrator")
        )
        self.replicas: list[Replica] = [Replica(self, f"replica-{number}") for number in range(replicas)]
        self._tasks: dict[asyncio.Task[Any], None] = {}

    @property
    def server(self) -> APIServer:
        return self._server

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests so far, in the order in which the server carried them out."""
        return self._server.exchanges

    @property
    def leader(self) -> Replica | None:
        """The replica that works; of two that believe to (one cut off), the one that got the Lease last."""
        leading = [replica for replica in self.replicas if replica.leads]
        return max(leading, key=lambda replica: replica.manager.leadership.token, default=None)

    async def run(self, scenario: Callable[[Simulation], Coroutine[Any, Any, T]]) -> T:
        """Run controllers and scenario, then kill whatever is left. Replicas are started by the scenario."""
        controllers = self._own(self._controllers.run(), "controllers")
        try:
            return await scenario(self)
        finally:
            for replica in self.replicas:
                await replica.crash()
            controllers.cancel()
            for task in list(self._tasks):
                task.cancel()
                await asyncio.wait([task])

    async def start(self) -> Replica:
        """Start all replicas; return the one that leads, once one does."""
        for replica in self.replicas:
            replica.start()
        return await self.elected()

    async def elected(self, *, other_than: Replica | None = None, within: float = 120.0) -> Replica:
        """Wait for a leader (other than some replica) and return it. Looks every millisecond."""

        def found() -> bool:
            return self.leader is not None and self.leader is not other_than

        await self.until(found, "a leader", within=within, every=0.001)
        leader = self.leader
        assert leader is not None  # noqa: S101 - just waited for
        return leader

    async def until(self, condition: Callable[[], bool], what: str, *, within: float, every: float = 0.05) -> None:
        """Wait for a condition; raises SimulationError with ``what`` after ``within`` virtual seconds."""
        deadline = self.loop.time() + within
        while not condition():
            if self.loop.time() >= deadline:
                raise SimulationError(f"waited {within:g} s in vain for {what}")
            await asyncio.sleep(every)

    def processes(self) -> list[ProcessStart]:
        """Return all starts so far, as the judge wants them."""

        def wall(instant: float | None) -> float | None:
            return None if instant is None else self.clock.epoch + instant

        return [
            ProcessStart(
                process.user, process.user, killed_at=wall(process.killed_at), terminated_at=wall(process.terminated_at)
            )
            for replica in self.replicas
            for process in replica.starts
        ]

    def judge(self, lease_namespace: str, lease_name: str, **options: Any) -> Verdict:
        """Judge the run so far by the audit log; options as for ``pyoperator.testing.judge``."""
        return judge(
            self.audit.events(),
            lease_namespace=lease_namespace,
            lease_name=lease_name,
            processes=self.processes(),
            **options,
        )

    def final_store(self) -> list[dict[str, Any]]:
        """Return every object on the server, in order of kind, namespace and name, values of Secrets masked."""
        found: list[dict[str, Any]] = []
        for gvk, _ in sorted(self._server.system.kinds()):
            objects = [masked(obj) if gvk.kind == "Secret" else obj for obj in self._server.system.list(gvk)]
            found += sorted(objects, key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        return found

    def fingerprint(self) -> str:
        """Return one hash of all exchanges and of the final store: equal for two runs of one seed."""
        text = msgspec.json.encode([self.exchanges, self.final_store()], order="deterministic")
        return hashlib.sha256(text).hexdigest()

    def _launch(self, replica: Replica, partitioned: bool) -> SimulatedProcess:
        return SimulatedProcess(
            self._server,
            f"{replica.name}.{len(replica.starts) + 1}",
            seed=str(self.seed),
            faults=replica.faults,
            partitioned=partitioned,
            clock_rate=replica.clock_rate,
            clock_offset=replica.clock_offset,
            carry=self._carry,
            build=self.build,
        )

    def _own(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        # A context of its own: whoever asks for it may be a process, whose end must not be the end of this.
        task: asyncio.Task[T] = self.loop.create_task(work, name=name, context=contextvars.Context())
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _carry(self, request: Coroutine[Any, Any, Response]) -> asyncio.Task[Response]:
        task: asyncio.Task[Response] = self.loop.create_task(request, name="request", context=contextvars.Context())
        self._tasks[task] = None
        task.add_done_callback(self._delivered)
        return task

    def _delivered(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear it

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.complaints.append(f"{task.get_name()} failed: {error!r}")

    def __repr__(self) -> str:
        return f"<Simulation seed={self.seed} {self.replicas}>"


def run_simulation(
    scenario: Callable[[Simulation], Coroutine[Any, Any, T]],
    build: Callable[[SimulatedProcess], Manager],
    *,
    seed: int = 0,
    replicas: int = 3,
    simulate_workloads: bool = False,
    restart_after: float | None = None,
) -> T:
    """Run a scenario on a virtual loop of its own and return its result.

    ``build(process)`` makes one replica's Manager, with at least ``transport_factory=process.transport``,
    ``clock=process.clock``, ``random=process.random``, ``identity=process.user``. Raises SimulationError if a process
    that stopped left tasks behind, if an exception was never looked at, or if anything is left at the end.
    """
    complaints: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"{context.get('message')}: {context.get('exception')!r} {context.get('task') or ''}")

    async def main() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(note)
        simulation = Simulation(
            build,
            seed=seed,
            replicas=replicas,
            simulate_workloads=simulate_workloads,
            restart_after=restart_after,
        )
        result = await simulation.run(scenario)
        complaints.extend(simulation.complaints)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        complaints.extend(f"left at the end: {task!r}" for task in sorted(left, key=hash))
        return result

    with asyncio.Runner(loop_factory=SimulationLoop) as runner:
        result = runner.run(main())
        gc.collect()  # an exception that nobody retrieved is reported when its task goes
    if complaints:
        raise SimulationError("; ".join(complaints))
    return result
