"""A process that is none: one start of a replica on a shared virtual loop, which can be killed, stopped and cut off.

Tasks belong to the process whose task made them (a context variable tells); what has been sent belongs to the network.
"""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import User
from pyoperator.client import LeadershipLost, OpenGate, is_mutating
from pyoperator.clock import LoopClock, Randomness, VirtualTimeLoop
from pyoperator.manager import StopTimedOut
from pyoperator.testing._faults import FaultyTransport
from pyoperator.testing._in_process import InProcessTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from pyoperator.apiserver import APIServer
    from pyoperator.client import Gate, Query, Response, StreamResponse
    from pyoperator.manager import Manager
    from pyoperator.testing._faults import Faults

_PASSES = 1000  # turns of the loop in which a killed process must have ended

_owner: contextvars.ContextVar[SimulatedProcess | None] = contextvars.ContextVar("pyoperator_process", default=None)


class SimulationError(AssertionError):
    """The simulation found something that no run may contain: a leaked task, an exception that nobody looked at."""


class SimulationLoop(VirtualTimeLoop):
    """A virtual loop that knows whose each task is, and can stop a process between two of its steps, as SIGSTOP does."""

    def __init__(self) -> None:
        self._held: dict[SimulatedProcess, list[asyncio.Handle]] = {}
        super().__init__()

    def call_soon(  # type: ignore[override]  # typeshed ties the arguments to the callback's; nothing here looks at them
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if self._held:
            process = _owner.get() if context is None else context.get(_owner)
            held = None if process is None else self._held.get(process)
            if held is not None:
                handle = asyncio.Handle(callback, args, self, context)
                held.append(handle)
                return handle
        return super().call_soon(callback, *args, context=context)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> asyncio.Task[Any]:
        task = super()._make_task(loop, coro, **kwargs)
        context = kwargs.get("context")
        task.owner = _owner.get() if context is None else context.get(_owner)  # type: ignore[attr-defined]
        return task

    def freeze(self, process: SimulatedProcess) -> None:
        """Run no further step of a process; its timers go on, and what they wake waits."""
        self._held.setdefault(process, [])

    def thaw(self, process: SimulatedProcess) -> None:
        """Let a process go on, with everything that came meanwhile, in order."""
        for handle in self._held.pop(process, ()):
            if not handle.cancelled():
                super().call_soon(handle._run)

    def tasks_of(self, process: SimulatedProcess | None) -> list[asyncio.Task[Any]]:
        """Return the tasks of a process that have not ended, oldest first."""
        found = (task for task in asyncio.all_tasks(self) if getattr(task, "owner", None) is process)
        return sorted(found, key=hash)


class SimulatedProcess:
    """One start of a replica, with a user of its own at the server.

    ``transport`` is the transport factory for its Manager, ``clock``, ``random`` and ``user`` (as identity) the rest of
    what it needs. ``network`` carries all its requests: put ``faults`` there. ``ended`` says how it ended: "" while it
    runs, "clean", "killed", "lost", "stop timed out" or "failed"; ``error`` what was raised.
    """

    def __init__(
        self,
        server: APIServer,
        user: str,
        *,
        seed: str,
        faults: Faults,
        partitioned: bool,
        clock_rate: float,
        clock_offset: float,
        carry: Callable[[Coroutine[Any, Any, Response]], asyncio.Task[Response]],
        build: Callable[[SimulatedProcess], Manager],
    ) -> None:
        self.user = user
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SimulationLoop):
            raise TypeError("a simulated process needs a SimulationLoop: start it inside run_simulation()")
        self.loop = loop
        self.clock: LoopClock = LoopClock(loop, rate=clock_rate, offset=clock_offset)
        self.random: Randomness = Randomness(f"{seed} {user}")
        self.network: FaultyTransport = FaultyTransport(
            InProcessTransport(server, credential=User(user, groups=("system:masters",))),
            random=Randomness(f"{seed} {user} network"),
            faults=faults,
        )
        self.network.partitioned = partitioned
        self.ended: str = ""
        self.error: BaseException | None = None
        self.killed_at: float | None = None
        self.terminated_at: float | None = None
        self._carry = carry
        self._context = contextvars.Context()
        self._context.run(_owner.set, self)
        self.manager: Manager = self._context.run(build, self)
        self._task = loop.create_task(self._main(), name=f"process {user}", context=self._context)

    def transport(self, gate: Gate | None = None) -> SimulatedTransport:
        """Make a transport behind ``gate``: hand this method to the Manager as its ``transport_factory``."""
        return SimulatedTransport(self, OpenGate() if gate is None else gate)

    @property
    def leads(self) -> bool:
        """Whether its leader-only runnables run."""
        return not self.ended and self.manager.elected.is_set()

    def terminate(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        if self.terminated_at is None and not self.ended:
            self.terminated_at = self.loop.time()
            self.loop.call_soon(self.manager.stop, "SIGTERM", context=self._context)

    async def wait(self) -> None:
        """Wait until it has ended."""
        if not self._task.done():
            await asyncio.wait([self._task])

    async def kill(self) -> None:
        """End it as SIGKILL does: from this instant on it sends nothing; what it had sent is carried out."""
        if not self.ended:
            self.ended, self.killed_at = "killed", self.loop.time()
        self.loop.thaw(self)  # what never runs again could not be cleaned up
        for _ in range(_PASSES):
            tasks = self.loop.tasks_of(self)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.exception()  # a dead process complains to nobody
        raise SimulationError(f"{self.user} survived being killed: {self.loop.tasks_of(self)}")

    async def alive(self) -> None:
        """Hold up whoever is still running in a process that is dead."""
        if self.ended:
            await self.loop.create_future()

    def send(self, request: Coroutine[Any, Any, Response]) -> asyncio.Task[Response]:
        """Give a request to the network; neither cancellation nor the end of the process takes it back."""
        return self._carry(request)

    async def _main(self) -> None:
        try:
            await self.manager.start()
        except asyncio.CancelledError:
            return
        except StopTimedOut as error:
            self._end("stop timed out", error)
        except LeadershipLost as error:
            self._end("lost", error)
        except Exception as error:
            self._end("failed", error)
        else:
            self._end("clean", None)

    def _end(self, how: str, error: BaseException | None) -> None:
        if not self.ended:
            self.ended, self.error = how, error

    def __repr__(self) -> str:
        return f"<SimulatedProcess {self.user} {self.ended or 'running'}>"


class SimulatedTransport:
    """The way out of a simulated process: the gate first, then the network, which is out of the process's hands."""

    in_process = True

    def __init__(self, process: SimulatedProcess, gate: Gate) -> None:
        self._process = process
        self._gate = gate

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        """See Transport.request."""
        await asyncio.sleep(0)
        await self._process.alive()
        if is_mutating(method, path):
            bound = self._gate.admit(method, path)
            timeout = timeout if bound is None else min(timeout, bound)
        # No step of anybody's lies between the gate and this line: it is the write to the socket.
        sent = self._process.send(
            self._process.network.request(method, path, query=query, body=body, headers=headers, timeout=timeout)
        )
        await asyncio.wait([sent])
        return sent.result()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AsyncIterator[StreamResponse]:
        """See Transport.stream."""
        await self._process.alive()
        async with self._process.network.stream(
            method, path, query=query, headers=headers, connect_timeout=connect_timeout, idle_timeout=idle_timeout
        ) as response:
            yield response

    async def aclose(self) -> None:
        """Do nothing: the network is there for other transports of the process, and after it."""

    def __repr__(self) -> str:
        return f"<SimulatedTransport of {self._process.user}>"
