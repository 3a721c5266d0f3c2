from __future__ import annotations

import asyncio

import pytest

from pyoperator.cache import Cache, CachedClient, CacheOptions, NoInformer, NotSynced
from pyoperator.client import Client
from pyoperator.objects import ObjectKey
from tests.cache.fake_server import WIDGET, FakeServer, Fault, run_cache, scheme, settle


def populated() -> FakeServer:
    server = FakeServer()
    server.put("x")
    server.put("y", "b")
    return server


def client_of(server: FakeServer, cache: Cache) -> CachedClient:
    return CachedClient(Client(server, scheme=scheme(), namespace="a"), cache)


def test_the_first_read_makes_an_informer_and_waits_for_it() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        await settle()
        # Several first reads at once share one informer.
        found = await asyncio.gather(client.get(WIDGET, "x"), client.list(WIDGET), client.get(WIDGET, "b/y"))
        assert found[0].name == "x"
        assert len(found[1].items) == 2
        assert len(server.lists()) == 1
        assert len(cache.informers) == 1
        server.put("z")
        await settle()
        assert (await client.get(WIDGET, "z")).name == "z"
        assert len(server.lists()) == 1
        assert cache.get(WIDGET, "a/x").name == "x"
        # Removed, it comes back with the next read.
        cache.remove_informer(WIDGET)
        assert not cache.informers
        assert (await client.get(WIDGET, "x")).name == "x"
        assert len(server.lists()) == 2

    run_cache(server, body, implicit_informers=True)


def test_without_the_opt_in_nothing_is_cached() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        await settle()
        assert (await client_of(server, cache).get(WIDGET, "x")).name == "x"
        assert not cache.informers
        assert server.lists()[0].path.endswith("/x")  # a live get

    run_cache(server, body)


def test_a_read_does_not_wait_for_ever_and_readiness_not_at_all() -> None:
    server = populated()
    server.always = lambda _: Fault(403, b"no")

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        await settle()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(NotSynced, match=r"did not sync within 7 s \(.*grant list and watch"):
            await client.get(WIDGET, "x")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(7)
        assert cache.health().ready
        async with asyncio.timeout(1):
            await cache.wait_for_cache_sync()
        # Asked for in so many words it counts.
        informer = cache.get_informer(WIDGET)
        assert not cache.health().ready
        cache.release(informer)
        assert cache.health().ready
        # It goes on trying; a later read finds it.
        server.always = lambda _: None
        await settle(60)
        assert (await client.get(WIDGET, "x")).name == "x"

    run_cache(server, body, implicit_informers=True, implicit_sync_timeout=7.0)


def test_a_cancelled_read_leaves_the_informer_to_others() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        await settle()
        first = asyncio.create_task(client.get(WIDGET, "x"))
        second = asyncio.create_task(client.get(WIDGET, "x"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).name == "x"
        assert first.cancelled()
        assert len(server.lists()) == 1

    run_cache(server, body, implicit_informers=True)


def test_own_informers_and_other_namespaces_are_read_as_before() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        informer = cache.get_informer(WIDGET)
        assert (await client.get(WIDGET, "x")).name == "x"  # live: it has not synced yet
        assert cache.informers == (informer,)
        cache.release(informer)
        await settle()
        before = len(server.requests)
        assert (await client.get(WIDGET, "b/y")).name == "y"  # the kind's options leave b out
        assert server.requests[-1].path.endswith("/b/widgets/y") or len(server.requests) > before
        # Metadata alone can't answer: whole objects are fetched beside it.
        metadata = cache.get_informer(WIDGET, metadata_only=True)
        await metadata.wait_synced()
        assert (await client.get(WIDGET, "x"))["kind"] == "Widget"
        assert {found.options.metadata_only for found in cache.informers} == {True, False}

    run_cache(server, body, implicit_informers=True, by_kind={WIDGET: CacheOptions(namespaces=("a",))})


def test_before_the_cache_runs_reads_are_live() -> None:
    server = populated()

    async def body(_: Cache) -> None:
        cache = Cache(server, scheme(), implicit_informers=True)
        assert (await client_of(server, cache).get(WIDGET, "x")).name == "x"
        with pytest.raises(NoInformer):
            cache.get(WIDGET, ObjectKey("a", "x"))

    run_cache(server, body)
