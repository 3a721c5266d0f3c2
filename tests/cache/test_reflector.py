"""Faults of list and watch: what the reflector asks, how often, and what it says of itself."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.cache import Cache, CacheOptions, Informer
from pyoperator.client import TransportError
from pyoperator.objects import ObjectKey
from tests.cache.fake_server import WIDGET, FakeServer, Fault, Recorder, contents, run_cache, settle, status_body, truth

if TYPE_CHECKING:
    from tests.cache.fake_server import Request, WatchList

REFUSED = TransportError("connection refused", sent=False)


def populated(count: int = 3, watch_list: WatchList = "refused", **options: Any) -> FakeServer:
    """Most of what is here concerns the list and the watch after it; test_reflector_streaming.py has the other way."""
    server = FakeServer(watch_list=watch_list, **options)
    for number in range(count):
        server.put(f"w{number}")
    return server


def watched(cache: Cache, **options: Any) -> tuple[Informer, Recorder]:
    informer = cache.get_informer(WIDGET, **options)
    recorder = Recorder()
    informer.add_handler(recorder)
    return informer, recorder


@pytest.mark.parametrize("chunk", [0, 1, 7, 64])
def test_list_then_watch(chunk: int) -> None:
    server = populated(chunk=chunk)

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        assert heard.told() == [("ADDED", "w0"), ("ADDED", "w1"), ("ADDED", "w2")]
        assert all(event.initial for event in heard.events)
        await settle()
        server.put("w0", spec={"size": 2})
        server.put("w3")
        server.delete("w1")
        await settle()
        assert heard.told()[3:] == [("MODIFIED", "w0"), ("ADDED", "w3"), ("DELETED", "w1")]
        assert not any(event.initial for event in heard.events[3:])
        assert contents(cache) == truth(server)
        status = informer.status()
        assert (status.objects, status.lists, status.watches, status.events) == (3, 1, 1, 3)
        assert status.sign_of_life_age is not None
        assert status.sign_of_life_age < 10
        assert status.bookmark_age is None

    run_cache(server, body)
    _, first, watch = server.requests  # the first of all asked for a stream
    assert first.query == {"resourceVersion": "0", "limit": "500"}
    assert watch.query["allowWatchBookmarks"] == "true"
    assert watch.query["resourceVersion"] == "103"
    assert 300 <= int(watch.query["timeoutSeconds"]) <= 600


def test_pages_and_selectors() -> None:
    server = populated(7)

    async def body(cache: Cache) -> None:
        options = CacheOptions(page_size=3, label_selector="app=x", field_selector="metadata.name!=q")
        informer, heard = watched(cache, options=options)
        await informer.wait_synced()
        assert len(heard.events) == 7
        assert contents(cache) == truth(server)

    run_cache(server, body)
    selectors = {"labelSelector": "app=x", "fieldSelector": "metadata.name!=q"}
    assert [request.query for request in server.lists()] == [
        {**selectors, "resourceVersion": "0", "limit": "3"},
        {**selectors, "continue": "107:0", "limit": "3"},
        {**selectors, "continue": "107:1", "limit": "3"},
    ]
    assert server.watch_requests()[0].query.items() >= selectors.items()


def test_an_expired_page_leads_to_a_full_list() -> None:
    server = populated(7)
    server.after_page = server.compact

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache, page_size=3)
        await informer.wait_synced()
        assert contents(cache) == truth(server)

    run_cache(server, body)
    assert [request.query for request in server.lists()][2] == {}


@pytest.mark.parametrize("error", [None, TransportError("reset by peer")])
def test_a_watch_that_ends_resumes_without_a_list(error: Exception | None) -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        await settle()
        server.cut(error)
        server.put("w0")
        server.delete("w1")
        await settle()
        assert heard.told()[3:] == [("MODIFIED", "w0"), ("DELETED", "w1")]
        assert informer.status().lists == 1

    run_cache(server, body)
    assert [request.query["resourceVersion"] for request in server.watch_requests()] == ["103", "103"]


def test_bookmarks_move_the_place_to_resume() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        server.version = 500
        await settle(3600)
        status = informer.status()
        assert status.lists == 1
        assert status.failures == 0
        assert status.bookmark_age is not None
        assert status.bookmark_age <= 60

    run_cache(server, body)
    assert 6 <= len(server.watch_requests()) <= 12  # the server's own timeout: 300 - 600 s
    assert server.watch_requests()[-1].query["resourceVersion"] == "500"


@pytest.mark.parametrize("as_event", [True, False])
def test_410_lists_again_and_tells_the_difference(as_event: bool) -> None:
    server = populated(5, gone_as_event=as_event)

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        await settle()
        before = {entry.key: entry for entry in cache.entries(WIDGET)}
        server.mute()
        server.put("w0")
        server.delete("w1")
        server.put("w2", fresh=True)
        server.put("w5")
        server.compact()
        await settle(150)
        assert heard.told()[5:] == [
            ("DELETED", "w1"),
            ("MODIFIED", "w0"),
            ("DELETED", "w2"),
            ("ADDED", "w2"),
            ("ADDED", "w5"),
        ]
        assert [e.final_state_unknown for e in heard.events if e.type == "DELETED"] == [True, True]
        assert not any(event.initial for event in heard.events[5:])
        assert contents(cache) == truth(server)
        assert informer.status().relists == 1
        # What did not change is the very same bytes: a re-list costs no memory.
        assert cache.get_entry(WIDGET, ObjectKey("a", "w3")).raw is before[ObjectKey("a", "w3")].raw

    run_cache(server, body)
    assert server.lists()[1].query == {"resourceVersion": "105", "resourceVersionMatch": "NotOlderThan"}


def test_a_storm_of_410_does_not_spin() -> None:
    server = populated()
    server.always = lambda request: Fault(410, status_body(410, "Expired")) if request.watch else None

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await settle(300)
        assert informer.synced
        server.put("w9")
        await settle(40)
        assert contents(cache) == truth(server)  # stale by one backoff at most

    run_cache(server, body)
    assert len(server.requests) < 60


def test_backoff_grows_to_30_s_and_starts_anew_after_health() -> None:
    server = populated()
    server.list_faults.extend([Fault(error=REFUSED)] * 12)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle(200)
        server.watch_faults.append(Fault(error=REFUSED))
        server.cut(TransportError("reset"))
        await settle(20)
        assert informer.status().failing_for is None

    run_cache(server, body)
    times = [request.at for request in server.lists()]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(0.8 <= gap <= 30.1 for gap in gaps)
    assert gaps[0] < 1.3
    assert all(gap >= 20 for gap in gaps[6:])
    watches = [request.at for request in server.watch_requests()]
    assert watches[1] - watches[0] < 202
    assert watches[2] - watches[1] < 2.5


def test_a_missing_kind_is_waited_for() -> None:
    server = populated()
    installed = False
    server.always = lambda _: None if installed else Fault(404, b"404 page not found\n")

    async def body(cache: Cache) -> None:
        nonlocal installed
        informer, _ = watched(cache)
        await settle(1800)
        status = informer.status()
        assert not status.synced
        assert status.server_answers
        assert status.failing_for is not None
        assert status.failing_for > 1790
        assert "CustomResourceDefinition is missing" in status.failure
        assert "404 page not found" in status.failure
        assert "not synced (list: " in cache.health().problems[0]
        installed = True
        await settle(31)
        assert informer.synced
        assert informer.status().failure == ""

    logs = run_cache(server, body)
    warnings = [call for call in logs if call["level"] == "warning"]
    assert 25 <= len(warnings) <= 32  # once a minute, not at each attempt
    assert logs[-1]["event"] == "informer is fresh again"


@pytest.mark.parametrize(("code", "told"), [(401, "credentials"), (403, "grant list and watch on widgets.example.com")])
def test_no_permission_never_expires(code: int, told: str) -> None:
    server = populated()
    allowed = False
    server.always = lambda _: None if allowed else Fault(code, status_body(code, "", "no"))

    async def body(cache: Cache) -> None:
        nonlocal allowed
        informer, _ = watched(cache)
        await settle(86_400)
        assert told in informer.status().failure
        allowed = True
        await settle(31)
        assert informer.synced

    run_cache(server, body)


@pytest.mark.parametrize("what", ["all", "watch", "list"])
def test_a_missing_permission_is_told_as_one_and_ever_less_often(what: str) -> None:
    server = populated(watch_list="refused" if what == "list" else "supported")

    def refuse(request: Request) -> Fault | None:
        verb = "watch" if request.watch else "list"
        if what not in ("all", verb):
            return None
        return Fault(403, status_body(403, "Forbidden", f"widgets is forbidden: cannot {verb} resource"))

    server.always = refuse

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await settle(12 * 3600)
        assert informer.synced == (what == "watch")  # what may be listed is there, though it grows old

    logs = [call for call in run_cache(server, body) if call["level"] != "info" or what != "list"]
    assert {call["event"] for call in logs} == {"informer is not fresh"}
    refused = "watch" if what == "watch" else "list"
    assert all(f"cannot {refused} resource" in call["reason"] for call in logs)
    assert "grant list and watch on widgets.example.com in all namespaces" in logs[0]["reason"]
    at = [call["failing_for"] for call in logs]
    assert at[0] < 1
    assert len([time for time in at if time < 300]) == 3  # at once, after a minute, after two more
    assert 14 <= len(at) <= 18


@pytest.mark.parametrize("watch_list", ["supported", "refused", "ignored"])
def test_a_storm_of_401_never_ends_it(watch_list: WatchList) -> None:
    server = populated(watch_list=watch_list)
    told = status_body(401, "Unauthorized", "the token has expired")
    storm = True

    def fault(request: Request) -> Fault | None:
        if not storm:
            return None
        as_event = request.watch and len(server.requests) % 2
        return Fault(body=b'{"type":"ERROR","object":%s}\n' % told) if as_event else Fault(401, told)

    async def body(cache: Cache) -> None:
        nonlocal storm
        informer, heard = watched(cache)
        storm = False
        await informer.wait_synced()
        storm = True
        server.always = fault
        server.cut(TransportError("reset"))
        server.put("w0")
        server.delete("w1")
        await settle(7200)
        assert informer.status().failing_for is not None
        assert "the token has expired" in informer.status().failure
        storm = False
        await settle(100)
        assert contents(cache) == truth(server)
        assert informer.status().failing_for is None
        assert "DELETED" in [type_ for type_, _ in heard.told()]

    run_cache(server, body)
    assert len(server.requests) < 7200 / 15


def test_a_new_reason_is_logged_at_once() -> None:
    server = populated()
    server.list_faults.extend([Fault(403, status_body(403)), Fault(403, status_body(403)), Fault(500, b"oops")])

    async def body(cache: Cache) -> None:
        await cache.get_informer(WIDGET).wait_synced()

    logs = run_cache(server, body)
    assert "does not stream its state" in logs[0]["event"]
    assert [call["level"] for call in logs] == ["info", "warning", "warning", "info"]
    assert "403" in logs[1]["reason"]
    assert "oops" in logs[2]["reason"]


def test_retry_after_is_obeyed() -> None:
    server = populated()
    server.list_faults.append(Fault(429, status_body(429, "TooManyRequests"), headers={"retry-after": "17"}))

    async def body(cache: Cache) -> None:
        await cache.get_informer(WIDGET).wait_synced()

    run_cache(server, body)
    first, second = server.lists()
    assert second.at - first.at >= 17


@pytest.mark.parametrize("told", ["86400", "inf", "nan", "-5", "1e400"])
def test_no_retry_after_kills_an_informer(told: str) -> None:
    server = populated()
    server.list_faults.append(Fault(429, status_body(429, "TooManyRequests"), headers={"retry-after": told}))

    async def body(cache: Cache) -> None:
        async with asyncio.timeout(130):
            await cache.get_informer(WIDGET).wait_synced()

    run_cache(server, body)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=b"<html>login</html>"),
        Fault(body=b'{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"x"'),
        Fault(body=b""),
        Fault(502, b"<html>Bad gateway</html>"),
        Fault(error=TimeoutError()),
        Fault(error_after_body=TransportError("reset"), body=b'{"metadata":{},"items":['),
        Fault(hang=True),
        Fault(error=ZeroDivisionError("a bug")),
        Fault(error=asyncio.CancelledError()),  # type: ignore[arg-type]  # a library's own, escaped
    ],
)
def test_a_broken_list_changes_nothing_and_is_repeated(fault: Fault) -> None:
    server = populated()
    server.list_faults.append(fault)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        async with asyncio.timeout(70):
            await informer.wait_synced()
        assert contents(cache) == truth(server)
        assert informer.status().failures == 1
        assert informer.status().failing_for is None or "cancelled" in informer.status().failure

    run_cache(server, body)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=b"<html>\n"),
        Fault(body=b'{"type":"ADDED","object":'),
        Fault(body=b'{"type":"ADDED"}\n'),
        Fault(body=b'{"type":"\xff","object":{}}\n'),
        Fault(body=b'{"type":"ERROR","object":%s}\n' % status_body(500, "InternalError", "etcd is gone")),
        Fault(body=b'{"type":"ERROR","object":{}}\n'),
        Fault(body=b""),
        Fault(500, b"oops"),
        Fault(504, status_body(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}])),
        Fault(body=b'{"type":"ERROR","object":%s}\n' % status_body(429, "TooManyRequests")),
        Fault(hang=True),
        Fault(error=ZeroDivisionError("a bug")),
        Fault(error_after_body=asyncio.CancelledError()),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_broken_watch_comes_back(fault: Fault, times: int) -> None:
    server = populated()
    server.watch_faults.extend([fault] * times)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        server.put("w0")
        server.delete("w1")
        await settle(500)
        assert contents(cache) == truth(server)
        status = informer.status()
        assert status.failures >= times
        assert status.failing_for is None
        assert cache.health().ready

    run_cache(server, body)


@pytest.mark.parametrize(
    "garbage", [b"<html>login</html>\n", b'{"type":"ADDED","object":{}\n', b"\x00\xff\n", b"null\n"]
)
def test_garbage_in_the_middle_of_a_watch_loses_nothing(garbage: bytes) -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        await settle()
        server.put("w0")
        server.send(garbage)
        server.delete("w1")
        server.put("w3")
        await settle(5)
        assert contents(cache) == truth(server)
        assert heard.told()[3:] == [("MODIFIED", "w0"), ("DELETED", "w1"), ("ADDED", "w3")]
        assert informer.status().lists == 1  # resumed after what was good

    logs = run_cache(server, body)
    assert any("not a watch event" in call.get("reason", "") for call in logs)


@pytest.mark.parametrize("watch_list", ["supported", "refused"])
def test_an_object_of_10_mib_comes_in_pieces(watch_list: WatchList) -> None:
    server = populated(watch_list=watch_list, chunk=65_536)
    size = 10 * 1024 * 1024
    server.put("large", data="x" * size)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle()
        server.put("large", data="y" * size)
        await settle()
        assert contents(cache) == truth(server)
        assert len(cache.get_entry(WIDGET, ObjectKey("a", "large")).raw) > size
        assert informer.status().failures == 0

    run_cache(server, body)


def test_a_silent_watch_is_given_up() -> None:
    server = populated()
    server.watch_faults.append(Fault(hang=True))

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        server.put("w0")
        await settle(125)
        assert contents(cache) == truth(server)

    logs = run_cache(server, body)
    assert any("silent for" in call.get("reason", "") for call in logs)


def test_silence_after_silence_is_one_failure_that_lasts() -> None:
    """A server that takes every watch and says nothing: each connection that it accepts cures nothing."""
    server = populated()
    server.watch_faults += [Fault(hang=True)] * 20

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle(800)
        status = informer.status()
        assert (status.failing_for or 0.0) > 300, status
        server.watch_faults.clear()
        await settle(200)
        assert informer.status().failing_for is None

    run_cache(server, body)


def test_an_older_answer_is_refused() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        await settle()
        server.put("w0")
        await settle()
        server.mute()
        server.compact()
        server.put("w1")
        server.compact()
        # A lagging API server answers with what was true before.
        stale = b'{"metadata":{"resourceVersion":"101"},"items":[]}'
        server.list_faults.append(Fault(body=stale))
        await settle(200)
        assert contents(cache) == truth(server)
        assert "DELETED" not in [type_ for type_, _ in heard.told()]

    run_cache(server, body)
    assert server.lists()[-1].query == {"limit": "500"}  # straight from etcd


def test_a_restored_server_is_believed() -> None:
    server = populated(5)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle()
        # Restored from a backup: lower versions, other contents.
        restored = FakeServer()
        restored.version = 20
        restored.put("w0")
        restored.put("new")
        server.version, server.oldest, server.objects, server.log = 22, 0, restored.objects, []
        # The server does not know of the version we watch from.
        too_large = status_body(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}])
        server.watch_faults.append(Fault(504, too_large))
        server.cut()
        await settle(30)
        assert contents(cache) == truth(server)

    logs = run_cache(server, body)
    assert any("versions went back" in call["event"] for call in logs)


def test_an_object_that_cannot_be_read_fails_alone() -> None:
    server = populated()
    server.put("bad", metadata={"labels": 5})

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle()
        server.put("bad2", metadata={"labels": 5})
        server.put("good")
        await settle()
        assert {key.name for key in contents(cache)} == {"w0", "w1", "w2", "good"}
        assert informer.status().unreadable == 2
        assert informer.status().failing_for is None

    run_cache(server, body)


def test_metadata_only_asks_for_it() -> None:
    server = FakeServer(watch_list="refused")
    server.put("w0", spec={"secret": "x"})

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache, metadata_only=True)
        await informer.wait_synced()
        await settle()
        assert b"secret" not in cache.entries(WIDGET)[0].raw

    run_cache(server, body)
    accepts = [request.headers["accept"] for request in server.requests]
    assert accepts[0].startswith("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    assert accepts[1].startswith("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    assert accepts[2].startswith("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")


def test_a_watch_that_always_breaks_makes_the_cache_unready_after_five_minutes() -> None:
    server = populated()
    broken = True

    def fault(request: Request) -> Fault | None:
        return Fault(403, status_body(403, "Forbidden", "no watch")) if broken and request.watch else None

    server.always = fault

    async def body(cache: Cache) -> None:
        nonlocal broken
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle(290)
        assert cache.health().ready
        await settle(20)
        assert not cache.health().ready
        assert "watch broken for 3" in cache.health().problems[0]
        broken = False
        await settle(31)
        assert cache.health().ready

    run_cache(server, body)


@pytest.mark.parametrize("fault", [Fault(error=REFUSED), Fault(503, b"down"), Fault(429, b"slow down")])
def test_an_outage_of_the_server_keeps_the_cache_ready(fault: Fault) -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        assert not cache.health().ready
        await informer.wait_synced()
        await settle()
        server.always = lambda _: fault
        server.cut(TransportError("reset"))
        await settle(3600)
        assert informer.status().failing_for is not None
        assert not informer.status().server_answers
        assert cache.health().ready
        assert contents(cache) == truth(server)

    run_cache(server, body)
