"""The postgres-operator, the embedded server and its workload simulator on one virtual loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from postgres_operator.api import Postgres
from postgres_operator.main import add_operator, cache_configuration
from pyoperator.apiserver import APIServer, AuditLog, Controllers, ServerOptions
from pyoperator.client import Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.manager import Manager
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing import InProcessTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NAMESPACE = "default"
EVENT = GroupVersionKind("events.k8s.io", "v1", "Event")


class World:
    """A server, a client with all rights, and one running replica of the operator."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = LoopClock(loop)
        self.audit = AuditLog()
        self.server = APIServer(
            clock=self.clock,
            random=Randomness(1),
            options=ServerOptions(audit=self.audit),
        )
        self.controllers = Controllers(self.server.system, self.clock, Randomness(2), simulate_workloads=True)
        self.client = Client(InProcessTransport(self.server))

    def manager(self) -> Manager:
        """Make one replica, without election."""
        manager = Manager(
            transport_factory=lambda gate: InProcessTransport(self.server, gate=gate, credential="operator"),
            cache=cache_configuration(),
            metrics_bind_address="0",
            health_probe_bind_address="0",
            clock=self.clock,
            random=Randomness(3),
        )
        add_operator(manager)
        return manager

    @property
    def now(self) -> int:
        """Return the present place in the audit log."""
        return self.audit.written

    async def settle(self, seconds: float = 30.0) -> None:
        await asyncio.sleep(seconds)

    def writes(self, since: int = 0) -> list[str]:
        """Return the operator's writes (events apart) as ``verb resource/name`` since a place in the audit log."""
        return [
            f"{entry['verb']} {entry['objectRef']['resource']}/{entry['objectRef'].get('name', '')}"
            for entry in self.audit.events()[since:]
            if entry["user"]["username"] == "operator"
            and entry["verb"] not in {"get", "list", "watch"}
            and entry["objectRef"]["resource"] not in {"events", "selfsubjectaccessreviews"}
        ]

    async def get(self, name: str) -> Postgres:
        return await self.client.get(Postgres, ObjectKey(NAMESPACE, name))

    async def change(self, name: str, mutate: Callable[[Postgres], None]) -> None:
        original = await self.get(name)
        modified = original.model_copy(deep=True)
        mutate(modified)
        await self.client.patch_from(original, modified)

    async def condition(self, name: str, type_: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        status = (await self.get(name)).status
        found = [condition for condition in (status.conditions if status else []) if condition.type == type_]
        return (found[0].status, found[0].reason) if found else ("", "")


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Start everything with the CRD installed; stop it in order."""
    it = World()
    await it.client.create(Unstructured(crd_manifest(Postgres)))
    await it.client.create(
        Unstructured(
            apiVersion="rbac.authorization.k8s.io/v1",
            kind="ClusterRoleBinding",
            metadata={"name": "operator"},
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            subjects=[{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}],
        )
    )
    controllers = asyncio.create_task(it.controllers.run())
    manager = it.manager()
    running = asyncio.create_task(manager.start())
    try:
        await asyncio.sleep(1)
        yield it
    finally:
        manager.stop()
        await asyncio.wait([running])
        controllers.cancel()
        await asyncio.wait([controllers])
    running.result()
