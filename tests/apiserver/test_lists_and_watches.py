from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.apiserver import APIRequest
from pyoperator.apiserver._representation import Representation
from pyoperator.apiserver.storage import Selection
from tests.apiserver.requests import ADMIN, CONFIG_MAPS, Asker, config_map
from tests.support import run_virtual

if TYPE_CHECKING:
    from pyoperator.apiserver import WatchSubscription
    from pyoperator.apiserver.storage import StoredObject


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


def test_the_log_is_bounded_in_bytes() -> None:
    ask = Asker(history_bytes=50_000)
    ask("POST", CONFIG_MAPS, config_map(), status=201)
    big = {**config_map(), "data": {"k": "v" * 9_000}}
    for number in range(30):
        ask("PUT", f"{CONFIG_MAPS}/a", {**big, "metadata": {"name": "a", "labels": {"n": str(number)}}}, status=200)
        assert ask.server.store.history_bytes <= 50_000
    store = ask.server.store
    assert 3 <= store.revision - store.compacted <= 6
    assert store.history_bytes == sum(change.weight for change in store.changes_after(store.compacted))
    ask("DELETE", f"{CONFIG_MAPS}/a", status=200)
    store.compact()
    assert (store.history_bytes, store.compacted) == (0, store.revision)


def test_a_selected_page_goes_on_where_objects_remain_even_if_none_matches(ask: Asker) -> None:
    fill(ask, 4)
    first = ask("GET", CONFIG_MAPS, query={"limit": "2", "labelSelector": "parity=even"}, status=200)
    assert names(first) == ["c000", "c002"]
    assert "remainingItemCount" not in first["metadata"]
    query = {"limit": "2", "labelSelector": "parity=even", "continue": first["metadata"]["continue"]}
    last = ask("GET", CONFIG_MAPS, query=query, status=200)
    assert (last["items"], "continue" in last["metadata"]) == ([], False)


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


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


INITIAL_END = {"k8s.io/initial-events-end": "true"}


def test_timeout_ends_a_watch_with_a_bookmark(ask: Asker) -> None:
    now = str(ask.server.store.revision)
    events = collect(watch(ask, timeoutSeconds="30", allowWatchBookmarks="true", resourceVersion=now))
    assert types(events) == ["BOOKMARK"]
    assert events[0]["object"]["metadata"] == {"resourceVersion": now}
    assert collect(watch(ask, timeoutSeconds="30")) == []
    # Too short for a last word.
    assert collect(watch(ask, timeoutSeconds="1", allowWatchBookmarks="true", resourceVersion=now)) == []


def test_bookmarks_come_each_minute(ask: Asker) -> None:
    now = str(ask.server.store.revision)
    events = collect(watch(ask, timeoutSeconds="185", allowWatchBookmarks="true", resourceVersion=now))
    assert types(events) == ["BOOKMARK"] * 4


def test_a_bookmark_follows_changes_of_other_kinds(ask: Asker) -> None:
    subscription = watch(ask, timeoutSeconds="70", allowWatchBookmarks="true", resourceVersion="5")
    ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}}, status=201)
    events = [event for event in collect(subscription) if event["type"] == "BOOKMARK"]
    assert {event["object"]["metadata"]["resourceVersion"] for event in events} == {str(ask.server.store.revision)}


def test_no_bookmark_takes_a_client_back(ask: Asker) -> None:
    ahead = str(ask.server.store.revision + 5)
    assert collect(watch(ask, timeoutSeconds="185", allowWatchBookmarks="true", resourceVersion=ahead)) == []


@pytest.mark.parametrize("version", [{}, {"resourceVersion": "0"}])
def test_a_watch_from_no_version_marks_the_end_of_its_initial_events(ask: Asker, version: dict[str, str]) -> None:
    fill(ask, 1)
    added, end = collect(watch(ask, timeoutSeconds="1", allowWatchBookmarks="true", **version))
    assert (added["type"], end["type"]) == ("ADDED", "BOOKMARK")
    assert end["object"]["metadata"]["annotations"] == INITIAL_END


def test_a_time_that_is_over_ends_a_watch_with_an_error(ask: Asker) -> None:
    (event,) = collect(watch(ask, timeoutSeconds="-1"))
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 500, "InternalError")


def test_watch_list(ask: Asker) -> None:
    fill(ask, 2)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    subscription = watch(ask, **query)
    subscription.close()
    events = collect(subscription)
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    ask("GET", CONFIG_MAPS, query={"watch": "1", "sendInitialEvents": "true"}, status=422)


def test_a_server_without_watch_list_says_so_and_watches_all_the_same() -> None:
    ask = Asker(watch_list=False)
    fill(ask, 1)
    refused = ask("GET", CONFIG_MAPS, query={"watch": "1", **AHEAD}, status=422)
    assert "unless the WatchList feature gate is enabled" in refused["message"]
    subscription = watch(ask)
    subscription.close()
    assert [event["type"] for event in collect(subscription)] == ["ADDED"]


