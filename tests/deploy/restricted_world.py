"""Replicas of the operator on the embedded server, with the roles of ``config/rbac`` and no more, on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from postgres_operator.api import Postgres
from postgres_operator.main import add_operator, cache_configuration
from pyoperator.apiserver import APIServer, AuditLog, Controllers, ServerOptions
from pyoperator.client import ApiError, Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.manager import Manager
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing import InProcessTransport
from tests.deploy.scenario import LEASE_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

USER = "system:serviceaccount:postgres-operator-system:postgres-operator-controller-manager"
_RBAC = "rbac.authorization.k8s.io"


class RestrictedWorld:
    """A stage of the scenario (see ``scenario.Stage``); ``watch_list``: whether its server streams the initial state."""

    namespace = "default"
    hand_overs = 3

    def __init__(self, *, watch_list: bool = True) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        self.audit = AuditLog()
        options = ServerOptions(audit=self.audit, watch_list=watch_list)
        self.server = APIServer(clock=self.clock, random=Randomness(1), options=options)
        self.client = Client(InProcessTransport(self.server))
        self.managers: dict[str, Manager] = {}
        self._controllers = Controllers(self.server.system, self.clock, Randomness(2), simulate_workloads=True)
        self._background = asyncio.create_task(self._controllers.run())
        self._running: dict[str, asyncio.Task[None]] = {}

    async def install(self, roles: Sequence[dict[str, Any]]) -> None:
        """Install the CRD, the namespace of the Lease, and the roles, bound to the operator's user."""
        await self.client.create(Unstructured(crd_manifest(Postgres)))
        await self.client.create(Unstructured.new(GroupVersionKind("", "v1", "Namespace"), LEASE_KEY.namespace))
        for role in roles:
            await self.client.create(Unstructured(role))
            binding = Unstructured.new(
                GroupVersionKind(_RBAC, "v1", f"{role['kind']}Binding"),
                role["metadata"]["name"],
                role["metadata"].get("namespace", ""),
                roleRef={"apiGroup": _RBAC, "kind": role["kind"], "name": role["metadata"]["name"]},
                subjects=[{"kind": "User", "apiGroup": _RBAC, "name": USER}],
            )
            await self.client.create(binding)

    async def start(self, name: str) -> None:
        manager = Manager(
            transport_factory=lambda gate: InProcessTransport(self.server, gate=gate, credential=USER),
            cache=cache_configuration(),
            leader_election=True,
            leader_election_id=LEASE_KEY.name,
            leader_election_namespace=LEASE_KEY.namespace,
            identity=name,
            clock=self.clock,
            random=Randomness(3 + len(self.managers)),
        )
        add_operator(manager)
        self.managers[name] = manager
        self._running[name] = asyncio.create_task(manager.start())

    async def stop(self, name: str) -> None:
        self.managers[name].stop()
        await self._running.pop(name)

    async def until(self, what: str, condition: Callable[[], Awaitable[object]], within: float = 20.0) -> None:
        # Nothing real is waited for: the loop's time is virtual.
        end = self.clock.elapsed() + within
        while True:
            try:
                if await condition():
                    return
            except ApiError:
                pass  # not there yet
            if self.clock.elapsed() >= end:
                raise AssertionError(f"not so within {within} s: {what}")
            await asyncio.sleep(0.2)

    async def quiet(self) -> None:
        """Let everything come to rest."""
        await asyncio.sleep(300)

    async def close(self) -> None:
        for name in list(self._running):
            await self.stop(name)
        self._background.cancel()
        await asyncio.wait([self._background])
