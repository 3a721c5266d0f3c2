"""Reads from an old state of the server: what may be old, how old, and what a liar answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.apiserver import APIServer
from pyoperator.clock import LoopClock, Randomness
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


class Room:
    """A server on which config map ``a`` counts, one change a version, and a transport to it with faults."""

    def __init__(self) -> None:
        self.server = APIServer(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(1))
        self.direct = InProcessTransport(self.server)
        self.network = FaultyTransport(self.direct, random=Randomness(2), faults=Faults(lag=(3, 3)))
        self.first = 0

    async def count_to(self, last: int) -> None:
        for number in range(last + 1):
            body = json.dumps({"metadata": {"name": "a"}, "data": {"n": str(number)}}).encode()
            method, path = ("POST", CONFIG_MAPS) if number == 0 else ("PUT", f"{CONFIG_MAPS}/a")
            told = await self.direct.request(method, path, body=body)
            assert told.status in (200, 201)
            self.first = self.first or int(json.loads(told.body)["metadata"]["resourceVersion"])

    async def list(self, *query: tuple[str, str]) -> tuple[str, int]:
        response = await self.network.request("GET", CONFIG_MAPS, query=query)
        async with self.network.stream("GET", CONFIG_MAPS, query=query) as stream:
            streamed = b"".join([chunk async for chunk in stream.chunks()])
        assert streamed == response.body
        told = json.loads(response.body)
        items = told["items"]
        return items[0]["data"]["n"] if items else "", int(told["metadata"]["resourceVersion"]) - self.first


def in_room(scenario: Callable[[Room], Awaitable[Any]]) -> None:
    async def main() -> None:
        room = Room()
        await room.count_to(9)
        await scenario(room)

    run_virtual(main)


def test_any_age_will_do_at_version_0() -> None:
    async def scenario(room: Room) -> None:
        assert await room.list(("resourceVersion", "0")) == ("9", 9)
        for fault in ("stale", "lying"):
            room.network.change(stale=0.0, lying=0.0)
            room.network.change(**{fault: 1.0})
            assert await room.list(("resourceVersion", "0"), ("limit", "1")) == ("6", 6)
            room.network.change(lag=(10, 10))
            assert await room.list(("resourceVersion", "0")) == ("", -1)  # from before it was created
            room.network.change(lag=(3, 3))
        assert room.network.injected == {"stale": 4, "lying": 4}

    in_room(scenario)


def test_not_older_than_asked_for_unless_lying() -> None:
    async def scenario(room: Room) -> None:
        for wanted, honest in ((2, 6), (8, 8)):
            query = (("resourceVersion", str(room.first + wanted)), ("resourceVersionMatch", "NotOlderThan"))
            room.network.change(stale=1.0, lying=0.0)
            assert await room.list(*query) == (str(honest), honest)
            room.network.change(stale=0.0, lying=1.0)
            assert await room.list(*query) == ("6", 6)

    in_room(scenario)


@pytest.mark.parametrize(
    "query",
    [
        [],
        [("resourceVersion", "")],
        [("limit", "5")],
        [("resourceVersion", "{}"), ("resourceVersionMatch", "Exact")],
        [("resourceVersion", "{}"), ("limit", "5")],
    ],
)
def test_consistent_and_exact_reads_are_left_alone(query: list[tuple[str, str]]) -> None:
    async def scenario(room: Room) -> None:
        room.network.change(lying=1.0)
        asked = [(name, value.format(room.first + 9)) for name, value in query]
        assert await room.list(*asked) == ("9", 9)
        assert room.network.injected == {}

    in_room(scenario)


def test_a_get_from_an_old_state() -> None:
    async def scenario(room: Room) -> None:
        room.network.change(stale=1.0)
        get = ("GET", f"{CONFIG_MAPS}/a")
        fresh = json.loads((await room.network.request(*get)).body)
        assert fresh["data"] == {"n": "9"}
        stale = json.loads((await room.network.request(*get, query=[("resourceVersion", "0")])).body)
        assert stale["data"] == {"n": "6"}
        assert set(stale) == set(fresh)
        assert (stale["kind"], stale["apiVersion"]) == ("ConfigMap", "v1")
        room.network.change(lag=(10, 10))
        missing = await room.network.request(*get, query=[("resourceVersion", "0")])
        assert missing.status == 404
        assert json.loads(missing.body)["reason"] == "NotFound"
        refused = await room.network.request("GET", f"{CONFIG_MAPS}/", query=[("resourceVersion", "x")])
        assert refused.status in (400, 404)

    in_room(scenario)


def test_what_is_compacted_is_answered_afresh() -> None:
    async def scenario(room: Room) -> None:
        room.server.store.compact(room.server.store.revision - 1)
        room.network.change(stale=1.0)
        assert await room.list(("resourceVersion", "0")) == ("9", 9)
        assert room.network.injected == {}

    in_room(scenario)


def test_collections_of_all_namespaces_and_of_groups() -> None:
    async def scenario(room: Room) -> None:
        room.network.change(stale=1.0)
        for path in ("/api/v1/configmaps", "/api/v1/namespaces", SLICES, "/api/v1/namespaces/default"):
            response = await room.network.request("GET", path, query=[("resourceVersion", "0")])
            assert response.status == 200
        assert room.network.injected == {"stale": 4}
        room.network.inject_next("stale")
        for path in ("/version", "/api", "/apis/discovery.k8s.io/v1"):
            assert (await room.network.request("GET", path, query=[("resourceVersion", "0")])).status == 200
        assert room.network.injected == {"stale": 4}
        unknown = await room.network.request("GET", "/api/v1/gizmos", query=[("resourceVersion", "0")])
        assert unknown.status == 404

    in_room(scenario)


def test_a_watch_list_of_an_old_state_goes_on_to_the_present() -> None:
    async def events(room: Room, version: int) -> list[tuple[str, str, int]]:
        query = [
            ("watch", "true"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", str(version)),
            ("timeoutSeconds", "1"),
        ]
        async with room.network.stream("GET", CONFIG_MAPS, query=query) as stream:
            lines = b"".join([chunk async for chunk in stream.chunks()]).splitlines()
        seen = []
        for event in map(json.loads, lines):
            metadata = event["object"]["metadata"]
            assert event["object"]["kind"] == "ConfigMap"
            end = metadata.get("annotations", {}).get("k8s.io/initial-events-end", "")
            seen.append((event["type"], end, int(metadata["resourceVersion"]) - room.first))
        return seen

    old = [("ADDED", "", 6), ("BOOKMARK", "true", 6), *(("MODIFIED", "", number) for number in (7, 8, 9))]

    async def scenario(room: Room) -> None:
        room.network.change(stale=1.0)
        assert (await events(room, 0))[:5] == old
        fresh = await events(room, room.first + 9)
        assert fresh[0] == ("ADDED", "", 9)
        room.network.change(stale=0.0, lying=1.0)
        assert (await events(room, room.first + 9))[:5] == old
        assert room.network.injected == {"stale": 1, "lying": 1}

    in_room(scenario)
