from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.cache import CachedClient, NoInformer
from pyoperator.client import Client, NotFound
from pyoperator.objects import ObjectKey
from tests.cache.fake_server import WIDGET, FakeServer, run_cache, scheme, settle

if TYPE_CHECKING:
    from pyoperator.cache import Cache


def populated() -> FakeServer:
    server = FakeServer()
    server.put("x", metadata={"labels": {"app": "db"}})
    server.put("y", "b", metadata={"labels": {"app": "web"}})
    return server


def client_of(server: FakeServer, cache: Cache) -> CachedClient:
    return CachedClient(Client(server, scheme=scheme(), namespace="a"), cache)


def test_reads_of_a_cached_kind_ask_the_server_nothing() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        await settle()
        before = len(server.requests)
        assert (await client.get(WIDGET, "x")).name == "x"
        assert (await client.get(WIDGET, ObjectKey("b", "y"))).name == "y"
        assert [found.name for found in await client.list(WIDGET)] == ["x", "y"]
        assert [found.name for found in await client.list(WIDGET, label_selector={"app": "db"})] == ["x"]
        with pytest.raises(NotFound):
            await client.get(WIDGET, "gone")
        assert len(server.requests) == before

    run_cache(server, body)


def test_reads_of_other_kinds_and_before_the_sync_are_live() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        assert (await client.get(WIDGET, "x")).name == "x"
        with pytest.raises(NoInformer):
            await client.list(WIDGET, index=("a", "b"))
        informer = cache.get_informer(WIDGET)
        assert not informer.synced
        assert len((await client.list(WIDGET)).items) == 2
        assert [request.path.rpartition("/")[2] for request in server.requests] == ["x", "widgets"]

    run_cache(server, body)


def test_what_only_a_server_can_answer_is_live() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        await settle()
        before = len(server.requests)
        await client.list(WIDGET, limit=1)
        await client.list(WIDGET, field_selector="spec.size=1")
        await client.list(WIDGET, resource_version="102")
        assert len(server.requests) == before + 3
        await client.list(WIDGET, resource_version="0")
        assert len(server.requests) == before + 3

    run_cache(server, body)


def test_an_informer_with_a_selector_answers_only_what_it_can_know() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        informer = cache.get_informer(WIDGET, label_selector="app=db")
        await cache.wait_for_cache_sync()
        await settle()
        server.put("z", metadata={"labels": {"app": "web"}})
        informer.store.delete(ObjectKey("a", "z"))
        before = len(server.requests)
        assert (await client.get(WIDGET, "x")).name == "x"
        await client.list(WIDGET, label_selector="app=db,x!=y")
        assert len(server.requests) == before
        assert (await client.get(WIDGET, "z")).name == "z"  # not selected, but it exists
        assert len((await client.list(WIDGET)).items) == 3
        assert len(server.requests) == before + 2

    run_cache(server, body)


def test_field_selectors_are_cached_where_indexes_answer_them() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        cache.get_informer(WIDGET)
        cache.add_index(WIDGET, "metadata.labels.app", lambda found: [found.metadata["labels"]["app"]])
        await cache.wait_for_cache_sync()
        await settle()
        before = len(server.requests)

        async def names(selector: str, **options: Any) -> list[str]:
            return [found.name for found in await client.list(WIDGET, field_selector=selector, **options)]

        assert await names("metadata.name=x") == ["x"]
        assert await names("metadata.labels.app=web") == ["y"]
        assert await names("metadata.labels.app=web", namespace="a") == []
        assert await names("metadata.labels.app=web,metadata.name=y", index=("metadata.labels.app", "web")) == ["y"]
        assert len(server.requests) == before
        # No index, or no equality: the server knows.
        await names("spec.size=1")
        await names("metadata.name!=x")
        assert len(server.requests) == before + 2
        with pytest.raises(ValueError, match=r"no index answers the field selector 'spec\.size=1'"):
            await names("spec.size=1", index=("metadata.labels.app", "web"))

    run_cache(server, body)


def test_what_an_informer_selects_by_needs_no_index() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        cache.get_informer(WIDGET, field_selector="spec.nodeName=n")
        await cache.wait_for_cache_sync()
        await settle()
        before = len(server.requests)
        assert len((await client.list(WIDGET, field_selector="metadata.name=x,spec.nodeName=n")).items) == 1
        assert len(cache.list(WIDGET, field_selector="spec.nodeName=n")) == 2
        assert len(server.requests) == before
        await client.list(WIDGET)
        await client.list(WIDGET, field_selector="spec.nodeName=other")
        assert len(server.requests) == before + 2

    run_cache(server, body)


def test_indexes_and_undecodable_objects() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        client = client_of(server, cache)
        cache.get_informer(WIDGET)
        cache.add_index(WIDGET, "app", lambda found: [found.metadata["labels"]["app"]])
        await cache.wait_for_cache_sync()
        assert [found.name for found in await client.list(WIDGET, index=("app", "web"))] == ["y"]
        with pytest.raises(ValueError, match="index="):
            await client.list(WIDGET, index=("app", "web"), limit=1)

    run_cache(server, body)
