"""Running the documentation's Python: operators against the embedded server on virtual time, programs as they are."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pyoperator import Client, CustomResource, Manager
from pyoperator.apiserver import APIServer, Controllers, ServerOptions
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing import InProcessTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.docs.pages import Block


class World:
    """A running operator of the documentation, its names, and a client with all rights."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.clock = LoopClock(asyncio.get_running_loop())
        self.server = APIServer(clock=self.clock, random=Randomness(1), options=ServerOptions())
        self.client = Client(InProcessTransport(self.server))
        self.manager: Manager

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def make_manager(self, **options: Any) -> Manager:
        """Stand in for ``Manager(...)`` in the program: the same, but in-process."""
        if options.get("leader_election"):
            options.setdefault("leader_election_namespace", "default")
        return Manager(
            transport_factory=lambda gate: InProcessTransport(self.server, gate=gate),
            clock=self.clock,
            random=Randomness(2),
            **options,
        )


def load(block: Block, name: str = "docs_program") -> dict[str, Any]:
    """Execute a block as a module of some name and return its names."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile("\n" * block.line + block.code, block.page, "exec", dont_inherit=True), names)
    return names


@asynccontextmanager
async def operator(block: Block) -> AsyncIterator[World]:
    """Run the operator that ``build()`` of a block makes, with its kinds installed."""
    world = World(load(block))
    for value in list(world.names.values()):
        if isinstance(value, type) and issubclass(value, CustomResource) and hasattr(value, "options"):
            await world.client.create(Unstructured(crd_manifest(value)))
    controllers = Controllers(world.server.system, world.clock, Randomness(3), simulate_workloads=True)
    workloads = asyncio.create_task(controllers.run())
    world.names["Manager"] = world.make_manager
    world.manager = world["build"]()
    running = asyncio.create_task(world.manager.start())
    try:
        await asyncio.sleep(1)
        yield world
    finally:
        world.manager.stop()
        await asyncio.wait([running])
        workloads.cancel()
        await asyncio.wait([workloads])
    running.result()
