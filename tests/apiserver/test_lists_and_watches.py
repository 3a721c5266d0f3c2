from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.apiserver.requests import CONFIG_MAPS, Asker, config_map
from tests.support import run_virtual

if TYPE_CHECKING:
    from pyoperator.apiserver import WatchSubscription


@pytest.fixture
def ask() -> Asker:
    return Asker()


def fill(ask: Asker, count: int) -> None:
    for number in range(count):
        ask(
            "POST",
            CONFIG_MAPS,
            config_map(f"c{number:03}", labels={"parity": "odd" if number % 2 else "even"}),
            status=201,
        )


def names(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def test_lists_of_built_in_kinds_say_their_kind_once(ask: Asker) -> None:
    fill(ask, 2)
    listed = ask("GET", CONFIG_MAPS, status=200)
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert all("kind" not in item and "apiVersion" not in item for item in listed["items"])
    assert listed["metadata"] == {"resourceVersion": str(ask.server.store.revision)}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("parity=odd", ["c001", "c003"]),
        ("parity!=odd", ["c000", "c002"]),
        ("parity in (odd, even)", ["c000", "c001", "c002", "c003"]),
        ("parity notin (odd)", ["c000", "c002"]),
        ("parity", ["c000", "c001", "c002", "c003"]),
        ("!parity", []),
        ("parity=even,parity", ["c000", "c002"]),
    ],
)
def test_label_selectors(ask: Asker, selector: str, expected: list[str]) -> None:
    fill(ask, 4)
    assert names(ask("GET", CONFIG_MAPS, query={"labelSelector": selector})) == expected


def test_field_selectors(ask: Asker) -> None:
    fill(ask, 3)
    assert names(ask("GET", CONFIG_MAPS, query={"fieldSelector": "metadata.name=c001"})) == ["c001"]
    assert names(ask("GET", "/api/v1/configmaps", query={"fieldSelector": "metadata.namespace!=default"})) == []
    answer = ask("GET", CONFIG_MAPS, query={"fieldSelector": "data.k=v"}, status=400)
    assert '"data.k" is not a known field selector' in answer["message"]


@pytest.mark.parametrize("selector", ["a=b=c", "a in b", "(", "a in (b", "=", "a/b/c=d", "a=b,,"])
def test_bad_label_selectors(ask: Asker, selector: str) -> None:
    assert ask("GET", CONFIG_MAPS, query={"labelSelector": selector}, status=400)["reason"] == "BadRequest"