AHEAD = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}


def test_initial_events_ahead_of_the_store_are_refused_after_three_seconds(ask: Asker) -> None:
    async def read() -> tuple[float, bytes]:
        started = asyncio.get_running_loop().time()
        data = b"".join([piece async for piece in watch(ask, **AHEAD, resourceVersion="999999").lines()])
        return asyncio.get_running_loop().time() - started, data

    waited, data = run_virtual(read)
    assert waited == pytest.approx(3.0)
    event = json.loads(data)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)
    assert event["object"]["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert ask.server.store.watchers == 0


def test_initial_events_wait_for_the_version_asked_for(ask: Asker) -> None:
    async def read() -> list[dict[str, Any]]:
        subscription = watch(ask, **AHEAD, timeoutSeconds="10", resourceVersion=str(ask.server.store.revision + 2))
        loop = asyncio.get_running_loop()
        loop.call_later(1, fill, ask, 2)
        loop.call_later(4, subscription.close)
        return [json.loads(line) async for piece in subscription.lines() for line in piece.splitlines()]

    assert types(run_virtual(read)) == ["ADDED", "ADDED", "BOOKMARK"]


def test_closing_a_watch_that_waits_for_its_version_ends_it_at_once(ask: Asker) -> None:
    async def read() -> tuple[float, list[bytes]]:
        subscription = watch(ask, **AHEAD, resourceVersion="999999")
        asyncio.get_running_loop().call_later(1, ask.server.end_watches)
        pieces = [piece async for piece in subscription.lines()]
        return asyncio.get_running_loop().time(), pieces

    waited, pieces = run_virtual(read)
    assert waited == pytest.approx(1.0)
    assert pieces == []


def test_a_read_ahead_of_the_store_waits_before_it_is_refused(ask: Asker) -> None:
    def asked(version: int) -> APIRequest:
        return APIRequest("GET", CONFIG_MAPS, [("resourceVersion", str(version))], credential=ADMIN)

    async def read() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1, fill, ask, 1)
        soon = await ask.server.serve(asked(ask.server.store.revision + 1))
        assert (soon.status, round(loop.time(), 3)) == (200, 1.0)
        never = await ask.server.serve(asked(999_999))
        assert (never.status, never.headers["retry-after"], round(loop.time(), 3)) == (504, "1", 4.0)

    run_virtual(read)


