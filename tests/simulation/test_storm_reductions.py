"""What a storm found, reduced to the least that shows it."""

from __future__ import annotations

import asyncio
import json

import structlog

from pyoperator.apiserver import APIServer
from pyoperator.cache import Cache, CacheEvent
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import GroupVersionKind, Scheme
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from tests.support import run_virtual

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Told:
    """A handler that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_add(self, event: CacheEvent) -> None:
        self.events.append(f"{event.type} {event.key.name}")

    on_update = on_delete = on_add


def test_a_repeated_event_does_not_bring_a_deleted_object_back() -> None:
    """Events of a watch that are not newer than what it has told are repetitions: they change nothing."""

    async def main() -> list[str]:
        clock = LoopClock(asyncio.get_running_loop())
        direct = InProcessTransport(APIServer(clock=clock, random=Randomness(1)))
        network = FaultyTransport(direct, random=Randomness(2), faults=Faults(repeated=1.0))
        quiet = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(50))
        cache = Cache(network, Scheme(), clock=clock, random=Randomness(3), logger=quiet)
        told = Told()
        informer = cache.get_informer(GroupVersionKind("", "v1", "ConfigMap"))
        informer.add_handler(told)
        running = asyncio.create_task(cache.run())
        await asyncio.sleep(1)
        await direct.request("POST", CONFIG_MAPS, body=json.dumps({"metadata": {"name": "a"}}).encode())
        await asyncio.sleep(1)
        await direct.request("DELETE", f"{CONFIG_MAPS}/a")
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return [event for event in told.events if event.endswith(" a")]

    assert run_virtual(main) == ["ADDED a", "DELETED a"]
