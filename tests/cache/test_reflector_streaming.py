"""WatchList: the state as the beginning of the watch, what a server can do wrong with it, and the way back to lists."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.client import TransportError
from tests.cache.fake_server import WIDGET, FakeServer, Fault, Recorder, contents, run_cache, settle, status_body, truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.cache import Cache, Informer
    from tests.cache.fake_server import Request

HOURS = 3600.0


def populated(count: int = 3, **options: Any) -> FakeServer:
    server = FakeServer(**options)
    for number in range(count):
        server.put(f"w{number}")
    return server


def watched(cache: Cache, **options: Any) -> tuple[Informer, Recorder]:
    informer = cache.get_informer(WIDGET, **options)
    recorder = Recorder()
    informer.add_handler(recorder)
    return informer, recorder


def line(type_: str, obj: Any) -> bytes:
    return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"


def paged(server: FakeServer) -> list[Request]:
    return [request for request in server.requests if not request.watch and not request.asks_version]


@pytest.mark.parametrize("chunk", [0, 1, 7, 64])
def test_one_request_lists_and_watches(chunk: int) -> None:
    server = populated(chunk=chunk)

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache, label_selector="app=x")
        await informer.wait_synced()
        assert heard.told() == [("ADDED", "w0"), ("ADDED", "w1"), ("ADDED", "w2")]
        assert all(event.initial for event in heard.events)
        server.put("w0", spec={"size": 2})
        server.put("w3")
        server.delete("w1")
        await settle(130)
        assert heard.told()[3:] == [("MODIFIED", "w0"), ("ADDED", "w3"), ("DELETED", "w1")]
        assert not any(event.initial for event in heard.events[3:])
        assert contents(cache) == truth(server)
        status = informer.status()
        assert (status.lists, status.streamed_lists, status.watches, status.events) == (1, 1, 1, 3)
        assert status.bookmark_age is not None

    run_cache(server, body)
    (request,) = server.requests
    assert 300 <= int(request.query.pop("timeoutSeconds")) <= 600
    assert request.query == {
        "labelSelector": "app=x",
        "watch": "true",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
    }


def test_nothing_counts_before_the_end_mark() -> None:
    server = populated()
    objects = b"".join(line("ADDED", obj) for obj in server.objects.values())

    async def body(cache: Cache) -> None:
        server.list_faults.append(Fault(body=objects, error_after_body=TransportError("reset")))
        informer, heard = watched(cache)
        await settle(0.5)
        assert not informer.synced
        assert not heard.events
        assert informer.status().phase == "list"
        await informer.wait_synced()
        assert len(heard.events) == 3

    run_cache(server, body)


@pytest.mark.parametrize("overtaken", [False, True], ids=["quiet", "changed meanwhile"])
def test_the_first_state_is_not_kept_beside_what_replaces_it(overtaken: bool) -> None:
    server = populated()
    if overtaken:
        changed = server.put("w0", spec={"size": 1})
        server.before_end = lambda queue: queue.put_nowait(line("MODIFIED", changed))

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET)
        await informer.wait_synced()
        await settle()
        assert informer.status().streamed_lists == 1
        for entry in informer.store.entries():
            # As long as the watch lasts, minutes, each change would otherwise leave its predecessor in memory.
            holders = gc.get_referrers(entry)
            assert not [held for held in holders if isinstance(held, list)]
            assert not [held for held in holders if isinstance(held, dict) and entry.key in held]

    run_cache(server, body)


def test_what_changes_meanwhile_is_in_the_first_state() -> None:
    server = populated()

    def meanwhile(queue: asyncio.Queue[bytes | Exception | None]) -> None:
        server.before_end = lambda _: None
        for change in (lambda: server.put("w0"), lambda: server.delete("w1"), lambda: server.put("w9")):
            change()
            _, type_, obj = server.log[-1]
            queue.put_nowait(line(type_, obj))

    server.before_end = meanwhile

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        assert sorted(heard.told()) == [("ADDED", "w0"), ("ADDED", "w2"), ("ADDED", "w9")]
        assert contents(cache) == truth(server)

    run_cache(server, body)


@pytest.mark.parametrize("as_event", [True, False])
def test_410_streams_again_and_tells_the_difference(as_event: bool) -> None:
    server = populated(5, gone_as_event=as_event)

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        await settle()
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
        assert contents(cache) == truth(server)
        assert (informer.status().relists, informer.status().streamed_lists) == (1, 2)

    run_cache(server, body)
    assert server.streams()[1].query["resourceVersion"] == "105"
    assert not paged(server)


REFUSALS = [
    Fault(400, status_body(400, "BadRequest")),
    Fault(403, status_body(403, "Forbidden", "cannot watch")),
    Fault(405, status_body(405, "MethodNotAllowed")),
    Fault(415, status_body(415, "UnsupportedMediaType")),
    Fault(422, status_body(422, "Invalid")),
    Fault(body=b'{"type":"ERROR","object":%s}\n' % status_body(400, "BadRequest")),
    Fault(body=b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"103"}}}\n'),
    Fault(body=b""),
    Fault(hang=True),
]


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_server_without_it_is_listed_at_once(fault: Fault) -> None:
    server = populated()
    server.list_faults.append(fault)

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        async with asyncio.timeout(10.1 if fault.hang else 0.1):
            await informer.wait_synced()
        await settle()
        server.put("w9")
        await settle()
        assert contents(cache) == truth(server)
        assert len(heard.events) == 4
        status = informer.status()
        assert (status.lists, status.streamed_lists, status.failures) == (1, 0, 0)

    logs = run_cache(server, body)
    # A 403 says nothing of the server's abilities, and all went well without: nothing to tell.
    told = [] if fault.status == 403 else ["the server does not stream its state; listing it in pages"]
    assert [call["event"] for call in logs] == told
    assert [request.initial for request in server.requests] == [True, False, False]
    assert paged(server)[0].query == {"resourceVersion": "0", "limit": "500"}


def test_changes_without_an_end_do_not_prolong_the_wait() -> None:
    server = populated(watch_list="ignored")

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        for number in range(60):
            server.put("w0", spec={"n": number})
            await settle(0.5)
            if number == 18:
                assert not informer.synced
        assert informer.synced
        assert informer.status().streamed_lists == 0
        assert contents(cache) == truth(server)

    run_cache(server, body)
    assert paged(server)[0].at < 11.5


def test_a_slow_stream_is_waited_for() -> None:
    server = populated(0)

    async def feed(queue: asyncio.Queue[bytes | Exception | None]) -> None:
        for number in range(12):
            await settle(8)
            queue.put_nowait(line("ADDED", {"metadata": {"name": f"s{number}", "uid": "u", "resourceVersion": "7"}}))
        await settle(8)
        end = {"resourceVersion": "100", "annotations": {"k8s.io/initial-events-end": "true"}}
        queue.put_nowait(line("BOOKMARK", {"metadata": end}))

    tasks: list[asyncio.Task[None]] = []

    def hold_back(queue: asyncio.Queue[bytes | Exception | None]) -> None:
        tasks.append(asyncio.get_running_loop().create_task(feed(queue)))

    server.before_end = hold_back
    server.end_follows = False

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await settle(90)
        age = informer.status().sign_of_life_age
        assert age is not None
        assert age < 10
        assert not informer.synced
        await informer.wait_synced()
        assert len(heard.events) == 12
        assert informer.status().streamed_lists == 1
        await asyncio.gather(*tasks)

    run_cache(server, body)


@pytest.mark.parametrize("watch_list", ["refused", "ignored"])
def test_a_refusal_is_remembered_for_six_hours(watch_list: Any) -> None:
    server = populated(watch_list=watch_list)

    async def relist(seconds: float) -> None:
        await settle(seconds)
        server.mute()
        server.put("w0")
        server.compact()
        await settle(150)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await relist(0)
        await relist(2 * HOURS)
        assert (len(server.streams()), informer.status().lists) == (1, 3)
        server.watch_list = "supported"  # the control plane was upgraded
        await relist(4 * HOURS)
        assert informer.status().streamed_lists == 1
        assert contents(cache) == truth(server)

    run_cache(server, body)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, b"oops"),
        Fault(429, status_body(429, "TooManyRequests")),
        Fault(body=b"<html>login</html>\n"),
        Fault(body=b'{"type":"ADDED","object":'),
        Fault(body=b'{"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}\n'),
        Fault(error_after_body=TransportError("cut by a proxy"), body=b'{"type":"ADDED","object":'),
        Fault(error=TransportError("no answer within 30 s")),
        Fault(error=ZeroDivisionError("a bug")),
    ],
)
def test_two_failed_streams_lead_to_a_list(fault: Fault) -> None:
    server = populated()
    server.always = lambda request: fault if request.initial else None

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        async with asyncio.timeout(6):
            await informer.wait_synced()
        assert informer.status().failures == 2
        # Not remembered: it was no refusal.
        server.always = lambda _: None
        server.mute()
        server.compact()
        server.put("w0")
        server.compact()
        await settle(150)
        assert informer.status().streamed_lists == 1
        assert contents(cache) == truth(server)

    run_cache(server, body)


def test_an_unreachable_server_is_not_met_with_lists() -> None:
    server = populated()
    server.list_faults.extend([Fault(error=TransportError("refused", sent=False))] * 6)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        assert informer.status().streamed_lists == 1

    run_cache(server, body)
    assert not paged(server)


def test_a_missing_kind_is_not_asked_for_in_two_ways() -> None:
    server = populated()
    server.list_faults.extend([Fault(404, b"404 page not found\n")] * 4)

    async def body(cache: Cache) -> None:
        await watched(cache)[0].wait_synced()

    run_cache(server, body)
    assert not paged(server)


def test_a_version_that_the_server_cannot_serve_is_given_up_for_the_newest() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle()
        for told in (Fault(410, status_body(410, "Expired")), too_large(as_event=False), too_large(as_event=True)):
            server.list_faults.append(told)
            server.mute()
            server.put("w0")
            server.compact()
            await settle(150)
            assert contents(cache) == truth(server)
        assert informer.status().streamed_lists == 4

    run_cache(server, body)
    assert ["resourceVersion" in request.query for request in server.streams()] == [False, *[True, False] * 3]


def too_large(*, as_event: bool) -> Fault:
    told = status_body(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}])
    return Fault(body=b'{"type":"ERROR","object":%s}\n' % told) if as_event else Fault(504, told)


def test_an_older_state_is_refused() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        await settle()
        server.put("w0")
        await settle()
        end = {"resourceVersion": "101", "annotations": {"k8s.io/initial-events-end": "true"}}
        server.list_faults.append(Fault(body=line("BOOKMARK", {"metadata": end}), hang=True))
        server.mute()
        server.put("w1")
        server.compact()
        await settle(200)
        assert contents(cache) == truth(server)
        assert "DELETED" not in [type_ for type_, _ in heard.told()]

    logs = run_cache(server, body)
    assert any("older than 104 seen before" in call.get("reason", "") for call in logs)
    assert "resourceVersion" not in server.streams()[-1].query  # as new as etcd has it


def test_a_restored_server_is_believed() -> None:
    server = populated(5)

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        await settle()
        restored = FakeServer()
        restored.version = 20
        restored.put("w0")
        restored.put("new")
        server.version, server.oldest, server.objects, server.log = 22, 0, restored.objects, []
        server.watch_faults.append(too_large(as_event=False))
        server.cut()
        await settle(30)
        assert contents(cache) == truth(server)

    logs = run_cache(server, body)
    assert any("versions went back" in call["event"] for call in logs)


def test_it_can_be_switched_off() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        await watched(cache, watch_list=False)[0].wait_synced()

    run_cache(server, body)
    assert not server.streams()


def test_an_unreadable_object_fails_alone() -> None:
    server = populated()
    server.put("bad", metadata={"labels": 5})

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        assert len(contents(cache)) == 3
        assert informer.status().unreadable == 1

    run_cache(server, body)


# --- freshen


def never(_: FakeServer) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("age", "break_it", "reopened"),
    [
        (70, lambda server: server.mute(), 0),
        (80, lambda server: server.mute(), 1),
        (400, never, 0),  # bookmarks are signs of life
    ],
)
def test_freshen_reopens_what_has_been_silent(
    age: float, break_it: Callable[[FakeServer], None], reopened: int
) -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache, idle_timeout=3600.0)
        assert cache.freshen() == 0  # nothing runs yet
        await informer.wait_synced()
        break_it(server)
        await settle(age)
        server.put("w0")
        before = len(server.requests)
        assert cache.freshen() == reopened
        assert cache.freshen() == 0
        await settle(0.1)
        assert len(server.requests) == before + 2 * reopened  # first the question how far the server is
        if reopened:
            assert contents(cache) == truth(server)
        status = informer.status()
        assert (status.lists, status.failures) == (1, 0)

    run_cache(server, body)


def test_freshen_cuts_a_wait_short_but_not_one_that_the_server_asked_for() -> None:
    server = populated()

    async def body(cache: Cache) -> None:
        informer, _ = watched(cache)
        await informer.wait_synced()
        server.watch_faults.extend([Fault(error=TransportError("refused", sent=False))] * 20)
        server.cut(TransportError("reset"))
        await settle(120)
        before = len(server.requests)
        server.watch_faults.clear()
        server.put("w0")
        assert cache.freshen(older_than=60) == 1
        await settle(0.1)
        assert len(server.requests) == before + 2  # the question how far the server is, and the watch
        assert contents(cache) == truth(server)
        asked = Fault(429, status_body(429, "TooManyRequests"), headers={"retry-after": "100"})
        server.watch_faults.append(asked)
        server.cut(TransportError("reset"))
        await settle(90)
        assert cache.freshen(older_than=60) == 0

    run_cache(server, body)


@given(st.data())
def test_the_first_state_is_the_last_of_each_object(data: st.DataObject) -> None:
    """Whatever changes are mixed into the initial events, in whatever chunks: the state is that at the end mark."""
    server = populated(2, chunk=data.draw(st.sampled_from([0, 1, 50])))
    changes = data.draw(st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.integers(0, 4)), max_size=12))

    def meanwhile(queue: asyncio.Queue[bytes | Exception | None]) -> None:
        server.before_end = lambda _: None
        for what, number in changes:
            if what == "put":
                server.put(f"w{number}")
            elif any(key.name == f"w{number}" for key in server.objects):
                server.delete(f"w{number}")
            else:
                continue
            _, type_, obj = server.log[-1]
            queue.put_nowait(line(type_, obj))

    server.before_end = meanwhile

    async def body(cache: Cache) -> None:
        informer, heard = watched(cache)
        await informer.wait_synced()
        assert contents(cache) == truth(server)
        assert len(heard.events) == len(server.objects)

    run_cache(server, body)
