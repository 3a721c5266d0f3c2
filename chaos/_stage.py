"""Everything that a run needs, started and stopped as one: server, operator's manifests, databases, load, replicas."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos._fleet import ACCOUNTS, Fleet, Member
from chaos._load import POSTGRES, Load, stand_in
from chaos._servers import Embedded
from postgres_operator import names
from pyoperator.client import AiohttpTransport, ApiError, Client, Configuration, MergePatch, NotFound, TransportError
from pyoperator.clock import Randomness, SystemClock
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.testing._audit_lines import read_audit
from pyoperator.testing._judge import judge
from pyoperator.testing.lab._install import create, install
from pyoperator.testing.lab._verdict import child_finder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping

    from chaos._servers import Server
    from pyoperator.testing._judge import Verdict
    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._scale import Scale

LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
_RBAC = "rbac.authorization.k8s.io"
_LOOK_EVERY = 0.05
_SETTLE_WITHIN = 120.0


class Stage:
    """A running stage; :func:`open_stage` makes one.

    ``holder`` and ``lease_version`` are the Lease's at the last look, every 50 ms.
    """

    def __init__(
        self, server: Server, client: Client, project: Project, scale: Scale, fleet: Fleet, load: Load, namespace: str
    ) -> None:
        self.server = server
        self.client = client
        self.project = project
        self.scale = scale
        self.fleet = fleet
        self.load = load
        self.namespace = namespace
        self.holder = ""
        self.lease_version = ""
        self.lease_key = ObjectKey(project.lease.namespace, project.lease.name)
        self.log_from = server.audit_log.stat().st_size
        self.took_over_within = 2 * scale.lease_duration + scale.retry_period + 5.0

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self.client.clock.wall()

    @property
    def embedded(self) -> Embedded:
        """The server's own faults; raises TypeError for one that has none."""
        if not isinstance(self.server, Embedded):
            raise TypeError(f"{self.server!r} can't be told to fail")
        return self.server

    def leader(self) -> Member | None:
        """Return the running process that the Lease names and that was not told to stop."""
        pod = self.holder.rpartition("_")[0]
        for member in self.fleet.running:
            if member.name == pod and not member.frozen and member.terminated_at is None:
                return member
        return None

    async def until(self, condition: Callable[[], object], within: float) -> bool:
        """Look again and again until the condition holds; tell whether it did in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not condition():  # noqa: ASYNC110  # other processes: there is nothing to await
                    await asyncio.sleep(_LOOK_EVERY)
                return True
        return False

    async def wait_leader(self, former: Member | None = None) -> Member | None:
        """Return the process that leads, another one than ``former``; None if there is none in time."""

        def is_led() -> bool:
            leader = self.leader()
            return leader is not None and leader is not former

        return self.leader() if await self.until(is_led, self.took_over_within) else None

    async def well(self, within: float, ready: int | None = None) -> bool:
        """Wait until one leads and ``ready`` replicas, or all, are ready; tell whether that came true.

        The Lease must have been written since we began to wait: a name in it may be that of one who is about to end.
        """
        wanted = self.fleet.wanted if ready is None else min(ready, self.fleet.wanted)
        seen = self.lease_version

        def is_well() -> bool:
            return self.lease_version != seen and self.leader() is not None and len(self.fleet.ready) >= wanted

        return await self.until(is_well, within)

    async def settle(self, within: float = _SETTLE_WITHIN) -> bool:
        """Stop the load and wait until nothing is left to do; tell whether that came true."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.load.pause()
                while True:
                    with suppress(ApiError, TransportError):
                        if await self.load.settled():
                            return True
                    await asyncio.sleep(0.2)
        return False

    async def edit_lease(self, **fields: Any) -> None:
        """Write fields of the Lease's spec, as somebody with kubectl would; the replicas' writes don't hinder that."""
        await self.client.patch(LEASE, self.lease_key, MergePatch({"spec": fields}))

    async def watch_lease(self) -> None:
        """Look at the Lease until cancelled."""
        while True:
            try:
                lease = await self.client.get(LEASE, self.lease_key)
                self.holder = str(lease["spec"].get("holderIdentity") or "")
                self.lease_version = lease.metadata["resourceVersion"]
            except (NotFound, TransportError):
                self.holder = ""
            except ApiError:
                pass  # the server is not quite there yet: what was seen last still stands
            await asyncio.sleep(_LOOK_EVERY)

    async def judge(self) -> Verdict:
        """Let the audit log and what is there at the end decide; the replicas have been stopped."""
        objects = (await self.client.list(POSTGRES, namespace=self.namespace)).items
        children: list[Unstructured] = []
        for kind in self.project.children:
            found = await self.client.list(kind.gvk, namespace=self.namespace, label_selector=self.project.role_label)
            children.extend(found.items)
        return await asyncio.to_thread(
            judge,
            self.events(),
            lease_namespace=self.lease_key.namespace,
            lease_name=self.lease_key.name,
            processes=[member.start for member in self.fleet.members],
            objects=objects,
            children=children,
            child_of=child_finder(self.project, self.client.scheme),
            role_of=_role_of,
            reaction=self.scale.retry_period + self.scale.renew_deadline / 2,
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the audit log of this run."""
        return read_audit(self.server.audit_log, start=self.log_from)


def _role_of(child: Mapping[str, Any]) -> str | None:
    role = (child["metadata"].get("labels") or {}).get(names.ROLE_LABEL)
    return f"{child.get('kind', '')}/{role}" if role else None


@asynccontextmanager
async def open_stage(
    project: Project,
    scale: Scale,
    *,
    server: Callable[[Path], Server] | None = None,
    databases: int = 20,
    rate: float = 100.0,
    linked: bool = True,
    program: list[str] | None = None,
    keep: Path | None = None,
) -> AsyncGenerator[Stage]:
    """Start everything, and stop it at the end. ``server(folder)``: another one than the embedded; ``keep``: a folder for logs.

    ``program``: of the replicas, else the project's.
    """
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="pyoperator-chaos-") as temporary:
        folder = keep if keep is not None else Path(temporary)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        api = server(folder) if server is not None else Embedded(folder, os.environ, clock)
        try:
            await api.open()
            transport = AiohttpTransport(Configuration.load(kubeconfig=api.kubeconfig, environ={}), clock=clock)
            try:
                client = Client(transport, field_manager="chaos", clock=clock, random=Randomness())
                async with _populated(api, client, project, scale, folder, databases, rate, linked, program) as stage:
                    yield stage
            finally:
                await transport.aclose()
        finally:
            await api.close()


@asynccontextmanager
async def _populated(
    api: Server,
    client: Client,
    project: Project,
    scale: Scale,
    folder: Path,
    databases: int,
    rate: float,
    linked: bool,
    program: list[str] | None,
) -> AsyncGenerator[Stage]:
    namespace = f"chaos-{secrets.token_hex(3)}"
    for name in (ACCOUNTS, namespace):
        await create(client, Unstructured.new(GroupVersionKind("", "v1", "Namespace"), name))
    await install(client, project)
    for role in project.manifests("rbac"):
        await _grant(client, role, role.namespace or project.lease.namespace)
    with suppress(NotFound):
        await client.delete(LEASE, ObjectKey(project.lease.namespace, project.lease.name))
    fleet = Fleet(
        client,
        project,
        scale,
        namespace=namespace,
        folder=folder,
        kubeconfig=api.kubeconfig,
        environ=os.environ,
        clock=client.clock,
        linked=linked,
        program=program,
    )
    load = Load(client, namespace, databases, rate, client.clock.wall)
    stage = Stage(api, client, project, scale, fleet, load, namespace)
    await load.create()
    beside = [asyncio.create_task(work) for work in (fleet.run(), stage.watch_lease(), stand_in(client, namespace))]
    try:
        yield stage
    finally:
        await fleet.stop()
        for task in beside:
            task.cancel()
        for ended in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _grant(client: Client, role: Unstructured, namespace: str) -> None:
    kind = role.gvk.kind
    if kind not in {"Role", "ClusterRole"}:
        return
    binding: dict[str, Any] = {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role.name},
        "subjects": [{"kind": "Group", "apiGroup": _RBAC, "name": f"system:serviceaccounts:{ACCOUNTS}"}],
    }
    place = namespace if kind == "Role" else ""
    await create(
        client,
        Unstructured.new(GroupVersionKind(_RBAC, "v1", f"{kind}Binding"), f"chaos-{role.name}", place, **binding),
    )


async def alongside(stage: Stage, work: Awaitable[None]) -> None:
    """Run ``work`` under load."""
    load = asyncio.create_task(stage.load.run())
    try:
        await work
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