def test_pages_show_one_version(ask: Asker) -> None:
    fill(ask, 5)
    first = ask("GET", CONFIG_MAPS, query={"limit": "2"})
    assert names(first) == ["c000", "c001"]
    assert first["metadata"]["remainingItemCount"] == 3
    ask("DELETE", f"{CONFIG_MAPS}/c002", status=200)
    ask("POST", CONFIG_MAPS, config_map("c0025"), status=201)
    second = ask("GET", CONFIG_MAPS, query={"limit": "2", "continue": first["metadata"]["continue"]})
    assert names(second) == ["c002", "c003"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = ask("GET", CONFIG_MAPS, query={"limit": "2", "continue": second["metadata"]["continue"]})
    assert names(third) == ["c004"]
    assert "continue" not in third["metadata"]


def test_a_page_of_a_forgotten_version_is_gone_with_a_way_on(ask: Asker) -> None:
    fill(ask, 4)
    first = ask("GET", CONFIG_MAPS, query={"limit": "2"})
    ask("POST", CONFIG_MAPS, config_map("z"), status=201)
    ask.server.store.compact(ask.server.store.revision)
    gone = ask("GET", CONFIG_MAPS, query={"limit": "2", "continue": first["metadata"]["continue"]}, status=410)
    assert gone["reason"] == "Expired"
    rest = ask("GET", CONFIG_MAPS, query={"continue": gone["metadata"]["continue"]}, status=200)
    assert names(rest) == ["c002", "c003", "z"]
    assert ask("GET", CONFIG_MAPS, query={"continue": "nonsense"}, status=400)


def test_versions_of_a_list(ask: Asker) -> None:
    fill(ask, 2)
    then = str(ask.server.store.revision)
    ask("POST", CONFIG_MAPS, config_map("z"), status=201)
    exact = {"resourceVersion": then, "resourceVersionMatch": "Exact"}
    assert names(ask("GET", CONFIG_MAPS, query=exact)) == ["c000", "c001"]
    assert names(ask("GET", CONFIG_MAPS, query={**exact, "resourceVersionMatch": "NotOlderThan"})) == [
        "c000",
        "c001",
        "z",
    ]
    late = ask("GET", CONFIG_MAPS, query={"resourceVersion": "999999"}, status=504)
    assert late["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    ask("GET", CONFIG_MAPS, query={"resourceVersionMatch": "Exact"}, status=422)
    ask("GET", CONFIG_MAPS, query={"resourceVersion": "x"}, status=400)
    ask.server.store.compact(ask.server.store.revision)
    assert ask("GET", CONFIG_MAPS, query=exact, status=410)["reason"] == "Expired"


def test_tables_and_partial_metadata(ask: Asker) -> None:
    fill(ask, 2)
    table = ask("GET", CONFIG_MAPS, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"})
    assert (table["kind"], len(table["rows"])) == ("Table", 2)
    partial = ask(
        "GET", CONFIG_MAPS, headers={"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    )
    assert partial["kind"] == "PartialObjectMetadataList"
    assert set(partial["items"][0]) == {"kind", "apiVersion", "metadata"}


# Watches


def watch(ask: Asker, **query: str) -> WatchSubscription:
    headers = {"accept": query.pop("accept")} if "accept" in query else {}
    response = ask.raw("GET", CONFIG_MAPS, query={"watch": "1", **query}, headers=headers)
    assert response.status == 200, response.body
    assert response.watch is not None
    return response.watch


def collect(subscription: WatchSubscription) -> list[dict[str, Any]]:
    """Read until the stream ends, on virtual time."""

    async def read() -> list[dict[str, Any]]:
        data = b"".join([piece async for piece in subscription.lines()])
        return [json.loads(line) for line in data.splitlines()]

    return run_virtual(read)


def summary(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_a_watch_without_a_version_begins_with_what_is_there(ask: Asker) -> None:
    fill(ask, 2)
    subscription = watch(ask)
    ask("DELETE", f"{CONFIG_MAPS}/c000", status=200)
    subscription.close()
    events = collect(subscription)
    assert summary(events) == [("ADDED", "c000"), ("ADDED", "c001"), ("DELETED", "c000")]
    assert int(events[-1]["object"]["metadata"]["resourceVersion"]) == ask.server.store.revision


def test_a_watch_resumes_from_a_version(ask: Asker) -> None:
    fill(ask, 1)
    version = str(ask.server.store.revision)
    fill_more = config_map("z")
    ask("POST", CONFIG_MAPS, fill_more, status=201)
    subscription = watch(ask, resourceVersion=version)
    ask("PUT", f"{CONFIG_MAPS}/z", {**fill_more, "data": {}}, status=200)
    subscription.close()
    assert summary(collect(subscription)) == [("ADDED", "z"), ("MODIFIED", "z")]


def test_a_forgotten_version_is_an_error_event(ask: Asker) -> None:
    fill(ask, 3)
    ask.server.store.compact(ask.server.store.revision)
    (event,) = collect(watch(ask, resourceVersion="5"))
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_the_log_forgets_by_itself() -> None:
    ask = Asker(history=10)
    fill(ask, 40)
    assert ask.server.store.revision - ask.server.store.compacted <= 13


def test_selectors_turn_changes_into_comings_and_goings(ask: Asker) -> None:
    ask("POST", CONFIG_MAPS, config_map("a", labels={"x": "1"}), status=201)
    subscription = watch(ask, labelSelector="x=1", resourceVersion=str(ask.server.store.revision))
    for labels in ({"x": "2"}, {"x": "3"}, {"x": "1"}):
        ask("PUT", f"{CONFIG_MAPS}/a", config_map("a", labels=labels), status=200)
    ask("DELETE", f"{CONFIG_MAPS}/a", status=200)
    subscription.close()
    events = collect(subscription)
    assert [event["type"] for event in events] == ["DELETED", "ADDED", "DELETED"]
    # What leaves is shown as it was, at the version of the change.
    assert events[0]["object"]["metadata"]["labels"] == {"x": "1"}
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


def test_timeout_ends_a_watch_with_a_bookmark(ask: Asker) -> None:
    events = collect(watch(ask, timeoutSeconds="30", allowWatchBookmarks="true", resourceVersion="0"))
    assert [event["type"] for event in events] == ["BOOKMARK"]
    assert events[0]["object"]["metadata"]["resourceVersion"] == str(ask.server.store.revision)
    assert collect(watch(ask, timeoutSeconds="30")) == []
    # Too short for a last word.
    assert collect(watch(ask, timeoutSeconds="1", allowWatchBookmarks="true")) == []


def test_bookmarks_come_each_minute(ask: Asker) -> None:
    events = collect(watch(ask, timeoutSeconds="185", allowWatchBookmarks="true"))
    assert [event["type"] for event in events] == ["BOOKMARK"] * 4


def test_watch_list(ask: Asker) -> None:
    fill(ask, 2)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    subscription = watch(ask, **query)
    subscription.close()
    events = collect(subscription)
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    ask("GET", CONFIG_MAPS, query={"watch": "1", "sendInitialEvents": "true"}, status=422)


def test_watch_as_table(ask: Asker) -> None:
    fill(ask, 2)
    subscription = watch(ask, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    subscription.close()
    first, second = collect(subscription)
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"]
    assert not second["object"]["columnDefinitions"]
    assert second["object"]["rows"][0]["cells"][0] == "c001"


def test_a_slow_reader_is_dropped_and_nobody_else() -> None:
    ask = Asker(watch_buffer=10)
    slow = watch(ask)
    read: list[bytes] = []

    async def scenario() -> None:
        quick = watch(ask)

        async def reader() -> None:
            async for piece in quick.lines():
                read.extend(piece.splitlines())

        task = asyncio.create_task(reader())
        for number in range(30):
            ask("POST", CONFIG_MAPS, config_map(f"c{number}"), status=201)
            await asyncio.sleep(0.01)
        quick.close()
        await task
        assert not quick.dropped

    run_virtual(scenario)
    assert len(read) == 30
    assert slow.dropped
    assert len(collect(slow)) == 10


def test_watchers_share_one_rendering(ask: Asker) -> None:
    subscriptions = [watch(ask) for _ in range(3)]
    ask("POST", CONFIG_MAPS, config_map(), status=201)
    (change,) = ask.server.store.changes_after(ask.server.store.revision - 1)
    assert len(change.encoded) == 1
    for subscription in subscriptions:
        subscription.close()


def test_a_cancelled_reader_leaves_no_watcher_behind(ask: Asker) -> None:
    async def scenario() -> None:
        subscription = watch(ask)

        async def reader() -> None:
            async for _ in subscription.lines():
                pass

        task = asyncio.create_task(reader())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert subscription.closed

    run_virtual(scenario)
    ask("POST", CONFIG_MAPS, config_map(), status=201)
