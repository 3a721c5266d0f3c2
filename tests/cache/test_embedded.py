"""The cache on the embedded API server, in-process and on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.cache import Cache, CachedClient
from pyoperator.client import Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import CustomResource, GroupVersionKind, Model, ObjectKey, Scheme, Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing import InProcessTransport
from tests.cache.fake_server import Recorder
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


class GadgetSpec(Model):
    size: int


class Gadget(CustomResource, group="test.example.com", version="v1"):
    spec: GadgetSpec


def on_server(body: Callable[[Cache, Client], Coroutine[object, object, None]]) -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        server = APIServer(clock=clock, random=Randomness(1), options=ServerOptions())
        transport = InProcessTransport(server)
        scheme = Scheme()
        cache = Cache(transport, scheme, clock=clock, random=Randomness(2))
        running = asyncio.create_task(cache.run())
        try:
            await body(cache, Client(transport, scheme=scheme, clock=clock, random=Randomness(3)))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_virtual(main)


def config_map(name: str, **labels: str) -> Unstructured:
    found = Unstructured.new(CONFIG_MAP, name, "default", data={"a": "b"})
    found.metadata["labels"] = labels
    return found


@pytest.mark.parametrize("watch_list", [True, False])
def test_it_follows_creates_patches_and_deletes(watch_list: bool) -> None:
    async def body(cache: Cache, client: Client) -> None:
        await client.create(config_map("before"))
        informer = cache.get_informer(CONFIG_MAP, namespaces=("default",), watch_list=watch_list)
        heard = Recorder()
        informer.add_handler(heard)
        await cache.wait_for_cache_sync()
        reader = CachedClient(client, cache)
        assert (await reader.get(CONFIG_MAP, "default/before"))["data"] == {"a": "b"}
        for number in range(20):
            await client.create(config_map(f"c{number}"))
        changed = await client.get(CONFIG_MAP, "default/c0")
        changed["data"] = {"a": "c"}
        await client.update(changed)
        await client.delete(CONFIG_MAP, "default/c1")
        await asyncio.sleep(2)
        found = await client.list(CONFIG_MAP, namespace="default")
        assert {item.key: item.metadata["resourceVersion"] for item in found} == {
            entry.key: entry.metadata.resource_version for entry in cache.entries(CONFIG_MAP)
        }
        assert heard.state.keys() == {item.key for item in found}
        # An hour of server timeouts and bookmarks: no failure, no second list.
        await asyncio.sleep(3600)
        status = informer.status()
        assert (status.lists, status.streamed_lists, status.failures) == (1, int(watch_list), 0)
        assert status.bookmark_age is not None

    on_server(body)


@pytest.mark.parametrize("watch_list", [True, False])
def test_selectors_pages_and_metadata_only(watch_list: bool) -> None:
    async def body(cache: Cache, client: Client) -> None:
        for number in range(25):
            await client.create(config_map(f"c{number}", parity="odd" if number % 2 else "even"))
        cache.get_informer(
            CONFIG_MAP, label_selector="parity=odd", page_size=5, metadata_only=True, watch_list=watch_list
        )
        await cache.wait_for_cache_sync()
        entries = cache.entries(CONFIG_MAP)
        assert len(entries) == 12
        assert all(b'"data"' not in entry.raw for entry in entries)
        # What ceases to match leaves the cache.
        changed = await client.get(CONFIG_MAP, "default/c1")
        changed.metadata["labels"] = {"parity": "none"}
        await client.update(changed)
        await asyncio.sleep(1)
        assert len(cache.entries(CONFIG_MAP)) == 11

    on_server(body)


def test_a_missing_kind_appears() -> None:
    async def body(cache: Cache, client: Client) -> None:
        informer = cache.get_informer(Gadget)
        await asyncio.sleep(100)
        assert not informer.synced
        assert "CustomResourceDefinition is missing" in informer.status().failure
        await client.create(Unstructured(crd_manifest(Gadget)))
        await asyncio.sleep(40)
        assert informer.synced
        gadget = Gadget.model_validate({"metadata": {"name": "g", "namespace": "default"}, "spec": {"size": 3}})
        await client.create(gadget)
        await asyncio.sleep(1)
        assert cache.get(Gadget, ObjectKey("default", "g")).spec.size == 3

    on_server(body)