def test_watch_as_table(ask: Asker) -> None:
    fill(ask, 2)
    subscription = watch(ask, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    # Comes while nothing of the stream has been made: it is not the one that brings the columns.
    ask("POST", CONFIG_MAPS, config_map("z"), status=201)
    subscription.close()
    first, second, third = collect(subscription)
    assert first["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"]
    assert not second["object"]["columnDefinitions"]
    assert not third["object"]["columnDefinitions"]
    assert second["object"]["rows"][0]["cells"][0] == "c001"


def test_the_first_line_of_a_table_without_objects_brings_the_columns(ask: Asker) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    (end,) = collect(watch(ask, accept=accept, timeoutSeconds="1", allowWatchBookmarks="true"))
    assert end["object"]["columnDefinitions"]
    assert end["object"]["rows"][0]["object"]["metadata"]["annotations"] == INITIAL_END
    now = str(ask.server.store.revision)
    resumed = watch(ask, accept=accept, resourceVersion=now)
    fill(ask, 2)
    resumed.close()
    assert [bool(event["object"]["columnDefinitions"]) for event in collect(resumed)] == [True, False]


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


@pytest.mark.parametrize(("watches", "rest", "fewest", "most"), [(19, 0.0, 100, 100), (20, 0.003, 24, 35), (40, 0.006, 15, 20), (400, 0.015, 6, 9)])  # fmt: skip
def test_many_watches_let_fast_changes_gather(ask: Asker, watches: int, rest: float, fewest: int, most: int) -> None:
    """A piece for each change and watch is what a server with many watches would spend most of its time on."""
    others = [watch(ask) for _ in range(watches - 1)]
    told: list[tuple[float, int]] = []

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        subscription = watch(ask)
        seen = 0

        async def reader() -> None:
            nonlocal seen
            async for piece in subscription.lines():
                for line in piece.splitlines():
                    assert json.loads(line)["object"]["metadata"]["name"] == f"c{seen}"
                    seen += 1
                told.append((now(), seen))

        task = asyncio.create_task(reader())
        await asyncio.sleep(1)
        begun = now()
        for number in range(100):
            ask("POST", CONFIG_MAPS, config_map(f"c{number}"), status=201)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert seen == 100
        # The first one of a quiet time comes at once, none later than the rest, and in a quiet time nothing rests.
        assert told[0] == (begun, 1)
        assert all(seen >= (time - rest - begun) * 1000 for time, seen in told)
        assert told[-1][0] <= begun + 0.1 + rest
        gap = now()
        ask("POST", CONFIG_MAPS, config_map("c100"), status=201)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told[-1] == (gap, 101)
        subscription.close()
        await task

    run_virtual(scenario)
    assert fewest <= len(told) - 1 <= most
    for other in others:
        other.close()


def test_a_watch_that_rests_keeps_its_times(ask: Asker) -> None:
    """Its buffer is never empty between two pieces; what the clock asks for comes all the same."""
    others = [watch(ask) for _ in range(99)]

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        begun = now()
        subscription = watch(ask, timeoutSeconds="5", allowWatchBookmarks="true")
        bookmarks: list[float] = []

        async def reader() -> float:
            async for piece in subscription.lines():
                bookmarks.extend(now() for line in piece.splitlines() if json.loads(line)["type"] == "BOOKMARK")
            return now()

        task = asyncio.create_task(reader())
        for number in range(600):
            ask("POST", CONFIG_MAPS, config_map(f"c{number}"), status=201)
            await asyncio.sleep(0.01)
        assert task.done()
        # That its initial events end, its farewell, and its end.
        assert [round(time - begun, 1) for time in (*bookmarks, await task)] == [0.0, 3.0, 5.0]

    run_virtual(scenario)
    for other in others:
        other.close()


def test_a_watch_that_rests_reads_before_its_buffer_is_full_and_ends_at_once() -> None:
    ask = Asker(watch_buffer=10)
    for number in range(30):
        ask("POST", CONFIG_MAPS, config_map(f"before-{number}"), status=201)
    others = [watch(ask) for _ in range(99)]

    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        subscription = watch(ask)
        seen: list[str] = []

        async def reader() -> None:
            async for piece in subscription.lines():
                seen.extend(json.loads(line)["object"]["metadata"]["name"] for line in piece.splitlines())

        task = asyncio.create_task(reader())
        for number in range(100):
            ask("POST", CONFIG_MAPS, config_map(f"c{number}"), status=201)
            await asyncio.sleep(0.001)
        ask("POST", CONFIG_MAPS, config_map("last"), status=201)
        begun = now()
        subscription.close()
        await task
        assert now() == begun
        assert not subscription.dropped
        assert seen[-101:] == [*(f"c{number}" for number in range(100)), "last"]

    run_virtual(scenario)
    for other in others:
        other.close()


def test_watchers_of_one_selection_share_its_evaluation_and_those_of_others_the_rendering(
    ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a change costs must not grow with the number of watches more than it must."""
    evaluated: list[str] = []
    matches = Selection.matches

    def counted(selection: Selection, stored: StoredObject) -> bool:
        evaluated.append(str(selection.labels))
        return matches(selection, stored)

    rendered: list[str] = []
    event = Representation.event

    def noted(view: Representation, type_: str, stored: StoredObject, *, first: bool = False) -> bytes:
        rendered.append(type_)
        return event(view, type_, stored, first=first)

    now = str(ask.server.store.revision)
    wanted = [watch(ask, resourceVersion=now, labelSelector="tier=web") for _ in range(5)]
    every = watch(ask, resourceVersion=now)
    others = watch(ask, resourceVersion=now, labelSelector="tier=db")
    ask("POST", CONFIG_MAPS, config_map(labels={"tier": "web"}), status=201)
    monkeypatch.setattr(Selection, "matches", counted)
    monkeypatch.setattr(Representation, "event", noted)
    ask("PUT", f"{CONFIG_MAPS}/a", config_map(labels={"tier": "web"}) | {"data": {"b": "c"}}, status=200)
    assert len(evaluated) == len(set(evaluated)) * 2 == 6  # before and after, for three selections
    assert rendered == ["MODIFIED"]
    for subscription in (*wanted, every, others):
        subscription.close()
    assert {str(summary(collect(subscription))) for subscription in (*wanted, every)} == {
        "[('ADDED', 'a'), ('MODIFIED', 'a')]"
    }
    assert collect(others) == []


def test_watchers_share_one_rendering_and_the_log_keeps_none(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []

    def event(view: Representation, type_: str, stored: StoredObject, *, first: bool = False) -> bytes:
        rendered.append(type_)
        return b"{}\n"

    monkeypatch.setattr(Representation, "event", event)
    subscriptions = [watch(ask, resourceVersion=str(ask.server.store.revision)) for _ in range(3)]
    ask("POST", CONFIG_MAPS, config_map(), status=201)  # the first line of each is its own: it may be a special one
    ask("DELETE", f"{CONFIG_MAPS}/a", status=200)
    assert rendered == ["ADDED"] * 3 + ["DELETED"]
    assert not any(change.lines for change in ask.server.store.changes_after(ask.server.store.compacted))
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
