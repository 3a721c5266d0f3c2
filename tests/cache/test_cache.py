from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.cache import ALL_NAMESPACES, Cache, CacheNotReady, CacheOptions, NoInformer, NotSynced
from pyoperator.client import NotFound
from pyoperator.objects import BUILTIN_KINDS, CustomResource, GroupVersionKind, Model, ObjectKey, UnknownKindError
from tests.cache.fake_server import WIDGET, FakeServer, Fault, run_cache, scheme, settle

if TYPE_CHECKING:
    from pyoperator.cache import Entry

NODE = GroupVersionKind("", "v1", "Node")


class WidgetSpec(Model):
    size: int = 0


class Widget(CustomResource, group="example.com", version="v1"):
    spec: WidgetSpec


def populated() -> FakeServer:
    server = FakeServer()
    server.put("x", spec={"size": 1}, metadata={"labels": {"app": "db"}})
    server.put("y", "b", spec={"size": 2}, metadata={"labels": {"app": "web"}})
    return server


def test_one_informer_serves_every_way_to_read_a_kind() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(Widget)
        assert cache.get_informer(WIDGET) is informer
        await cache.wait_for_cache_sync()
        key = ObjectKey("a", "x")
        typed, free = cache.get(Widget, key), cache.get(WIDGET, key)
        assert typed.spec.size == free["spec"]["size"] == 1
        assert cache.get_entry(Widget, key).metadata.labels == {"app": "db"}
        assert cache.get_entry(Widget, key).decode(Widget).spec.size == 1
        # Every read is fresh: nobody can change the cache.
        typed.spec.size = 99
        free["spec"]["size"] = 99
        assert cache.get(Widget, key).spec.size == 1
        assert [found.spec.size for found in cache.list(Widget)] == [1, 2]
        assert [found.name for found in cache.list(WIDGET, namespace="b")] == ["y"]
        assert [found.name for found in cache.list(WIDGET, label_selector="app in (db)")] == ["x"]
        assert len(server.lists()) == 1

    run_cache(server, body)


def test_what_is_not_there_is_not_found_as_the_server_says_it() -> None:
    async def body(cache: Cache) -> None:
        cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        with pytest.raises(NotFound, match=r'widgets\.example\.com "gone" not found') as caught:
            cache.get(WIDGET, ObjectKey("a", "gone"))
        assert caught.value.status.code == 404
        assert caught.value.status.details == {"name": "gone", "kind": "widgets", "group": "example.com"}

    run_cache(populated(), body)


def test_a_kind_that_is_not_cached_names_the_remedy() -> None:
    async def body(cache: Cache) -> None:
        with pytest.raises(NoInformer, match=r"cache.get_informer\(\)"):
            cache.get(WIDGET, ObjectKey("a", "x"))
        with pytest.raises(UnknownKindError):
            cache.get_informer(GroupVersionKind("x", "v1", "Y"))
        cache.get_informer(WIDGET, namespaces=("a",))
        await cache.wait_for_cache_sync()
        assert [found.name for found in cache.list(WIDGET)] == ["x"]
        with pytest.raises(NoInformer, match="namespaces a only, not for 'b'"):
            cache.list(WIDGET, namespace="b")

    run_cache(populated(), body)


def test_a_read_before_the_first_sync_does_not_claim_absence() -> None:
    server = populated()
    server.always = lambda _: Fault(403, b"no")

    async def body(cache: Cache) -> None:
        cache.get_informer(WIDGET)
        with pytest.raises(NotSynced, match="wait_for_cache_sync"):
            cache.get(WIDGET, ObjectKey("a", "x"))
        await settle(1)
        with pytest.raises(NotSynced, match="403"):
            cache.list(WIDGET)
        with pytest.raises(CacheNotReady, match=r"Widget: not synced.*403"):
            cache.check_ready()
        assert not cache.status().synced

    run_cache(server, body)


def test_an_object_that_does_not_fit_its_class_fails_alone() -> None:
    server = populated()
    server.put("bad", spec={"size": "huge"})

    async def body(cache: Cache) -> None:
        cache.get_informer(Widget)
        await cache.wait_for_cache_sync()
        assert [found.metadata.name for found in cache.list(Widget)] == ["x", "y"]
        assert len(cache.list(WIDGET)) == 3
        with pytest.raises(ValueError, match=r"spec\.size"):
            cache.get(Widget, ObjectKey("a", "bad"))

    logs = run_cache(server, body)
    assert any("left out of a list" in call["event"] for call in logs)


