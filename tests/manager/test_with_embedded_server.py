"""The real rooms together: manager, controller, cache, election, client, over the embedded API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from pyoperator.apiserver import APIServer, EmbeddedServer
from pyoperator.client import Client, Configuration, NotFound
from pyoperator.clock import LoopClock, Randomness
from pyoperator.controller import Request, Result, controller_for
from pyoperator.health import ping
from pyoperator.manager import Manager, Phase
from pyoperator.objects import CustomResource, GroupVersionKind, Model, ObjectKey, Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.client import Gate, Transport

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
EVENT = GroupVersionKind("events.k8s.io", "v1", "Event")


class GreetingSpec(Model):
    text: str = ""


class Greeting(CustomResource, group="example.com", version="v1"):
    spec: GreetingSpec


class Greeter:
    """Keep a ConfigMap with the text of each Greeting."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.seen: list[str] = []

    async def reconcile(self, request: Request) -> Result | None:
        self.seen.append(request.name)
        greeting = await self.manager.client.get(Greeting, request)
        child = Unstructured(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": greeting.metadata.name, "namespace": greeting.metadata.namespace},
                "data": {"text": greeting.spec.text, "by": self.manager.leadership.identity},
            }
        )
        try:
            await self.manager.api_reader.get(CONFIG_MAP, ObjectKey(request.namespace, request.name))
        except NotFound:
            await self.manager.client.create(child)
        return None


def greeting(name: str) -> Unstructured:
    return Unstructured(
        {
            "apiVersion": "example.com/v1",
            "kind": "Greeting",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"text": f"hello {name}"},
        }
    )


def simulated(
    server: APIServer,
    identity: str,
    seed: int,
    wrapped: Callable[[InProcessTransport], Transport] | None = None,
) -> tuple[Manager, Greeter]:
    loop = asyncio.get_running_loop()

    def transport(gate: Gate) -> Transport:
        plain = InProcessTransport(server, gate=gate)
        return plain if wrapped is None else wrapped(plain)

    manager = Manager(
        transport_factory=transport,
        leader_election=True,
        leader_election_id="greeter.example.com",
        leader_election_namespace="default",
        identity=identity,
        clock=LoopClock(loop),
        random=Randomness(seed),
    )
    greeter = Greeter(manager)
    controller_for(manager).for_(Greeting).complete(greeter)
    return manager, greeter


async def eventually(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.05)
    assert condition(), what


async def failing(manager: Manager) -> dict[str, str]:
    return {result.name: result.reason for result in await manager.readyz.run() if result.reason}


def test_a_manager_over_a_faulty_transport_lives_on_virtual_time() -> None:
    async def main() -> None:
        server = APIServer(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(7))
        admin = Client(InProcessTransport(server))
        await admin.create(Unstructured(crd_manifest(Greeting)))
        await admin.create(greeting("one"))
        made: list[FaultyTransport] = []

        def faulty(inner: InProcessTransport) -> FaultyTransport:
            transport = FaultyTransport(inner, random=Randomness(3), faults=Faults(errors=0.2, latency=(0.0, 0.1)))
            made.append(transport)
            return transport

        manager, greeter = simulated(server, "first", 1, faulty)
        running = asyncio.create_task(manager.start())
        await eventually(lambda: manager.status().leads, "it leads")
        await eventually(lambda: "one" in greeter.seen, "it reconciles")
        for transport in made:
            transport.change(errors=0.0)
        manager.stop()
        await running
        assert (await admin.get(LEASE, "default/greeter.example.com"))["spec"].get("holderIdentity", "") == ""
        assert sum(sum(transport.injected.values()) for transport in made) > 0

    run_virtual(main)


