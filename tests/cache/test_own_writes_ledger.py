"""The ledger of own writes alone, and the transport that fills it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog

from pyoperator.cache import Entry, LabelSelector
from pyoperator.cache._own_writes import OwnWrites
from pyoperator.cache._store import Store
from pyoperator.cache._unseen_write import Write
from pyoperator.cache._write_observer import ObservedWrite, WriteObserver
from pyoperator.cache._write_observer import Place as PathPlace
from pyoperator.client import Response
from pyoperator.objects import Metadata, ObjectKey, Scheme
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/api/v1/pods", ("", "pods", "", "", "")),
        ("/api/v1/namespaces/a/pods/x/eviction", ("", "pods", "a", "x", "eviction")),
        ("/api/v1/namespaces/a", ("", "namespaces", "", "a", "")),
        ("/api/v1/namespaces/a/status", ("", "namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/finalize", ("", "namespaces", "", "a", "finalize")),
        ("/api/v1/namespaces/a/status/x", ("", "status", "a", "x", "")),
        ("/apis/g.io/v1/namespaces/a/things", ("g.io", "things", "a", "", "")),
        ("/apis/g.io/v1/things/x/scale", ("g.io", "things", "", "x", "scale")),
        ("/apis/g.io/v1", None),
        ("/api/v1", None),
        ("/healthz", None),
        ("/", None),
    ],
)
def test_paths(path: str, place: tuple[str, ...] | None) -> None:
    assert PathPlace.of(path) == (None if place is None else PathPlace(*place))


class Ledger:
    """The own writes of an informer that is told what to see."""

    def __init__(self, *, selective: bool = False) -> None:
        self.store = Store()
        self.version = 0
        self.own = OwnWrites(self.store, lambda _: self.version, structlog.get_logger(), selective=selective)
        self.key = ObjectKey("a", "x")

    def see(self, uid: str, version: int, *, name: str = "x", deleted: bool = False, dying: bool = False) -> None:
        metadata = Metadata(
            name=name,
            namespace="a",
            uid=uid,
            resource_version=str(version),
            deletion_timestamp="2026-01-01T00:00:00Z" if dying else None,
        )
        entry = Entry(metadata, b"{}", Scheme())
        if deleted:
            self.store.delete(entry.key, entry)
        else:
            self.store.put(entry)
        self.own.seen(entry, deleted=deleted)
        self.version = version

    async def blocks(self) -> bool:
        return not await self.own.caught_up(self.key, 0.001)


def on_ledger(body: Callable[[Ledger], Awaitable[None]], *, selective: bool = False) -> None:
    async def main() -> None:
        await body(Ledger(selective=selective))

    run_virtual(main)


@pytest.mark.parametrize("version", [0, 10])
def test_a_predecessor_is_not_taken_for_a_successor(version: int) -> None:
    """Deleted was an object that the informer had not seen yet: what it has of that name was gone even before."""

    async def body(ledger: Ledger) -> None:
        ledger.see("first", 5)
        ledger.own.note(Write(ledger.key, "gone", "second", version))
        assert await ledger.blocks()
        ledger.see("first", 8, deleted=True)
        assert not await ledger.blocks()
        ledger.see("second", 10)
        assert await ledger.blocks()
        ledger.see("third", 12)  # the event between was lost in a gap
        assert not await ledger.blocks()
        assert not ledger.own.unseen

    on_ledger(body)


@pytest.mark.parametrize("version", [0, 5])
def test_a_successor_settles_a_deletion(version: int) -> None:
    async def body(ledger: Ledger) -> None:
        ledger.see("first", 5)
        ledger.own.note(Write(ledger.key, "gone", "first", version))
        assert await ledger.blocks()
        ledger.see("second", 9)
        assert not await ledger.blocks()
        assert not ledger.own.unseen

    on_ledger(body)


def test_gone_is_more_than_dying() -> None:
    async def body(ledger: Ledger) -> None:
        ledger.see("first", 5, dying=True)
        ledger.own.note(Write(ledger.key, "dying", "first", 4))
        assert not await ledger.blocks()
        ledger.own.note(Write(ledger.key, "gone", "first", 5))
        assert await ledger.blocks()
        ledger.see("first", 6, deleted=True)
        assert not await ledger.blocks()

    on_ledger(body)


@pytest.mark.parametrize("effect", ["gone", "dying"])
@pytest.mark.parametrize("version", [0, 8])
def test_what_leaves_a_selection_may_come_back_before_its_deletion(
    effect: Literal["gone", "dying"], version: int
) -> None:
    """An informer with selectors is told the same of an object that no longer fits as of one that is deleted."""

    async def body(ledger: Ledger) -> None:
        ledger.see("first", 5)
        ledger.own.note(Write(ledger.key, effect, "first", version))
        ledger.see("first", 6, deleted=True)  # its labels have changed
        assert not await ledger.blocks()
        ledger.see("first", 8)  # and changed again
        assert await ledger.blocks()
        ledger.see("first", 9, deleted=True)
        assert not await ledger.blocks()
        ledger.see("second", 12)
        assert not await ledger.blocks()
        assert not ledger.own.unseen

    on_ledger(body, selective=True)


def test_the_end_of_an_object_that_is_selected_is_not_held_against_others_for_ever() -> None:
    async def body(ledger: Ledger) -> None:
        ledger.see("first", 5)
        ledger.own.note(Write(ledger.key, "gone", "first"))
        ledger.see("first", 6, deleted=True)
        ledger.own.listed()
        assert ledger.own.unseen
        await asyncio.sleep(31)
        ledger.own.listed()
        assert not ledger.own.unseen

    on_ledger(body, selective=True)


def test_what_dies_is_not_taken_for_absent_by_an_informer_that_has_not_come_to_its_making() -> None:
    """Of a collection that was deleted, some may have been made by others, and be held back by finalizers."""

    async def body(ledger: Ledger) -> None:
        ledger.see("other", 3, name="y")
        ledger.own.note(Write(ledger.key, "dying", "first", 5))
        ledger.own.note(Write(ObjectKey("a", "z"), "dying", "unselected", 5, selected=False))
        assert await ledger.blocks()
        assert await ledger.own.caught_up(ObjectKey("a", "z"), 0.001)
        ledger.see("first", 5)
        assert await ledger.blocks()
        ledger.see("first", 6, dying=True)
        assert not await ledger.blocks()

    on_ledger(body)


def test_an_informer_that_has_come_further_knows_that_what_it_lacks_is_gone() -> None:
    async def body(ledger: Ledger) -> None:
        ledger.own.note(Write(ledger.key, "dying", "first", 5))
        waiting = asyncio.create_task(ledger.own.caught_up(ledger.key, 5))
        await asyncio.sleep(1)
        ledger.see("other", 7, name="y")
        ledger.own.advanced()
        assert await waiting
        assert asyncio.get_running_loop().time() < 2

    on_ledger(body)


def test_what_all_reads_wait_for_is_settled_by_any_event_that_is_new_enough() -> None:
    async def body(ledger: Ledger) -> None:
        ledger.own.note_version(10)
        reading = asyncio.create_task(ledger.own.caught_up(ledger.key, 5.0))
        await asyncio.sleep(1)
        ledger.see("other", 9, name="y")
        await asyncio.sleep(1)
        assert not reading.done()
        ledger.see("other", 10, name="y")
        began = now()
        assert await reading
        assert now() == began
        assert await ledger.own.caught_up(ledger.key, 5.0)
        assert not ledger.own.unseen

    on_ledger(body)


def test_a_bookmark_settles_what_no_event_tells_of() -> None:
    async def body(ledger: Ledger) -> None:
        ledger.own.note(Write(ledger.key, "present", "first", 10))
        reading = asyncio.create_task(ledger.own.caught_up(ledger.key, 5.0))
        await asyncio.sleep(1)
        ledger.version = 9
        ledger.own.listed()
        await asyncio.sleep(1)
        assert not reading.done()
        ledger.version = 10
        ledger.own.listed()
        assert await reading
        assert now() == 2
        assert not ledger.own.unseen
        assert not ledger.own.awaited
        assert ledger.own.statistics().timeouts == 0

    on_ledger(body)


def test_so_does_an_event_of_another_object_that_is_newer() -> None:
    async def body(ledger: Ledger) -> None:
        ledger.own.note(Write(ledger.key, "present", "first", 10))
        reading = asyncio.create_task(ledger.own.caught_up(ledger.key, 5.0))
        for version, done in ((9, False), (11, True)):
            await asyncio.sleep(1)
            ledger.see("other", version, name="y")
            ledger.own.advanced()
            await asyncio.sleep(0.1)
            assert reading.done() is done
        assert await reading
        assert ledger.own.statistics().timeouts == 0

    on_ledger(body)


async def test_refusals_and_pages_of_a_proxy_are_no_writes() -> None:
    told: list[ObservedWrite] = []

    class Audience:
        def begin(self, place: PathPlace) -> str:
            return place.name

        def end(self, begun: str) -> None:
            assert begun == "x"

        def observed(self, write: ObservedWrite, begun: str | None) -> None:
            told.append(write)

    class Server:
        response = Response(200, b"{}")

        async def request(self, *_: Any, **__: Any) -> Response:
            return self.response

    server = Server()
    observer = WriteObserver(server, Audience())  # type: ignore[arg-type]  # no streams here
    refusal = b'{"kind": "Status", "details": {"uid": "u"}}'
    for response in (Response(409, refusal), Response(200, b"<html>"), Response(200, b"[1]")):
        server.response = response
        assert await observer.request("DELETE", "/api/v1/namespaces/a/pods/x") is response
    assert told == []
    server.response = Response(200, refusal)
    await observer.request("DELETE", "/api/v1/namespaces/a/pods/x")
    assert [write.deleted_uid() for write in told] == ["u"]


def test_memory_is_bounded_while_the_watch_is_down() -> None:
    async def main() -> None:
        seen = 0
        unseen = OwnWrites(Store(), lambda _: seen, structlog.get_logger())
        for number in range(1, 10_101):
            unseen.note(Write(ObjectKey("a", f"n{number}"), "present", f"u{number}", number))
        for number in range(300):
            unseen.note(Write(ObjectKey("a", "same"), "gone", f"x{number}"))
        assert unseen.statistics().unseen <= 10_100
        # Those that are not remembered one by one hold up every read, until the informer has come so far.
        assert not await unseen.caught_up(ObjectKey("b", "other"), 1.0)
        seen = 10_100
        assert await unseen.caught_up(ObjectKey("b", "other"), 1.0)
        assert await unseen.caught_up_list("", LabelSelector(), 1.0)
        unseen.listed()
        assert unseen.statistics().unseen <= 100  # deletions, which have no version

    run_virtual(main)


def test_a_server_that_went_back_in_time_holds_up_nobody() -> None:
    async def main() -> None:
        unseen = OwnWrites(Store(), lambda _: 5, structlog.get_logger())
        unseen.note(Write(ObjectKey("a", "x"), "present", "u", 100))
        assert not await unseen.caught_up(ObjectKey("a", "x"), 1.0)
        unseen.listed(server_went_back=True)
        assert not unseen.unseen

    run_virtual(main)
