"""A running lab: API server, replicas and watcher, started together and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, TypeVar

from pyoperator.client import AiohttpTransport, ApiError, Client, Configuration, ConfigurationError, TransportError
from pyoperator.clock import Randomness, SystemClock
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._folder import LabFolder, remove_abandoned
from pyoperator.testing.lab._install import apply_samples, install
from pyoperator.testing.lab._kubelet import Kubelet
from pyoperator.testing.lab._replica import start_replica
from pyoperator.testing.lab._server import start_server
from pyoperator.testing.lab._watcher import LabWatcher
from pyoperator.testing.lab._workload import install_nodes, install_workload, restart

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

    from pyoperator.clock import Clock
    from pyoperator.objects import ObjectKey, Unstructured
    from pyoperator.testing.lab._process import LabProcess
    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._replica import Replica
    from pyoperator.testing.lab._scale import Scale
    from pyoperator.testing.lab._snapshot import Snapshot

T = TypeVar("T")

_STARTED_WITHIN = 30.0
"""Seconds until the Deployment's pods must have their processes; it takes less than one."""
_REPLICA_PATIENCE = 8.0
"""Seconds that a replica has to stop by itself: a reconcile in flight, the release of the Lease."""
_SERVER_PATIENCE = 4.0
_USAGE = 2
"""The exit code of a wrong command line or configuration: starting the same again would end the same."""


