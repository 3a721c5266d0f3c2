"""Random histories with faults: in the end the cache is what the server is, and every handler heard a legal story."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from pyoperator.client import TransportError
from tests.cache.fake_server import WIDGET, FakeServer, Fault, Recorder, contents, run_cache, settle, status_body, truth

if TYPE_CHECKING:
    from pyoperator.cache import Cache
    from tests.cache.fake_server import WatchList

NAMES = [f"w{number}" for number in range(6)]
WATCH_LISTS: list[WatchList] = ["supported", "supported", "refused", "ignored"]
STEPS = [
    *["put"] * 8,
    *["delete"] * 4,
    *["replace"] * 2,
    "cut",
    "reset",
    "mute",
    "compact",
    "garbage",
    "error event",
    "list fault",
    "watch fault",
    "late handler",
    "a second",
    "two minutes",
    "another server",
    "freshen",
]
FAULTS = [
    Fault(error=TransportError("refused", sent=False)),
    Fault(500, b"oops"),
    Fault(429, status_body(429)),
    Fault(body=b"<html>\n"),
    Fault(body=b'{"metadata":{"resourceVersion":"1"},"items":[]}', lagging=True),
    Fault(410, status_body(410, "Expired")),
    Fault(error=ZeroDivisionError("bug")),
]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 60))
def test_random_histories(seed: int, length: int) -> None:
    choose = random.Random(seed)
    watch_list = choose.choice(WATCH_LISTS)
    server = FakeServer(
        chunk=choose.choice([0, 0, 13, 200]), gone_as_event=choose.random() < 0.5, watch_list=watch_list
    )
    handlers: list[Recorder] = []

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(
            WIDGET, page_size=choose.choice([0, 2, 500]), namespaces=choose.choice([(), ("a", "b")])
        )

        def listen() -> None:
            handlers.append(Recorder())
            informer.add_handler(handlers[-1])

        listen()
        for _ in range(length):
            name, namespace = choose.choice(NAMES), choose.choice("ab")
            exists = any(key == (namespace, name) for key in server.objects)
            match choose.choice(STEPS):
                case "put":
                    server.put(name, namespace, spec={"n": choose.random()})
                case "replace":
                    server.put(name, namespace, fresh=True)
                case "delete" if exists:
                    server.delete(name, namespace)
                case "cut":
                    server.cut()
                case "reset":
                    server.cut(TransportError("reset"))
                case "mute":
                    server.mute()
                case "compact":
                    server.compact()
                case "garbage":
                    server.send(b'{"broken\n')
                case "error event":
                    server.send(b'{"type":"ERROR","object":%s}\n' % status_body(choose.choice([410, 500, 429])))
                case "list fault":
                    server.list_faults.append(choose.choice(FAULTS))
                case "watch fault":
                    server.watch_faults.append(choose.choice(FAULTS))
                case "late handler":
                    listen()
                case "a second":
                    await settle(1)
                case "two minutes":
                    await settle(120)
                case "another server":  # the next replica behind the load balancer, of another version
                    server.watch_list = choose.choice(WATCH_LISTS)
                    server.cut()
                case "freshen":
                    cache.freshen(choose.choice([0.0, 1.0, 75.0]))
            if choose.random() < 0.3:
                await settle(choose.random() * 3)
        server.list_faults.clear()
        server.watch_faults.clear()
        await settle(400)
        assert contents(cache) == truth(server)
        status = informer.status()
        assert status.objects == len(server.objects)
        assert status.bytes == sum(len(entry.raw) for entry in cache.entries(WIDGET))
        assert status.failing_for is None
        assert status.handler_errors == 0  # the recorder's checks
        for heard in handlers:
            assert {key: entry.metadata.resource_version for key, entry in heard.state.items()} == truth(server)

    run_cache(server, body, seed=seed)