def test_hand_over_between_two_managers_loses_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = APIServer(clock=LoopClock(loop), random=Randomness(7))
        first, greeter1 = simulated(server, "first", 1)
        second, greeter2 = simulated(server, "second", 2)
        admin = Manager(transport_factory=lambda gate: InProcessTransport(server, gate=gate)).api_reader
        await admin.create(Unstructured(crd_manifest(Greeting)))
        running = {first: asyncio.create_task(first.start())}
        await first.elected.wait()
        running[second] = asyncio.create_task(second.start())
        await admin.create(greeting("one"))
        await eventually(lambda: greeter1.seen == ["one"], "the leader reconciles")
        await asyncio.sleep(5)
        assert second.status().phase is Phase.STANDING_BY
        assert second.status().cache.synced
        assert await failing(second) == {}
        before = loop.time()
        first.stop()
        await running[first]
        await second.elected.wait()
        assert loop.time() - before < 0.25
        await eventually(lambda: greeter2.seen == ["one"], "each cached key is enqueued once by the new leader")
        await admin.create(greeting("two"))
        await eventually(lambda: greeter2.seen == ["one", "two"], "it goes on")
        await asyncio.sleep(1)
        maps: dict[str, Any] = {
            item["metadata"]["name"]: item["data"]["by"]
            for item in (await admin.list(CONFIG_MAP, namespace="default")).items
            if "by" in item.get("data", {})
        }
        assert maps == {"one": "first", "two": "second"}
        second.stop()
        await running[second]
        lease = await admin.get(LEASE, ObjectKey("default", "greeter.example.com"))
        assert not lease["spec"].get("holderIdentity")
        events = (await admin.list(EVENT, namespace="default")).items
        told = sorted(event["note"] for event in events if event["reason"] == "LeaderElection")
        assert told == [
            "first became leader",
            "first stopped leading",
            "second became leader",
            "second stopped leading",
        ]

    run_virtual(main)


def test_a_missing_crd_is_waited_for_and_said_and_it_goes_on_by_itself() -> None:
    async def main() -> None:
        server = APIServer(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(7))
        manager, greeter = simulated(server, "me", 1)
        admin = Manager(transport_factory=lambda gate: InProcessTransport(server, gate=gate)).api_reader
        task = asyncio.create_task(manager.start())
        await asyncio.sleep(600)
        assert manager.status().phase is Phase.SYNCING
        assert not manager.elected.is_set()
        problems = await failing(manager)
        assert "Greeting" in problems["informers"]
        assert "Greeting" in problems["startup"]
        await admin.create(Unstructured(crd_manifest(Greeting)))
        await asyncio.sleep(0)
        await manager.elected.wait()
        await admin.create(greeting("one"))
        await eventually(lambda: greeter.seen == ["one"], "it reconciles")
        assert await failing(manager) == {}
        manager.stop()
        await task

    run_virtual(main)


async def test_over_https_with_threads_probes_and_metrics() -> None:
    async with EmbeddedServer() as server:
        manager = Manager(
            Configuration.load(server.kubeconfig),
            leader_election=True,
            leader_election_id="greeter.example.com",
            leader_election_namespace="default",
            metrics_bind_address="127.0.0.1:0",
            health_probe_bind_address="127.0.0.1:0",
        )
        manager.add_healthz_check("healthz", ping)
        greeter = Greeter(manager)
        controller_for(manager).for_(Greeting).complete(greeter)
        admin = manager.unfenced_client(reason="the test's own hand")
        await admin.create(Unstructured(crd_manifest(Greeting)))
        task = asyncio.create_task(manager.start())
        async with asyncio.timeout(90):
            await manager.elected.wait()
            await admin.create(greeting("one"))
            while not greeter.seen:  # noqa: ASYNC110 - real time, and no event for it
                await asyncio.sleep(0.01)
            status = manager.status()
            async with aiohttp.ClientSession() as session:
                for path in ("healthz", "readyz"):
                    async with session.get(f"http://127.0.0.1:{status.health_probe_port}/{path}") as answer:
                        assert await answer.text() == "ok"
                async with session.get(f"http://127.0.0.1:{status.metrics_port}/metrics") as answer:
                    text = await answer.text()
            manager.stop()
            await task
        assert 'controller_runtime_reconcile_total{controller="greeting",result="success"}' in text
        assert 'workqueue_depth{controller="greeting",name="greeting",priority="0"}' in text
        assert 'rest_client_requests_total{code="200"' in text
        assert 'leader_election_master_status{name="greeter.example.com"} 1.0' in text
        assert 'pyoperator_cache_objects{kind="example.com/v1, Kind=Greeting"} 1.0' in text
        assert manager.status().phase is Phase.STOPPED
