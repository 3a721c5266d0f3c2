"""What every manager checks without being asked: each check fails for its cause, for nothing else, and recovers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import APIServer
from pyoperator.client import TransportError
from pyoperator.clock import LoopClock, Randomness
from pyoperator.controller import Request, controller_for
from pyoperator.manager import Manager
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import _AsyncGeneratorContextManager

    from pyoperator.client import Gate, Response, StreamResponse
    from pyoperator.health import HealthChecks

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
SECRET = GroupVersionKind("", "v1", "Secret")


class Breakable(InProcessTransport):
    """Refuses paths that contain one of ``broken``; shared by all transports of a manager."""

    def __init__(self, server: APIServer, gate: Gate, broken: set[str]) -> None:
        super().__init__(server, gate=gate)
        self._broken = broken

    async def request(self, method: str, path: str, **options: Any) -> Response:
        self._look(path)
        return await super().request(method, path, **options)

    def stream(self, method: str, path: str, **options: Any) -> _AsyncGeneratorContextManager[StreamResponse, None]:
        self._look(path)
        return super().stream(method, path, **options)

    def _look(self, path: str) -> None:
        if any(part in path for part in self._broken):
            raise TransportError("connection refused", sent=False)


class Scene:
    """A manager that leads, over a server whose parts can be broken."""

    def __init__(self) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        self.server = APIServer(clock=clock, random=Randomness(7))
        self.broken: set[str] = set()
        self.manager = Manager(
            transport_factory=lambda gate: Breakable(self.server, gate, self.broken),
            leader_election=True,
            leader_election_id="checks.example.com",
            leader_election_namespace="default",
            identity="me",
            on_lost="recampaign",
            clock=clock,
            random=Randomness(1),
        )

    def break_(self, part: str) -> None:
        self.broken.add(part)
        self.server.end_watches()


def leading(body: Callable[[Scene], Awaitable[None]], prepare: Callable[[Scene], None] = lambda scene: None) -> None:
    """Run ``body`` while the manager leads."""

    async def main() -> None:
        scene = Scene()
        prepare(scene)
        task = asyncio.create_task(scene.manager.start())
        await scene.manager.elected.wait()
        await asyncio.sleep(1)
        assert await failing(scene.manager.readyz) == await failing(scene.manager.healthz) == {}
        await body(scene)
        scene.manager.stop()
        await task

    run_virtual(main)


async def failing(checks: HealthChecks) -> dict[str, str]:
    return {result.name: result.reason for result in await checks.run() if result.reason}


def watching(scene: Scene) -> None:
    for kind in (CONFIG_MAP, SECRET):
        scene.manager.cache.get_informer(kind)


def test_informers_one_watch_broken_for_5_minutes_while_the_server_answers() -> None:
    async def body(scene: Scene) -> None:
        scene.break_("/secrets")
        await asyncio.sleep(290)
        assert await failing(scene.manager.readyz) == {}
        await asyncio.sleep(30)
        problems = await failing(scene.manager.readyz)
        assert set(problems) == {"informers"}
        assert "Secret: watch broken for" in problems["informers"]
        assert await failing(scene.manager.healthz) == {}
        scene.broken.clear()
        await asyncio.sleep(60)
        assert await failing(scene.manager.readyz) == {}

    leading(body, watching)


def test_informers_an_outage_of_the_whole_server_takes_nobody_out_of_service() -> None:
    async def body(scene: Scene) -> None:
        scene.break_("/")
        await asyncio.sleep(900)
        assert "informers" not in await failing(scene.manager.readyz)
        scene.broken.clear()
        await asyncio.sleep(120)
        assert await failing(scene.manager.readyz) == {}

    leading(body, watching)


def test_leadership_leading_past_the_lease() -> None:
    async def body(scene: Scene) -> None:
        leadership, now = scene.manager.leadership, scene.manager.clock.elapsed()
        # As if the elector hung, which would step down otherwise, before anybody could ask.
        kept = leadership.valid_until
        leadership.publish(now - 1.5, leadership.token)
        problems = await failing(scene.manager.healthz)
        assert set(problems) == {"leadership"}
        assert "still leading 1.5 s after" in problems["leadership"]
        assert await failing(scene.manager.readyz) == {}
        leadership.publish(kept, leadership.token)
        assert await failing(scene.manager.healthz) == {}

    leading(body)


def test_stuck_reconcile_one_that_does_not_end() -> None:
    go_on = asyncio.Event()

    async def reconcile(request: Request) -> None:
        if request.name == "stuck":
            await go_on.wait()

    def prepare(scene: Scene) -> None:
        controller_for(scene.manager).for_(CONFIG_MAP).named("maps").complete(reconcile)

    async def body(scene: Scene) -> None:
        client = scene.manager.client
        metadata = {"name": "stuck", "namespace": "default"}
        await client.create(Unstructured({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
        await asyncio.sleep(590)
        assert await failing(scene.manager.healthz) == {}
        await asyncio.sleep(20)
        problems = await failing(scene.manager.healthz)
        assert set(problems) == {"stuck-reconcile-maps"}
        assert "default/stuck" in problems["stuck-reconcile-maps"]
        go_on.set()
        await asyncio.sleep(1)
        assert await failing(scene.manager.healthz) == {}

    leading(body, prepare)
