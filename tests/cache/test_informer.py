from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cache.fake_server import WIDGET, FakeServer, Recorder, contents, run_cache, settle, truth

if TYPE_CHECKING:
    from pyoperator.cache import Cache, CacheEvent, Informer


def test_several_namespaces_fill_one_store() -> None:
    server = FakeServer()
    for namespace in ("a", "b", "c"):
        server.put("x", namespace)
        server.put(f"only-{namespace}", namespace)

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, namespaces=("a", "b"))
        heard = Recorder()
        informer.add_handler(heard)
        await informer.wait_synced()
        await settle()
        server.put("new", "b")
        server.put("new", "c")
        server.delete("x", "a")
        # One namespace lists again: the other's objects are no business of that comparison.
        server.mute()
        server.delete("only-a", "a")
        server.compact()
        await settle(200)
        assert contents(cache) == {key: version for key, version in truth(server).items() if key.namespace in "ab"}
        assert heard.state.keys() == contents(cache).keys()
        assert informer.covers("a")
        assert not informer.covers("c")
        assert not informer.covers("")
        assert {found.namespace for found in informer.status().reflectors} == {"a", "b"}

    run_cache(server, body)
    assert {request.path for request in server.requests} == {
        f"/apis/example.com/v1/namespaces/{namespace}/widgets" for namespace in "ab"
    }


def test_a_late_handler_hears_what_is_there_first() -> None:
    server = FakeServer()
    server.put("x")

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        await informer.wait_synced()
        heard = Recorder()
        registration = informer.add_handler(heard)
        assert heard.told() == [("ADDED", "x")]
        assert heard.events[0].initial
        assert registration.synced
        await settle()
        server.put("x")
        await settle()
        registration.remove()
        registration.remove()
        server.put("y")
        await settle()
        assert heard.told() == [("ADDED", "x"), ("MODIFIED", "x")]
        assert informer.status().handlers == 0

    run_cache(server, body)


def test_a_failing_handler_stops_nobody() -> None:
    server = FakeServer()
    server.put("x")

    class Failing:
        def on_add(self, event: CacheEvent) -> None:
            raise ValueError("no")

        on_update = on_delete = on_add

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        failing = informer.add_handler(Failing())
        heard = Recorder()
        informer.add_handler(heard)
        await informer.wait_synced()
        await settle()
        server.put("x")
        server.delete("x")
        await settle()
        assert heard.told() == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]
        assert failing.errors == 3
        assert informer.status().handler_errors == 3
        assert informer.status().failures == 0

    logs = run_cache(server, body)
    assert len([call for call in logs if call["event"] == "an event handler failed"]) == 3


def test_a_handler_may_remove_itself_and_add_others() -> None:
    server = FakeServer()
    server.put("x")
    server.put("y")
    late = Recorder()

    class Once(Recorder):
        def __init__(self, informer: Informer) -> None:
            super().__init__()
            self.informer = informer
            self.registration = informer.add_handler(self)

        def on_add(self, event: CacheEvent) -> None:
            super().on_add(event)
            self.registration.remove()
            self.informer.add_handler(late)

    async def body(cache: Cache) -> None:
        once = Once(cache.get_informer(WIDGET))
        await cache.wait_for_cache_sync()
        assert once.told() == [("ADDED", "x")]
        assert late.told() == [("ADDED", "x"), ("ADDED", "y")]

    run_cache(server, body)


def test_resync_replays_everything_in_its_period() -> None:
    server = FakeServer()
    server.put("x")

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, resync_period=100.0)
        heard = Recorder()
        informer.add_handler(heard)
        await settle(89)
        assert heard.told() == [("ADDED", "x")]
        await settle(21)
        assert heard.told() == [("ADDED", "x"), ("MODIFIED", "x")]
        assert heard.events[1].resync
        assert heard.events[1].old is heard.events[1].new
        await settle(1000)
        assert len(server.lists()) == 1  # a resync asks the server nothing

    run_cache(server, body)


def test_cancelling_anywhere_in_a_large_list_leaves_a_state_that_the_next_run_completes() -> None:
    server = FakeServer()
    for number in range(1200):
        server.put(f"w{number}")

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, page_size=0)
        heard = Recorder()
        informer.add_handler(heard)
        for steps in range(40):
            task = asyncio.create_task(informer.run())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await informer.wait_synced()
        await settle()
        assert contents(cache) == truth(server)
        assert len(heard.state) == 1200

    run_cache(server, body)
