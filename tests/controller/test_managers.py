"""Several managers and controllers in one process: nothing of one shows in the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.apiserver import APIServer
from pyoperator.clock import LoopClock, Randomness
from pyoperator.controller import Request, controller_for
from pyoperator.manager import Manager
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from pyoperator.controller import Controller

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
SECRET = GroupVersionKind("", "v1", "Secret")


class World:
    """A server, its manager, and two controllers that write down what they see."""

    def __init__(self, seed: int) -> None:
        loop = asyncio.get_running_loop()
        self.server = APIServer(clock=LoopClock(loop), random=Randomness(seed))
        self.manager = Manager(
            transport_factory=lambda gate: InProcessTransport(self.server, gate=gate),
            clock=LoopClock(loop),
            random=Randomness(seed),
        )
        self.seen: dict[str, list[str]] = {"configmap": [], "secret": []}
        self.controllers = [self.controller(CONFIG_MAP), self.controller(SECRET)]

    def controller(self, kind: GroupVersionKind) -> Controller:
        async def reconcile(request: Request) -> None:
            if request.namespace == "default":  # the server's own objects are elsewhere
                self.seen[kind.kind.lower()].append(request.name)

        return controller_for(self.manager).for_(kind).complete(reconcile)

    async def create(self, kind: GroupVersionKind, name: str) -> None:
        metadata = {"name": name, "namespace": "default"}
        await self.manager.client.create(
            Unstructured({"apiVersion": kind.version, "kind": kind.kind, "metadata": metadata})
        )


def test_two_managers_with_two_controllers_each_share_a_loop_and_nothing_else() -> None:
    async def main() -> None:
        first, second = World(1), World(2)
        running = [asyncio.create_task(world.manager.start()) for world in (first, second)]
        for world in (first, second):
            await world.manager.elected.wait()
        await first.create(CONFIG_MAP, "a")
        await first.create(SECRET, "s")
        await second.create(CONFIG_MAP, "b")
        await asyncio.sleep(1)
        first.controllers[0].pause()  # neither its neighbour nor its namesake pauses
        for world in (first, second):
            for kind in (CONFIG_MAP, SECRET):
                await world.create(kind, "later")
        await asyncio.sleep(1)
        theirs = {name for name in first.seen["configmap"] if name.startswith("kube-")}
        assert [name for name in first.seen["configmap"] if name not in theirs] == ["a"]
        assert first.seen["secret"] == ["s", "later"]
        assert [name for name in second.seen["configmap"] if name not in theirs] == ["b", "later"]
        assert second.seen["secret"] == ["later"]
        first.manager.stop()
        await running[0]
        await second.create(SECRET, "still")
        await asyncio.sleep(1)
        assert second.seen["secret"] == ["later", "still"]
        assert not first.controllers[0].status().running
        assert second.controllers[0].status().running
        assert [found.name for found in (*first.controllers, *second.controllers)] == ["configmap", "secret"] * 2
        second.manager.stop()
        await running[1]

    run_virtual(main)