def test_references_are_counted() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        one, two = cache.get_informer(WIDGET), cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        await settle()
        cache.release(one)
        assert len(server.watches) == 1
        cache.release(two)
        await settle()
        assert not server.watches
        with pytest.raises(NoInformer):
            cache.list(WIDGET)
        with pytest.raises(ValueError, match="release it once"):
            cache.release(one)
        # Asked for again while running: started at once, from scratch.
        again = cache.get_informer(WIDGET)
        assert again is not one
        await again.wait_synced()
        cache.remove_informer(WIDGET)
        await settle()
        assert not server.watches
        assert cache.status().informers == ()

    run_cache(server, body)


def test_options_by_kind_and_default_namespaces() -> None:
    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        assert informer.options.label_selector == "app=db"
        assert informer.namespaces == ("a",)
        assert cache.get_informer(Widget, namespaces=ALL_NAMESPACES).namespaces == ("",)
        assert cache.get_informer(NODE).namespaces == ("",)
        configmap = next(kind.gvk for kind in BUILTIN_KINDS if kind.gvk.kind == "ConfigMap")
        assert cache.get_informer(configmap, metadata_only=True).namespaces == ("a",)
        assert cache.get_informer(configmap).options.metadata_only is False
        assert cache.find_informer(configmap) is cache.get_informer(configmap)

    run_cache(populated(), body, by_kind={Widget: CacheOptions(label_selector="app=db")}, default_namespaces=("a",))


def test_indexes_before_and_after_the_sync() -> None:
    server = populated()
    server.put("bad", spec={"size": "huge"})

    async def body(cache: Cache) -> None:
        cache.add_index(Widget, "size", lambda found: [str(found.spec.size)])
        informer = cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()

        def apps(entry: Entry) -> list[str]:
            return [entry.metadata.labels.get("app", "")]

        informer.add_index("app", apps)
        cache.add_index(WIDGET, "parity", lambda found: ["odd"] if found["spec"]["size"] == 1 else [])
        assert [found.name for found in cache.list(WIDGET, index=("size", "2"))] == ["y"]
        assert [found.name for found in cache.list(WIDGET, index=("app", "db"))] == ["x"]
        assert [found.name for found in cache.list(WIDGET, index={"parity": "odd", "size": "1"})] == ["x"]
        assert cache.list(WIDGET, index={"parity": "odd", "size": "2"}) == []
        assert informer.status().index_errors == 1
        with pytest.raises(ValueError, match="already"):
            cache.add_index(Widget, "size", lambda _: [])

    run_cache(server, body)


def test_it_runs_once_at_a_time_and_may_run_again() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        await settle(1)
        with pytest.raises(RuntimeError, match="runs already"):
            await cache.run()
        assert cache.status().running

    run_cache(server, body)

    async def again(cache: Cache) -> None:
        other = Cache(server, scheme())
        other.get_informer(WIDGET)
        for _ in range(2):
            running = asyncio.create_task(other.run())
            await other.wait_for_cache_sync()
            await settle(1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert not other.status().running
            server.put("between")
        assert other.get_entry(WIDGET, ObjectKey("a", "x")).metadata.name == "x"
        running = asyncio.create_task(other.run())
        await settle(1)
        assert other.get_entry(WIDGET, ObjectKey("a", "between")).metadata.name == "between"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_cache(server, again)


def test_a_broken_informer_counts_if_another_proves_that_the_server_answers() -> None:
    server = populated()

    def only_widgets_in_b(request: Any) -> Fault | None:
        return Fault(error=TimeoutError()) if request.watch and "/b/" in request.path else None

    server.always = only_widgets_in_b

    async def body(cache: Cache) -> None:
        cache.get_informer(WIDGET, namespaces=("a",))
        cache.get_informer(WIDGET, namespaces=("b",))
        await cache.wait_for_cache_sync()
        await settle(340)
        (problem,) = cache.health().problems
        assert "in b: watch broken" in problem

    run_cache(server, body)


def test_reprs_hold_no_contents() -> None:
    server = FakeServer()
    server.put("x", data={"password": "hunter2"})

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        entry = cache.entries(WIDGET)[0]
        for found in (cache, informer, informer.store, entry, informer.reflectors[0], cache.status()):
            assert "hunter2" not in repr(found)
        assert "a/x" in repr(entry)

    run_cache(server, body)


def test_an_informer_released_before_it_has_synced_is_waited_for_no_longer() -> None:
    server = populated()
    server.always = lambda _: Fault(403, b"no")

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        waiting = asyncio.create_task(cache.wait_for_cache_sync())
        await settle()
        assert not waiting.done()
        cache.release(informer)
        async with asyncio.timeout(1):
            await waiting

    run_cache(server, body)
