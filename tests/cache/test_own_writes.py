"""Reads through the cache see what the same process wrote before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.cache import CachedClient, NotSynced
from pyoperator.cache._unseen_write import Write
from pyoperator.client import ApiError, FieldOwnerClient, MergePatch, NamespacedClient, NotFound
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from tests.cache.fake_server import WIDGET, FakeServer, run_cache, settle
from tests.cache.slow_watch import CONFIG_MAP, NAMESPACES, Place, config_map, on_slow_watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.cache import Cache, Informer

DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
POD = GroupVersionKind("", "v1", "Pod")
FINALIZER = {"metadata": {"finalizers": ["example.com/wait"]}}


def now() -> float:
    return asyncio.get_running_loop().time()


def remembered(informer: Informer) -> int:
    return informer.own_writes.statistics().unseen


def pod(name: str, **spec: Any) -> Unstructured:
    return Unstructured.new(POD, name, "default", spec={"containers": [{"name": "c", "image": "i"}], **spec})


def deployment(name: str) -> Unstructured:
    labels = {"matchLabels": {"app": name}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return Unstructured.new(DEPLOYMENT, name, "default", spec={"replicas": 1, "selector": labels, "template": template})


async def _create(client: CachedClient) -> None:
    await client.create(config_map("new"))


async def _create_generated(client: CachedClient) -> None:
    generated = config_map("")
    generated.metadata["generateName"] = "new-"
    await client.create(generated)


async def _update(client: CachedClient) -> None:
    changed = await client.get(CONFIG_MAP, "old")
    changed["data"] = {"a": "2"}
    await client.update(changed)


async def _patch(client: CachedClient) -> None:
    await client.patch(CONFIG_MAP, "old", MergePatch({"data": {"a": "2"}}))


async def _create_or_patch(client: CachedClient) -> None:
    await client.create_or_patch(CONFIG_MAP, "old", lambda found: found.update(data={"a": "2"}))


async def _delete(client: CachedClient) -> None:
    await client.delete(CONFIG_MAP, "old")


async def _delete_held_back(client: CachedClient) -> None:
    await client.patch(CONFIG_MAP, "old", MergePatch(FINALIZER))
    await client.delete(CONFIG_MAP, "old")


async def _take_the_last_finalizer(client: CachedClient) -> None:
    await _delete_held_back(client)
    await client.patch(CONFIG_MAP, "old", MergePatch({"metadata": {"finalizers": None}}))


async def _create_and_delete(client: CachedClient) -> None:
    await client.create(config_map("new"))
    await client.delete(CONFIG_MAP, "new")


async def _replace(client: CachedClient) -> None:
    await client.delete(CONFIG_MAP, "old")
    await client.create(config_map("old", a="3"))


async def _delete_all(client: CachedClient) -> None:
    await client.delete_all_of(CONFIG_MAP, label_selector="app=db")


async def _delete_all_held_back(client: CachedClient) -> None:
    await client.patch(CONFIG_MAP, "old", MergePatch(FINALIZER))
    await client.delete_all_of(CONFIG_MAP)


async def _patch_status(client: CachedClient) -> None:
    await client.status.patch(DEPLOYMENT, "d", MergePatch({"status": {"replicas": 1}}))


async def _scale(client: CachedClient) -> None:
    await client.scale.set_replicas(DEPLOYMENT, "d", 3)


async def _evict(client: CachedClient) -> None:
    await client.pods.evict("p")


async def _delete_pod(client: CachedClient) -> None:
    await client.delete(POD, "p")


WRITES = [
    (CONFIG_MAP, _create),
    (CONFIG_MAP, _create_generated),
    (CONFIG_MAP, _update),
    (CONFIG_MAP, _patch),
    (CONFIG_MAP, _create_or_patch),
    (CONFIG_MAP, _delete),
    (CONFIG_MAP, _delete_held_back),
    (CONFIG_MAP, _take_the_last_finalizer),
    (CONFIG_MAP, _replace),
    (CONFIG_MAP, _delete_all),
    (CONFIG_MAP, _delete_all_held_back),
    (DEPLOYMENT, _patch_status),
    (DEPLOYMENT, _scale),
    (POD, _evict),
    (POD, _delete_pod),
]


@pytest.mark.parametrize(("kind", "write"), WRITES)
@pytest.mark.parametrize("waits", [True, False])
def test_reads_see_own_writes_and_without_the_option_they_are_stale(
    kind: GroupVersionKind, write: Callable[[CachedClient], Awaitable[None]], waits: bool
) -> None:
    async def body(place: Place) -> None:
        await place.live.create(config_map("old", labels={"app": "db"}, a="1"))
        await place.live.create(deployment("d"))
        await place.live.create(pod("p", nodeName="n"))
        informer = place.cache.get_informer(kind)
        await place.cache.wait_for_cache_sync()
        await asyncio.sleep(1)
        client = place.client(read_your_own_writes=waits)
        place.network.lag = lambda: 1.0
        await write(client)
        live = {item.key: item for item in await place.live.list(kind)}
        place.network.gets.clear()
        began = now()

        async def one(key: ObjectKey) -> Unstructured | None:
            try:
                return await client.get(kind, key)
            except NotFound:
                return None

        keys = {*live, *(entry.key for entry in informer.store.entries())}
        listed, single = await asyncio.gather(client.list(kind), asyncio.gather(*map(one, keys)))
        assert (now() > began) is waits
        assert ({item.key: item for item in single if item is not None} == live) is waits
        assert ({item.key: item for item in listed} == live) is waits
        assert not place.network.gets  # from the cache, every time
        await asyncio.sleep(60)
        # The next write forgets what only the passing of time can settle.
        await client.create(config_map("another"))
        await asyncio.sleep(5)
        assert remembered(informer) == 0

    on_slow_watch(body)


def test_an_object_made_and_deleted_at_once_does_not_come_back() -> None:
    async def body(place: Place) -> None:
        informer = place.cache.get_informer(CONFIG_MAP)
        await place.cache.wait_for_cache_sync()
        await asyncio.sleep(1)
        client = place.client()
        place.network.lag = lambda: 1.0
        await client.create(config_map("c"))
        await client.delete(CONFIG_MAP, "c")
        seen: list[bool] = []
        for _ in range(30):  # before, between and after the events of both
            with pytest.raises(NotFound):
                await client.get(CONFIG_MAP, "c")
            seen.append(informer.store.get(ObjectKey("default", "c")) is not None)
            await asyncio.sleep(0.1)
        assert remembered(informer) == 0
        assert place.network.gets == []

    on_slow_watch(body)


async def _started(place: Place, **options: Any) -> tuple[Informer, CachedClient]:
    for name, labels in (("a", {"app": "db"}), ("b", {"app": "web"})):
        for namespace in NAMESPACES:
            await place.live.create(config_map(name, namespace, labels=labels))
    informer = place.cache.get_informer(CONFIG_MAP, **options)
    await place.cache.wait_for_cache_sync()
    await asyncio.sleep(1)
    place.network.gets.clear()
    place.network.lag = lambda: 1.0
    return informer, place.client()


def test_what_changes_nothing_is_not_waited_for() -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place)
        began = now()
        await client.patch(CONFIG_MAP, "a", MergePatch({"metadata": {"labels": {"app": "db"}}}))
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}), dry_run=True)
        await client.create(config_map("dry"), dry_run=True)
        await client.delete(CONFIG_MAP, "a", dry_run=True)
        await client.delete_all_of(CONFIG_MAP, dry_run=True)
        with pytest.raises(ApiError):
            await client.create(config_map("a"))
        assert len((await client.list(CONFIG_MAP, namespace="default")).items) == 2
        assert (await client.get(CONFIG_MAP, "a"))["metadata"]["labels"] == {"app": "db"}
        assert now() == began
        assert remembered(informer) == 0

    on_slow_watch(body)


def test_reads_of_other_objects_do_not_wait() -> None:
    async def body(place: Place) -> None:
        _, client = await _started(place)
        began = now()
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        await client.get(CONFIG_MAP, "b")
        await client.get(CONFIG_MAP, ("kube-system", "a"))
        await client.list(CONFIG_MAP, namespace="kube-system")
        await client.list(CONFIG_MAP, label_selector="app=web")
        assert now() == began
        found = await client.list(CONFIG_MAP, label_selector="app=db")  # of all namespaces
        assert now() > began
        assert [item.get("data") for item in found if item.key.namespace == "default"] == [{"x": "y"}]

    on_slow_watch(body)


def test_a_read_does_not_wait_for_writes_that_follow_it() -> None:
    async def body(place: Place) -> None:
        _, client = await _started(place)
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "0"}}))
        reading = asyncio.create_task(client.get(CONFIG_MAP, "a"))
        for number in range(1, 30):
            await asyncio.sleep(0.1)
            await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": str(number)}}))
            if reading.done():
                break
        assert int(reading.result()["data"]["x"]) < number
        assert (await client.get(CONFIG_MAP, "a"))["data"]["x"] == str(number)

    on_slow_watch(body)


@pytest.mark.parametrize("selector", [{"label_selector": "app=db"}, {"field_selector": "metadata.namespace=default"}])
def test_what_an_informer_does_not_select_is_not_waited_for(selector: dict[str, str]) -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place, **selector)
        began = now()
        await client.create(config_map("c", "kube-system", labels={"app": "web"}))
        await client.patch(CONFIG_MAP, ("kube-system", "b"), MergePatch({"data": {"x": "y"}}))
        await client.delete(CONFIG_MAP, ("kube-system", "c"))
        await client.list(
            CONFIG_MAP,
            label_selector=selector.get("label_selector", ""),
            field_selector=selector.get("field_selector", ""),
        )
        assert (await client.get(CONFIG_MAP, ("kube-system", "b")))["data"] == {"x": "y"}  # live, at once
        assert now() == began
        # It will never be told of them, and forgets them in time.
        await asyncio.sleep(90)
        await client.patch(CONFIG_MAP, ("kube-system", "b"), MergePatch({"data": {"x": "z"}}))
        assert remembered(informer) <= 1

    on_slow_watch(body)


def test_an_object_that_leaves_the_selection_leaves_the_list() -> None:
    async def body(place: Place) -> None:
        _, client = await _started(place, label_selector="app=db")
        await client.patch(CONFIG_MAP, "a", MergePatch({"metadata": {"labels": {"app": "web"}}}))
        found = await client.list(CONFIG_MAP, namespace="default", label_selector="app=db")
        assert found.items == []
        await client.patch(CONFIG_MAP, "b", MergePatch({"metadata": {"labels": {"app": "db"}}}))
        found = await client.list(CONFIG_MAP, namespace="default", label_selector="app=db")
        assert [item.key.name for item in found] == ["b"]
        assert place.network.gets == []

    on_slow_watch(body)


def test_after_a_vain_wait_the_server_is_asked_until_the_write_was_seen() -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place)
        place.network.hold()
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        began = now()
        found = await asyncio.gather(*(client.get(CONFIG_MAP, "a") for _ in range(3)))
        assert now() == began + 5
        assert [item["data"] for item in found] == [{"x": "y"}] * 3
        assert len(place.network.gets) == 3
        assert len((await client.list(CONFIG_MAP, namespace="default")).items) == 2
        assert (await client.get(CONFIG_MAP, "a"))["data"] == {"x": "y"}
        assert now() == began + 5  # no second wait
        assert len(place.network.gets) == 5
        await client.get(CONFIG_MAP, "b")
        assert len(place.network.gets) == 5
        assert [(warning["key"], warning["waited"]) for warning in place.warnings()] == [("default/a", 5.0)]
        assert informer.status().own_write_timeouts == 3
        place.network.let_go()
        await asyncio.sleep(2)
        assert (await client.get(CONFIG_MAP, "a"))["data"] == {"x": "y"}
        assert len(place.network.gets) == 5
        assert remembered(informer) == 0
        assert informer.status().own_write_waits == 3

    on_slow_watch(body)


def test_what_is_written_elsewhere_is_not_remembered() -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place, namespaces=("default",))
        await client.patch(CONFIG_MAP, ("kube-system", "a"), MergePatch({"data": {"x": "y"}}))
        await client.delete(CONFIG_MAP, ("kube-system", "a"))
        assert remembered(informer) == 0

    on_slow_watch(body)


def test_a_scale_counts_for_lists_by_the_labels_that_it_does_not_tell() -> None:
    async def body(place: Place) -> None:
        place.cache.get_informer(DEPLOYMENT)
        await place.cache.wait_for_cache_sync()
        place.network.lag = lambda: 1.0
        client = place.client()
        made = deployment("d")
        made.metadata["labels"] = {"app": "d"}
        await client.create(made)
        await client.scale.set_replicas(DEPLOYMENT, "d", 3)
        found = await client.list(DEPLOYMENT, label_selector="app=d")
        assert [item["spec"]["replicas"] for item in found] == [3]

    on_slow_watch(body)


def test_lists_of_a_confined_cache_ask_the_server_for_its_namespaces() -> None:
    async def body(place: Place) -> None:
        _, client = await _started(place, namespaces=NAMESPACES)
        await place.live.create(Unstructured(apiVersion="v1", kind="Namespace", metadata={"name": "other"}))
        await place.live.create(config_map("elsewhere", "other"))
        place.network.hold()
        await client.create(config_map("c"))
        found = await client.list(CONFIG_MAP)
        assert sorted({item.key.namespace for item in found}) == sorted(NAMESPACES)
        assert "c" in [item.key.name for item in found]

    on_slow_watch(body)


def test_a_list_that_only_an_index_can_answer_fails_after_a_vain_wait() -> None:
    async def body(place: Place) -> None:
        _, client = await _started(place)
        place.cache.add_index(CONFIG_MAP, "data.x", lambda found: [(found.get("data") or {}).get("x", "")])
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        assert len((await client.list(CONFIG_MAP, index=("data.x", "y"))).items) == 1
        place.network.hold()
        await client.patch(CONFIG_MAP, "b", MergePatch({"data": {"x": "y"}}))
        for query in ({"index": ("data.x", "y")}, {"field_selector": "data.x=y"}):
            with pytest.raises(NotSynced, match="own write"):
                await client.list(CONFIG_MAP, **query)

    on_slow_watch(body)


@pytest.mark.parametrize("watch_list", [True, False])
def test_a_new_list_settles_what_no_event_will_tell_of(watch_list: bool) -> None:
    """Others deleted, while the watch was broken, what was created here."""

    async def body(place: Place) -> None:
        informer, client = await _started(place, watch_list=watch_list)
        place.network.hold()
        await client.create(config_map("c"))
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        await client.delete(CONFIG_MAP, "b")
        await place.live.delete(CONFIG_MAP, "c")
        reading = asyncio.gather(
            client.get(CONFIG_MAP, "c"), client.list(CONFIG_MAP, namespace="default"), return_exceptions=True
        )
        place.faults.inject_next("gone")  # to the watch that resumes
        place.network.lag = lambda: 0.1
        place.network.cut()
        error, found = await reading
        assert isinstance(error, NotFound)
        assert not isinstance(found, BaseException)
        assert [(item.key.name, item["data"]) for item in found] == [("a", {"x": "y"})]
        assert informer.status().relists == 1
        assert informer.status().own_write_timeouts == 0
        assert place.network.gets == []
        assert remembered(informer) <= 1  # the deletion, which a list can't be compared with

    on_slow_watch(body)


def test_events_may_overtake_answers() -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place)
        place.network.lag = lambda: 0.0
        place.faults.change(answer_latency=(1.0, 1.0))
        await client.create(config_map("c"))
        await client.patch(CONFIG_MAP, "c", MergePatch({"data": {"x": "y"}}))
        await client.patch(CONFIG_MAP, "c", MergePatch({"data": {"x": "z"}}))
        assert remembered(informer) == 0
        creating = asyncio.create_task(client.create(config_map("d")))
        await asyncio.sleep(0.5)
        await place.live.delete(CONFIG_MAP, "d")
        await creating  # an answer of the past: the object has come and gone
        began = now()
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAP, "d")
        assert now() == began

    on_slow_watch(body)


def test_the_events_of_a_deletion_may_overtake_its_answer() -> None:
    """So may a successor of the same name, which must not be taken for what was there before."""

    async def body(place: Place) -> None:
        informer, client = await _started(place)
        place.network.lag = lambda: 0.0
        place.faults.change(answer_latency=(1.0, 1.0))
        deleting = asyncio.create_task(client.delete(CONFIG_MAP, "a"))
        await asyncio.sleep(0.5)
        creating = asyncio.create_task(place.live.create(config_map("a")))
        await deleting
        await creating
        assert remembered(informer) == 0
        assert not informer.own_writes.deletions
        began = now()
        await client.get(CONFIG_MAP, "a")
        assert now() == began

    on_slow_watch(body)


@pytest.mark.parametrize("caught_up", [True, False])
def test_the_last_finalizer_takes_the_object_with_it(caught_up: bool) -> None:
    async def body(place: Place) -> None:
        _, client = await _started(place)
        await client.patch(CONFIG_MAP, "a", MergePatch(FINALIZER))
        await client.delete(CONFIG_MAP, "a")
        if caught_up:  # then the version in the answer is one that the cache has
            await asyncio.sleep(3)
        await client.patch(CONFIG_MAP, "a", MergePatch({"metadata": {"finalizers": None}}))
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAP, "a")
        assert place.network.gets == []

    on_slow_watch(body)


def test_an_informer_made_after_the_write_has_to_see_it_too() -> None:
    """Its first list may be as old as the server likes: what was written of the kind is waited for by version."""

    async def body(place: Place) -> None:
        client = place.client()
        await place.live.create(config_map("a"))
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        place.faults.change(lag=(1, 1))
        place.faults.inject_next("lying")
        informer = place.cache.get_informer(CONFIG_MAP, watch_list=False)
        place.network.lag = lambda: 1.0
        await place.cache.wait_for_cache_sync()
        assert "x" not in (place.cache.get(CONFIG_MAP, "default/a").get("data") or {})
        assert (await client.get(CONFIG_MAP, "a"))["data"] == {"x": "y"}
        assert place.network.gets == []
        await client.create(config_map("b"))
        await client.list(CONFIG_MAP)
        assert remembered(informer) == 0
        # One of metadata alone is not read by clients: it remembers nothing.
        other = place.cache.get_informer(CONFIG_MAP, metadata_only=True)
        await client.create(config_map("c"))
        assert remembered(other) == 0
        place.cache.release(other)

    on_slow_watch(body)


def test_a_dropped_informer_sends_its_readers_to_the_server() -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place)
        place.network.hold()
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        began = now()
        reading = asyncio.create_task(client.get(CONFIG_MAP, "a"))
        await asyncio.sleep(1)
        place.cache.release(informer)
        assert (await reading)["data"] == {"x": "y"}
        assert now() == began + 1
        assert len(place.network.gets) == 1
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "z"}}))
        assert remembered(informer) == 0

    on_slow_watch(body)


def test_a_cancelled_read_leaves_nothing() -> None:
    async def body(place: Place) -> None:
        informer, client = await _started(place)
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        (record,) = informer.own_writes.unseen[ObjectKey("default", "a")]
        reading = asyncio.create_task(client.get(CONFIG_MAP, "a"))
        await asyncio.sleep(0.5)
        assert len(record.waiters) == 1
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert (record.waiters, record.readers) == ([], 0)

    on_slow_watch(body)


def test_wrappers_on_either_side_make_no_difference() -> None:
    async def body(place: Place) -> None:
        informer, _ = await _started(place)
        inner = FieldOwnerClient(NamespacedClient(place.live, "default"), "me")
        for client in (
            CachedClient(inner, place.cache),
            NamespacedClient(FieldOwnerClient(place.client(), "me"), "default"),
        ):
            await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": str(now())}}))
            assert remembered(informer) == 1
            assert (await client.get(CONFIG_MAP, "a"))["data"]["x"] == str(now() - 1)
        # Clients of one cache see each other's writes, and the given one is as it was.
        await place.client().patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        assert (await place.client().get(CONFIG_MAP, "a"))["data"]["x"] == "y"
        assert place.live.transport is place.network
        await inner.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "z"}}))
        assert remembered(informer) == 0

    on_slow_watch(body)


def test_options_are_checked() -> None:
    async def body(place: Place) -> None:
        for seconds in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="own_write_timeout"):
                place.client(own_write_timeout=seconds)
        informer, _ = await _started(place)
        client = place.client(own_write_timeout=0.0)
        await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "y"}}))
        began = now()
        assert (await client.get(CONFIG_MAP, "a"))["data"]["x"] == "y"
        assert now() == began
        assert informer.status().own_write_timeouts == 1

    on_slow_watch(body)


def test_a_bookmark_or_another_objects_event_ends_the_wait_for_what_no_event_tells_of() -> None:
    """A write whose event does not come (it went by in a gap, or changed nothing that is watched)."""
    server = FakeServer()
    server.put("x")

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        await informer.wait_synced()
        for another_object in (False, True):
            key = ObjectKey("a", "x")
            server.version += 10
            informer.own_writes.note(Write(key, "present", "x", server.version))
            reading = asyncio.create_task(informer.own_writes.caught_up(key, 300.0))
            await settle()
            assert not reading.done()
            if another_object:
                server.put("y")
                await settle()
            else:
                await settle(61)
            assert reading.done()
            assert await reading
        assert informer.own_writes.statistics().timeouts == 0

    run_cache(server, body)
