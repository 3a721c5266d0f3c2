"""A small operator for questions of leadership: it keeps a ConfigMap for each Greeting, and can be told to be slow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.client import AlreadyExists, MergePatch
from pyoperator.controller import ControllerOptions, Request, Result, controller_for
from pyoperator.manager import Manager
from pyoperator.objects import CustomResource, GroupVersionKind, Model, ObjectKey, Unstructured
from pyoperator.schema import crd_manifest

if TYPE_CHECKING:
    from pyoperator.testing import SimulatedProcess, Simulation

NAMESPACE = "default"
LEASE = "greeter.example.com"
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


class GreetingSpec(Model):
    text: str = ""


class Greeting(CustomResource, group="example.com", version="v1"):
    spec: GreetingSpec


@dataclass
class Behaviour:
    """What all greeters of a scenario do, and what they did: (virtual time, user, name) of each reconcile's begin."""

    takes: float = 0.0
    hangs: bool = False
    again_after: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[float, str, str]] = field(default_factory=list)
    finished: list[tuple[float, str, str]] = field(default_factory=list)

    def build(self, process: SimulatedProcess) -> Manager:
        manager = Manager(
            **{
                "transport_factory": process.transport,
                "clock": process.clock,
                "random": process.random,
                "identity": process.user,
                "leader_election": True,
                "leader_election_id": LEASE,
                "leader_election_namespace": NAMESPACE,
                **self.options,
            }
        )
        greeter = Greeter(manager, process, self)
        options = ControllerOptions(max_concurrent_reconciles=4)
        controller_for(manager).for_(Greeting).with_options(options).complete(greeter)
        return manager

    def seen_by(self, user: str) -> list[str]:
        return [name for _, who, name in self.seen if who == user]


class Greeter:
    def __init__(self, manager: Manager, process: SimulatedProcess, behaviour: Behaviour) -> None:
        self._manager = manager
        self._process = process
        self._behaviour = behaviour

    async def reconcile(self, request: Request) -> Result | None:
        behaviour, loop, user = self._behaviour, self._process.loop, self._process.user
        behaviour.seen.append((loop.time(), user, request.name))
        greeting = await self._manager.client.get(Greeting, request)
        if behaviour.takes:
            await asyncio.sleep(behaviour.takes)
        while behaviour.hangs:
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                continue
        await self._keep(request, {"text": greeting.spec.text, "by": user})
        behaviour.finished.append((loop.time(), user, request.name))
        return None if behaviour.again_after is None else Result(requeue_after=behaviour.again_after)

    async def _keep(self, request: Request, data: dict[str, str]) -> None:
        child = Unstructured.new(CONFIG_MAP, request.name, request.namespace, data=data)
        try:
            await self._manager.client.create(child)
        except AlreadyExists:
            await self._manager.client.patch(CONFIG_MAP, request, MergePatch({"data": data}))


async def install(simulation: Simulation) -> None:
    await simulation.client.create(Unstructured(crd_manifest(Greeting)))


async def greet(simulation: Simulation, name: str) -> None:
    await simulation.client.create(
        Unstructured(
            apiVersion="example.com/v1",
            kind="Greeting",
            metadata={"name": name, "namespace": NAMESPACE},
            spec={"text": f"hello {name}"},
        )
    )


async def greeted(simulation: Simulation) -> dict[str, str]:
    """Return who wrote which ConfigMap last."""
    items = (await simulation.client.list(CONFIG_MAP, namespace=NAMESPACE)).items
    return {item.name: item["data"]["by"] for item in items if "by" in (item.get("data") or {})}


async def lease(simulation: Simulation) -> dict[str, Any]:
    kind = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
    found: dict[str, Any] = (await simulation.client.get(kind, ObjectKey(NAMESPACE, LEASE)))["spec"]
    return found


def mutations(simulation: Simulation, user: str, since: float = 0.0) -> list[float]:
    """Return when a user's writes of ConfigMaps were committed."""
    return [
        exchange.time
        for exchange in simulation.exchanges
        if exchange.user == user
        and exchange.method != "GET"
        and "/configmaps" in exchange.path
        and exchange.time > since
    ]
