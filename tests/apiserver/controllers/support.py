"""A server core with its controllers, on virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.apiserver.controllers import Controllers
from pyoperator.clock import LoopClock, Randomness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pyoperator.apiserver import SystemClient
    from pyoperator.objects import GroupVersionKind

Object = dict[str, Any]
NAMESPACE = "default"


class Cluster:
    """What a test talks to: the server's own client, and time."""

    def __init__(self, server: APIServer, controllers: Controllers) -> None:
        self.server = server
        self.client: SystemClient = server.system
        self.controllers = controllers

    def make(self, kind: GroupVersionKind, name: str, namespace: str = NAMESPACE, **fields: Any) -> Object:
        metadata: Object = {"name": name, **fields.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        return self.client.create({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields})

    def get(self, kind: GroupVersionKind, name: str, namespace: str = NAMESPACE) -> Object:
        found = self.client.get(kind, namespace, name)
        assert found is not None, f"no {kind.kind} {name}"
        return found

    def names(self, kind: GroupVersionKind, namespace: str = "") -> list[str]:
        return sorted(obj["metadata"]["name"] for obj in self.client.list(kind, namespace))

    def change(
        self, kind: GroupVersionKind, name: str, change: Callable[[Object], Any], namespace: str = NAMESPACE
    ) -> Object:
        obj = self.get(kind, name, namespace)
        change(obj)
        return self.client.update(obj)

    async def settle(self, seconds: float = 5.0) -> None:
        """Let the controllers work for some virtual time; none of them may have failed."""
        await asyncio.sleep(seconds)
        assert self.controllers.statistics().failures == 0

    async def until(self, holds: Callable[[], bool], *, within: float = 30.0) -> None:
        changed = asyncio.Event()
        unsubscribe = self.client.subscribe(lambda event: changed.set())
        try:
            async with asyncio.timeout(within):
                while not holds():
                    changed.clear()
                    await changed.wait()
        finally:
            unsubscribe()


@asynccontextmanager
async def cluster(*, simulate: bool = True, seed: int = 1) -> AsyncIterator[Cluster]:
    clock, random = LoopClock(asyncio.get_running_loop()), Randomness(seed)
    server = APIServer(clock=clock, random=random, options=ServerOptions())
    controllers = Controllers(server.system, clock, random, simulate_workloads=simulate)
    task = asyncio.create_task(controllers.run())
    try:
        made = Cluster(server, controllers)
        await made.settle(0.1)
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def owner(obj: Object, *, block: bool = False, controller: bool = False) -> Object:
    reference = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
    }
    if block:
        reference["blockOwnerDeletion"] = True
    if controller:
        reference["controller"] = True
    return reference


def template(app: str, image: str = "x", **spec: Any) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def workload(app: str, **spec: Any) -> Object:
    return {"selector": {"matchLabels": {"app": app}}, "template": template(app), **spec}


def set_image(image: str) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


def set_replicas(count: int) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        obj["spec"]["replicas"] = count

    return change