class Lab:
    """``async with Lab(project, scale) as lab``: the server runs and holds CRDs, permissions and samples.

    Then :meth:`start_replicas`: they are pods of a Deployment, on nodes of the lab, so that all that kubectl can do to
    pods, nodes and Deployments reaches the processes. One that ends by itself is replaced after a second, by a new pod
    and a new user; one that ends with exit code 2 ends the lab, and so does the server (:meth:`watch_over`). Leaving
    stops replicas first (the leader last, so that nobody takes over for a moment), then the server, and removes the
    folder. ``tell`` hears of starts and ends, one line each.
    """

    def __init__(
        self,
        project: Project,
        scale: Scale,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        random: Randomness | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.project = project
        self.scale = scale
        self.samples: list[Unstructured] = []
        self.hurry: asyncio.Event = asyncio.Event()
        self.clock: Clock = clock if clock is not None else SystemClock()
        self._random = random if random is not None else Randomness()
        self._environ = os.environ if environ is None else environ
        self._tell = tell
        self._program: list[str] = []
        self._starts: list[Replica] = []
        self._current: dict[str, Replica] = {}
        self._deployment: ObjectKey | None = None
        self._rolling = False
        self._folder: LabFolder | None = None
        self._server: LabProcess | None = None
        self._transport: AiohttpTransport | None = None
        self._client: Client | None = None
        self._watcher: LabWatcher | None = None
        self._kubelet: Kubelet | None = None
        self._minders: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None] | None = None
        self._stopping = False

    # What it is made of.

    @property
    def folder(self) -> LabFolder:
        return _there(self._folder)

    @property
    def client(self) -> Client:
        """The administrator's client."""
        return _there(self._client)

    @property
    def watcher(self) -> LabWatcher:
        return _there(self._watcher)

    @property
    def kubeconfig(self) -> Path:
        return self.folder.kubeconfig

    @property
    def starts(self) -> tuple[Replica, ...]:
        """All process starts so far, oldest first."""
        return tuple(self._starts)

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The processes that pods have now, by node; one may just have ended by itself."""
        return tuple(self._shown())

    def snapshot(self) -> Snapshot:
        return self.watcher.snapshot()

    def leader(self) -> Replica | None:
        """Return the running process that the Lease names."""
        name = self.watcher.lease().leader
        return next((replica for replica in self._starts if replica.name == name and replica.process.running), None)

    # Life.

    async def __aenter__(self) -> Self:
        self._program = self.project.program()
        # Read now what is installed later: a mistake costs no start of a server.
        for what in ("crds", "rbac", "manager", "samples"):
            self.project.manifests(what)
        self._broken = asyncio.get_running_loop().create_future()
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _open(self) -> None:
        for path in await asyncio.to_thread(remove_abandoned):
            self._tell(f"removed {path}, which a killed lab had left behind")
        self._folder = LabFolder()
        self._server = await start_server(self._folder, environ=self._environ, clock=self.clock)
        self._own(self._mind_server(self._server), "the API server")
        try:
            configuration = Configuration.load(kubeconfig=self._folder.kubeconfig, environ={})
            self._transport = AiohttpTransport(configuration, clock=self.clock)
            self._client = Client(
                self._transport, field_manager="pyoperator-lab", clock=self.clock, random=self._random
            )
            await install(self._client, self.project)
            await install_nodes(self._client, self.project, self.scale.replicas)
            self.samples = await apply_samples(self._client, self.project)
        except (ApiError, TransportError, ConfigurationError) as error:
            raise LabError(f"the API server could not be set up: {error}") from error
        self._kubelet = Kubelet(
            self._client,
            self.project.lease.namespace,
            start=self._start_replica,
            stopping=self._terminate,
            ended=self._ended,
            gone=self._gone,
            failed=self._break,
        )
        self._watcher = LabWatcher(self._client, self.project, self._shown, self._kubelet.set_ready)
        self._own(self._watcher.run(), "watcher")
        self._own(self._kubelet.run(), "kubelet")
        await self._watcher.wait_synced()

    async def _close(self) -> None:
        self._stopping = True
        await self.stop_replicas()
        for task in self._minders:
            task.cancel()
        await asyncio.gather(*self._minders, return_exceptions=True)
        # One that the kubelet was starting when the others were stopped.
        await self._stop([replica for replica in self._starts if replica.process.running])
        if self._transport is not None:
            await self._transport.aclose()
        if self._server is not None:
            await self._server.stop(_SERVER_PATIENCE, self.hurry)
        if self._folder is not None:
            await asyncio.to_thread(self._folder.remove)
        if self._broken is not None and not self._broken.cancel():
            self._broken.exception()  # nobody may have asked; asyncio would complain

    def kill_all(self) -> None:
        """Let the stop go on without patience: every process that is left is killed."""
        self.hurry.set()

    async def watch_over(self, body: Coroutine[Any, Any, T]) -> T:
        """Run ``body`` to its end; raises LabError instead when the server or a replica makes going on pointless."""
        broken = _there(self._broken)
        task = asyncio.ensure_future(body)
        try:
            await asyncio.wait((task, broken), return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                broken.result()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, reached: Callable[[Snapshot], bool], within: float) -> bool:
        """Wait until ``reached(snapshot)``; False if it did not come true within that many seconds."""
        try:
            async with asyncio.timeout(within):
                while not reached(self.snapshot()):
                    await self.watcher.changed()
        except TimeoutError:
            return False
        return True

    # Replicas.

    async def start_replicas(self) -> None:
        """Create the Deployment, and wait until it has started its processes; raises LabError."""
        self._deployment = await install_workload(self.client, self.project, self.scale.replicas)
        await self.watch_over(self._wait_started())

    async def _wait_started(self) -> None:
        wanted = self.scale.replicas
        async with _deadline(_STARTED_WITHIN, f"{wanted} pods of the Deployment {self._deployment} were not started"):
            while len(self._starts) < wanted:
                await self.watcher.changed()

    async def roll(self) -> None:
        """Begin a rolling update of the Deployment; returns at once."""
        self._rolling = True
        await restart(self.client, _there(self._deployment))

    async def _start_replica(self, name: str, node: str) -> Replica:
        replica = await start_replica(
            name,
            node,
            program=self._program,
            project=self.project,
            scale=self.scale,
            folder=self.folder,
            environ=self._environ,
            clock=self.clock,
        )
        self._starts.append(replica)
        self._current[name] = replica
        self._tell(f"{name} started (pid {replica.process.pid})")
        self.watcher.notice()
        return replica

    def _terminate(self, replica: Replica) -> None:
        replica.terminate(rolling=self._rolling)
        leads = self.watcher.lease().leader == replica.name
        self._tell(f"SIGTERM to {'the leader ' if leads else ''}{replica.name}: its pod is deleted")
        self.watcher.notice()

    async def stop_replicas(self) -> None:
        """Stop all: followers first, so that none of them becomes leader for a moment; then the leader."""
        self._stopping = True
        if self._kubelet is not None:
            self._kubelet.close()
        leader = self.leader() if self._watcher is not None else None
        await self._stop([replica for replica in self._starts if replica is not leader])
        await self._stop([leader] if leader is not None else [])

    async def _stop(self, replicas: list[Replica]) -> None:
        await asyncio.gather(
            *(replica.process.stop(_REPLICA_PATIENCE, self.hurry) for replica in replicas), return_exceptions=True
        )
        for replica in replicas:
            replica.close()

    def _gone(self, name: str) -> None:
        self._current.pop(name, None)
        self.watcher.notice()

    def _ended(self, replica: Replica) -> None:
        replica.close()
        code = replica.process.code or 0
        self.watcher.notice()
        if self._stopping:
            return
        if code == _USAGE:
            self._break(LabError(f"{replica.name} refused to run (exit code 2): {replica.process.last_line()}"))
            return
        self._tell(f"{replica.name} ended ({describe_exit(code)})")

    async def _mind_server(self, server: LabProcess) -> None:
        code = await server.wait()
        if not self._stopping:
            self._break(
                LabError(f"the API server ended ({describe_exit(code)}): {server.last_line() or 'no last word'}")
            )

    def _break(self, error: BaseException) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"lab: {name}")
        self._minders.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._minders.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)

    def _shown(self) -> list[Replica]:
        """All that run, and those whose end their pods still tell of."""
        return sorted(self._current.values(), key=lambda replica: (replica.node, replica.started_at))

    def __repr__(self) -> str:
        running = sum(replica.process.running for replica in self._starts)
        return f"<Lab of {self.project.name}, {running} replicas running>"


def describe_exit(code: int) -> str:
    """Say how a process ended: ``exit code 1``, ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def not_covered() -> str:
    """Say what this platform lacks; "" on Linux."""
    if sys.platform == "linux":
        return ""
    return "note: on this system the replicas and the server live on if this launcher is killed by SIGKILL"


def _there(part: T | None) -> T:
    if part is None:
        raise RuntimeError("the lab is not running: enter it with 'async with' first")
    return part


@contextlib.asynccontextmanager
async def _deadline(within: float, what: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(within):
            yield
    except TimeoutError:
        raise LabError(f"{what} within {within:.0f} s: look at kubectl get events, pods and nodes") from None
