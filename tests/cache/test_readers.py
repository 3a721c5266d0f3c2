"""One store, four ways to read it, and nobody can change what the others see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import Field

from pyoperator.cache import Cache, NoInformer
from pyoperator.client import kubernetes_asyncio_codec
from pyoperator.objects import CustomResource, DecodeError, GroupVersionKind, Model, ObjectKey, ResourceKind
from tests.cache.fake_server import RESOURCE, WIDGET, FakeServer, run_cache, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.cache import CacheEvent

KEY = ObjectKey("a", "x")
NODE = GroupVersionKind("", "v1", "Node")


class WidgetSpec(Model):
    sizes: list[int] = Field(default_factory=list)


class Widget(CustomResource, group="example.com", version="v1"):
    spec: WidgetSpec


def populated() -> FakeServer:
    server = FakeServer()
    server.put(
        "x",
        spec={"sizes": [1]},
        data={"a": "1"},
        metadata={"labels": {"app": "db"}, "managedFields": [{"manager": "m"}]},
    )
    return server


def change_typed(found: Any) -> None:
    found.spec.sizes.append(2)
    found.metadata.labels["app"] = "changed"


def change_free(found: Any) -> None:
    found["spec"]["sizes"].append(2)
    found["metadata"]["labels"]["app"] = "changed"


def change_model(found: Any) -> None:
    found.data["a"] = "2"
    found.metadata.labels["app"] = "changed"


def test_typed_dict_model_and_metadata_readers_share_one_store_and_no_object() -> None:
    from kubernetes_asyncio.client import V1ConfigMap

    server = populated()

    async def body(cache: Cache) -> None:
        cache.scheme.add_codec(V1ConfigMap, kubernetes_asyncio_codec(V1ConfigMap, RESOURCE))
        informer = cache.get_informer(Widget)
        assert cache.get_informer(V1ConfigMap) is informer
        assert cache.get_informer(WIDGET) is informer
        await cache.wait_for_cache_sync()
        raw = cache.get_entry(Widget, KEY).raw
        assert b"managedFields" not in raw
        changes: dict[Any, Callable[[Any], None]] = {
            Widget: change_typed,
            WIDGET: change_free,
            V1ConfigMap: change_model,
        }
        for kind, change in changes.items():
            first, second = cache.get(kind, KEY), cache.get(kind, KEY)
            (third,) = cache.list(kind)
            assert first is not second
            change(first)
            change(third)
            assert cache.get(Widget, KEY).spec.sizes == [1]
            assert cache.get(WIDGET, KEY).metadata["labels"] == {"app": "db"}
            assert cache.get(V1ConfigMap, KEY).data == {"a": "1"}
            assert cache.get(kind, KEY) == second
        # Metadata is frozen, and its labels are the reader's own.
        entry = cache.get_entry(WIDGET, KEY)
        for thing, name in ((entry, "held"), (entry, "raw"), (entry.metadata, "name"), (entry.metadata, "labels")):
            with pytest.raises(AttributeError):
                setattr(thing, name, "changed")
        for entry in (cache.get_entry(WIDGET, KEY), *cache.entries(WIDGET)):
            entry.metadata.labels["app"] = "changed"  # type: ignore[index]  # what a type checker refuses
        assert cache.get_entry(WIDGET, KEY).metadata.labels == {"app": "db"}
        assert [found.name for found in cache.list(WIDGET, label_selector="app=db")] == ["x"]
        assert cache.get_entry(Widget, KEY).raw == raw
        assert len(server.lists()) == 1

    run_cache(server, body)


def test_only_the_reader_of_a_bad_object_pays_for_it() -> None:
    server = populated()
    server.put("bad", spec={"sizes": "huge"})

    async def body(cache: Cache) -> None:
        cache.add_index(Widget, "size", lambda found: map(str, found.spec.sizes))
        informer = cache.get_informer(Widget)
        await cache.wait_for_cache_sync()
        with pytest.raises(DecodeError, match=r"spec\.sizes"):
            cache.get(Widget, ("a", "bad"))
        assert cache.get(WIDGET, "a/bad")["spec"]["sizes"] == "huge"
        assert cache.get_entry(Widget, ("a", "bad")).metadata.name == "bad"
        assert [found.metadata.name for found in cache.list(Widget)] == ["x"]
        assert len(cache.list(WIDGET)) == 2
        assert [found.metadata.name for found in cache.list(Widget, index=("size", "1"))] == ["x"]
        # It lives on: repaired, it is found, by the index too.
        server.put("bad", spec={"sizes": [1]})
        await settle()
        assert len(cache.list(Widget, index=("size", "1"))) == 2
        assert informer.status().index_errors == 1
        assert informer.status().unreadable == 0

    run_cache(server, body)


def test_metadata_only_keeps_no_bodies_and_says_so() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, metadata_only=True)
        await cache.wait_for_cache_sync()
        server.put("later", data={"a": "1" * 1000})
        await settle()
        entries = cache.entries(WIDGET)
        assert [entry.metadata.name for entry in entries] == ["x", "later"]
        assert cache.get_entry(WIDGET, KEY).metadata.labels == {"app": "db"}
        assert all(b"spec" not in entry.held and b"data:" not in entry.held for entry in entries)
        assert informer.status().held_bytes < 300
        with pytest.raises(NoInformer, match=r"metadata only: read it with cache.get_entry"):
            cache.get(WIDGET, KEY)
        with pytest.raises(NoInformer, match="metadata only"):
            cache.list(Widget)

    run_cache(server, body)


def test_keys_come_in_every_form_that_the_client_takes() -> None:
    async def body(cache: Cache) -> None:
        cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        for key in (KEY, ("a", "x"), "a/x"):
            assert cache.get(WIDGET, key).key == KEY
            assert cache.get_entry(WIDGET, key).key == KEY
        with pytest.raises(ValueError, match="'x' is namespaced"):
            cache.get(WIDGET, "x")
        cluster_wide = GroupVersionKind("example.com", "v1", "Planet")
        cache.scheme.add_resource(ResourceKind(cluster_wide, "planets", namespaced=False))
        planets = cache.get_informer(cluster_wide)
        planets.put(planets.read(b'{"metadata":{"name":"mars"}}'))  # type: ignore[arg-type]  # bytes read as well
        for planet in ("mars", ("", "mars"), "ignored/mars"):
            assert cache.get(cluster_wide, planet).name == "mars"

    run_cache(populated(), body)


def test_indexes_end_with_their_informer_and_those_of_the_cache_come_back() -> None:
    async def body(cache: Cache) -> None:
        cache.add_index(WIDGET, "all", lambda _: ["yes", "yes", "both"])
        informer = cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        informer.add_index("own", lambda entry: [entry.metadata.name])
        assert informer.store.statistics().indexes == ("all", "own")
        assert len(cache.list(WIDGET, index={"own": "x", "all": "both"})) == 1
        cache.release(informer)
        again = cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        assert again.store.statistics().indexes == ("all",)
        assert len(cache.list(WIDGET, index=("all", "yes"))) == 1
        # A text is no list of values.
        again.add_index("letters", lambda entry: entry.metadata.name)
        assert cache.list(WIDGET, index=("letters", "x")) == []
        assert again.status().index_errors == 1

    logs = run_cache(populated(), body)
    assert any("returns a list of values" in call.get("error", "") for call in logs)


def test_every_label_operator_reaches_the_cache() -> None:
    server = FakeServer()
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2", "y": ""}), ("c", {})):
        server.put(name, metadata={"labels": labels})

    async def body(cache: Cache) -> None:
        cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()
        expected = {
            "x": "ab", "!x": "c", "x=1": "a", "x==1": "a", "x!=1": "bc", "x in (1,2)": "ab", "x notin (1)": "bc",
            "x>1": "b", "x<2": "a", "y=": "b", "x,!y": "a", "": "abc",
        }  # fmt: skip
        for selector, names in expected.items():
            found = [entry.metadata.name for entry in cache.entries(WIDGET, label_selector=selector)]
            assert "".join(found) == names, selector

    run_cache(server, body)


def test_the_periodic_resync_is_ten_hours_with_a_tenth_of_jitter() -> None:
    times: list[float] = []

    class Clocked:
        def on_add(self, event: CacheEvent) -> None: ...

        def on_update(self, event: CacheEvent) -> None:
            assert event.resync
            times.append(asyncio.get_running_loop().time())

        on_delete = on_add

    async def body(cache: Cache) -> None:
        cache.get_informer(WIDGET).add_handler(Clocked())
        await settle(3 * 40_000)

    run_cache(populated(), body)
    gaps = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    assert len(gaps) >= 3
    assert all(32_400 <= gap <= 39_600 for gap in gaps)
    assert len({round(gap) for gap in gaps}) > 1
