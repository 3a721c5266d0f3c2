"""The replicas: started with a user and a link each, probed, started again when they end, rolled."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from chaos._kubeconfigs import write_kubeconfig
from chaos._links import Link
from chaos._servers import address_of
from pyoperator.client import ApiError, TransportError
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.testing._judge import ProcessStart
from pyoperator.testing.lab._environment import clean_environment
from pyoperator.testing.lab._ports import ReservedPort
from pyoperator.testing.lab._process import LabProcess
from pyoperator.testing.lab._replica import replica_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyoperator.client import Client
    from pyoperator.clock import Clock
    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._scale import Scale

ACCOUNTS = "chaos-replicas"
"""Namespace of the replicas' service accounts; all of them have the operator's roles."""

_RESTART_AFTER = 0.5
_PROBE_TIMEOUT = 1.0  # the kubelet's default
_SPARE_USERS = 6
_PATIENCE = 30.0


class Probe(NamedTuple):
    """A probe that failed although its process had been ready and nobody had done anything to it."""

    at: float
    replica: str
    path: str
    answer: str


@dataclass(slots=True, eq=False)
class Member:
    """One start of one replica. Times are Unix seconds; ``meddled`` says that a fault was aimed at this process."""

    name: str
    user: str
    slot: int
    process: LabProcess
    ports: tuple[ReservedPort, ReservedPort]
    link: Link | None
    started_at: float
    ready: bool = False
    frozen: bool = False
    meddled: bool = False
    stopping: bool = False
    rolling: bool = False
    killed_at: float | None = None
    terminated_at: float | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    became_ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def running(self) -> bool:
        return self.process.running

    @property
    def start(self) -> ProcessStart:
        """What the judge has to know."""
        return ProcessStart(self.user, self.name, self.killed_at, self.terminated_at, self.rolling)

    def kill(self) -> None:
        self.meddled = True
        self.killed_at = self.process.signal(signal.SIGKILL)

    def terminate(self, *, rolling: bool = False) -> None:
        self.rolling = rolling
        self.terminated_at = self.process.signal(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.meddled = self.frozen = True
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen = False
        self.process.signal(signal.SIGCONT)


class Fleet:
    """``wanted`` replicas in slots; one that ends by itself, or is killed, is started again after half a second.

    ``program`` and ``variables`` (environment) are those of the next starts. ``linked``: with a link to the API
    server for each; ``probe_every``: seconds between two probes of a replica. :meth:`run` must run: it makes users, probes, and starts again.
    """

    def __init__(
        self,
        client: Client,
        project: Project,
        scale: Scale,
        *,
        namespace: str,
        folder: Path,
        kubeconfig: Path,
        environ: Mapping[str, str],
        clock: Clock,
        linked: bool,
        program: list[str] | None = None,
    ) -> None:
        self.program = program or project.program()
        self.variables: dict[str, str] = {}
        self.wanted = 0
        self.members: list[Member] = []
        self.failed_probes: list[Probe] = []
        self.probes = 0
        self.probe_every = 0.25
        self._client = client
        self._project = project
        self._scale = scale
        self._namespace = namespace
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._environ = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._clock = clock
        self._linked = linked
        self._users: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_SPARE_USERS)
        self._number = 0
        self._minders: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def running(self) -> list[Member]:
        return [member for member in self.members if member.running]

    @property
    def ready(self) -> list[Member]:
        return [member for member in self.running if member.ready and not member.stopping and not member.frozen]

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._make_users())
            group.create_task(self._probe_all())

    async def scale(self, wanted: int) -> None:
        """Bring the number of replicas to ``wanted``: new ones are started at once, surplus ones get SIGTERM."""
        self.wanted = wanted
        taken = {member.slot for member in self.running if not member.stopping}
        await asyncio.gather(*(self.start(slot) for slot in range(wanted) if slot not in taken))
        surplus = [member for member in self.running if member.slot >= wanted]
        for member in surplus:
            member.stopping = True
            member.terminate()
        for member in surplus:
            await member.gone.wait()

    async def start(self, slot: int) -> Member:
        """Start a process in a slot."""
        user, token = await self._users.get()
        name = user.rpartition(":")[2]
        link = Link(address_of(self._kubeconfig)) if self._linked else None
        if link is not None:
            await link.open()
        ports = ReservedPort(), ReservedPort()
        kubeconfig = write_kubeconfig(self._folder / f"{name}.kubeconfig", self._kubeconfig, token, link)
        command = replica_command(
            self.program,
            self._project,
            self._scale,
            kubeconfig=kubeconfig,
            metrics=ports[0].address,
            probes=ports[1].address,
        )
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        process = await LabProcess.start(
            name,
            [*command, f"--namespace={self._namespace}"],
            environment=clean_environment(self._environ, home, POD_NAME=name, **self.variables),
            folder=self._folder,
            log=self._folder / f"{name}.log",
            clock=self._clock,
        )
        member = Member(name, user, slot, process, ports, link, self._clock.wall())
        self.members.append(member)
        self._minders.append(asyncio.create_task(self._mind(member), name=f"chaos: {name}"))
        return member

    async def roll(self, within: float) -> bool:
        """Replace all, one after the other, each by one that is ready; tell whether that worked in time."""
        try:
            async with asyncio.timeout(within):
                for old in sorted(self.running, key=lambda member: member.slot):
                    new = await self.start(old.slot)
                    await new.became_ready.wait()
                    old.stopping = True
                    old.terminate(rolling=True)
                    await old.gone.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop all, and start none any more; raises what made a start fail."""
        self._closed = True
        # A minder may be starting the next one at this moment: that one is stopped, too.
        while minding := [minder for minder in self._minders if not minder.done()]:
            running = self.running
            for member in running:
                member.stopping = True
                member.thaw()
            await asyncio.gather(*(member.process.stop(_PATIENCE) for member in running))
            if not running:
                await asyncio.wait(minding, return_when=asyncio.FIRST_COMPLETED)
        minders, self._minders = self._minders, []
        await asyncio.gather(*minders)

    async def _mind(self, member: Member) -> None:
        await member.process.wait()
        member.ready = False
        for port in member.ports:
            port.close()
        if member.link is not None:
            await member.link.close()
        member.gone.set()
        if self._misses(member):
            await asyncio.sleep(_RESTART_AFTER)
            if self._misses(member):
                await self.start(member.slot)

    def _misses(self, member: Member) -> bool:
        """Tell whether a process that has ended is to be started again."""
        return not member.stopping and not self._closed and member.slot < self.wanted

    # Users.

    async def _make_users(self) -> None:
        while True:
            with suppress(ApiError, TransportError):  # the server is down just now
                await self._users.put(await self._make_user())
                continue
            await asyncio.sleep(0.2)

    async def _make_user(self) -> tuple[str, str]:
        self._number += 1
        account = GroupVersionKind("", "v1", "ServiceAccount")
        made = await self._client.create(
            Unstructured.new(account, f"replica-{self._number:03}-{self._namespace}", ACCOUNTS)
        )
        token = await self._client.pods.service_account_token(ObjectKey(ACCOUNTS, made.name), expiration_seconds=7200)
        return f"system:serviceaccount:{ACCOUNTS}:{made.name}", token.token

    # Probes.

    async def _probe_all(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_PROBE_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await asyncio.gather(*(self._probe(session, member) for member in self.running))
                await asyncio.sleep(self.probe_every)

    async def _probe(self, session: aiohttp.ClientSession, member: Member) -> None:
        answers = {path: await _ask(session, member.ports[1].address, path) for path in ("/readyz", "/healthz")}
        was_ready = member.became_ready.is_set()
        member.ready = answers["/readyz"] == "200"
        if member.ready:
            member.became_ready.set()
        told = member.terminated_at is not None or member.meddled or member.gone.is_set()
        if was_ready and not told:
            self.probes += len(answers)
            for path, answer in answers.items():
                if answer != "200":
                    self.failed_probes.append(Probe(self._clock.wall(), member.name, path, answer))

    def __repr__(self) -> str:
        return f"<Fleet of {self.wanted}, {len(self.running)} running, {len(self.members)} started>"


async def cached_bytes(address: str) -> float:
    """Return how many bytes of JSON a replica's cache holds, by its metrics."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("pyoperator_cache_bytes{"))


async def _ask(session: aiohttp.ClientSession, address: str, path: str) -> str:
    try:
        async with session.get(f"http://{address}{path}") as response:
            await response.read()
            return str(response.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
