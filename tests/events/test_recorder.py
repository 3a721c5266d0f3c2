from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from pyoperator.client import LeadershipLost, Response, TransportError
from pyoperator.clock import LoopClock, Randomness
from pyoperator.events import EventRecorder
from pyoperator.objects import CustomResource, GroupVersionKind, ObjectMeta, Unstructured
from tests.client.fake_transport import FakeTransport, Sent, answer, failure
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Widget(CustomResource, group="example.com", version="v1"):
    pass


POD = Unstructured(
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop", "uid": "u1", "resourceVersion": "4"},
    }
)


def accept(sent: Sent) -> Response:
    return answer(sent.body, 201)


def make(transport: FakeTransport, **options: Any) -> EventRecorder:
    clock = LoopClock(asyncio.get_running_loop())
    return EventRecorder(transport, "widgets", clock=clock, random=Randomness(1), identity="widgets-0", **options)


@contextlib.asynccontextmanager
async def running(recorder: EventRecorder) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def record(use: Callable[[EventRecorder], None], **options: Any) -> tuple[FakeTransport, EventRecorder]:
    """Run a recorder on virtual time, use it, and wait until everything is sent."""
    transport = options.pop("transport", None) or FakeTransport(handler=accept)

    async def main() -> EventRecorder:
        recorder = make(transport, **options)
        async with running(recorder):
            use(recorder)
            await asyncio.sleep(60)
        return recorder

    return transport, run_virtual(main)


def test_an_event_as_the_api_wants_it() -> None:
    widget = Widget(metadata=ObjectMeta(name="w", namespace="shop", uid="u2"))
    transport, recorder = record(
        lambda recorder: recorder.event(POD, "Normal", "Created", "made it", action="Create", related=widget)
    )
    (sent,) = transport.sent
    assert (sent.method, sent.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/shop/events")
    name = sent.body["metadata"].pop("name")
    assert name.startswith("p.")
    assert sent.body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Created",
        "action": "Create",
        "note": "made it",
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "shop",
            "name": "p",
            "uid": "u1",
            "resourceVersion": "4",
        },
        "related": {"apiVersion": "example.com/v1", "kind": "Widget", "namespace": "shop", "name": "w", "uid": "u2"},
        "reportingController": "widgets",
        "reportingInstance": "widgets-0",
    }
    assert recorder.statistics().sent == 1


def test_cluster_scoped_objects_have_their_events_in_default() -> None:
    node = Unstructured.new(GroupVersionKind("", "v1", "Node"), "n1")
    transport, _ = record(lambda recorder: recorder.event(node, "Warning", "Bad", "x"))
    assert transport.sent[0].path == "/apis/events.k8s.io/v1/namespaces/default/events"


def test_long_notes_and_names_are_cut() -> None:
    pod = Unstructured.new(GroupVersionKind("", "v1", "Pod"), "n" * 253, "shop")
    transport, _ = record(lambda recorder: recorder.event(pod, "Normal", "R", "é" * 2000))
    assert len(transport.sent[0].body["note"].encode()) <= 1024
    assert len(transport.sent[0].body["metadata"]["name"]) <= 253


def test_the_same_event_again_becomes_a_series() -> None:
    def use(recorder: EventRecorder) -> None:
        for _ in range(3):
            recorder.event(POD, "Normal", "Same", "thing")
        recorder.event(POD, "Normal", "Other", "thing")

    transport, recorder = record(use)
    assert [sent.method for sent in transport.sent] == ["POST", "PATCH", "PATCH", "POST"]
    assert [sent.body["series"]["count"] for sent in transport.sent if sent.method == "PATCH"] == [2, 3]
    assert recorder.statistics().sent == 4


def test_a_series_whose_event_has_expired_begins_anew() -> None:
    def handler(sent: Sent) -> Response:
        return failure(404, "NotFound") if sent.method == "PATCH" else accept(sent)

    def use(recorder: EventRecorder) -> None:
        recorder.event(POD, "Normal", "Same", "thing")
        recorder.event(POD, "Normal", "Same", "thing")

    transport, _ = record(use, transport=FakeTransport(handler=handler))
    assert [sent.method for sent in transport.sent] == ["POST", "PATCH", "POST"]


def test_a_full_queue_drops_and_counts() -> None:
    def use(recorder: EventRecorder) -> None:
        for number in range(5):
            recorder.event(POD, "Normal", f"R{number}", "x")

    transport, recorder = record(use, queue_size=2)
    statistics = recorder.statistics()
    assert (statistics.recorded, statistics.sent, statistics.dropped, len(transport.sent)) == (5, 2, 3, 2)


def test_a_bad_object_does_not_raise() -> None:
    def use(recorder: EventRecorder) -> None:
        for bad in (object(), {}, Unstructured({"kind": "Pod"}), None):
            recorder.event(bad, "Normal", "R", "x")

    _, recorder = record(use)
    assert recorder.statistics().failed == 4


@pytest.mark.parametrize(
    "error", [TransportError("down"), LeadershipLost("no"), failure(403, "Forbidden"), failure(500)]
)
def test_failures_are_counted_and_do_not_stop_it(error: Any) -> None:
    failing = True

    def handler(sent: Sent) -> Response:
        if sent.body["reason"] == "First" and failing:
            if isinstance(error, Exception):
                raise error
            return error  # type: ignore[no-any-return]
        return accept(sent)

    def use(recorder: EventRecorder) -> None:
        recorder.event(POD, "Normal", "First", "x")
        recorder.event(POD, "Normal", "Second", "x")

    _, recorder = record(use, transport=FakeTransport(handler=handler))
    assert (recorder.statistics().failed, recorder.statistics().sent) == (1, 1)


def test_what_is_queued_is_sent_at_the_end() -> None:
    transport = FakeTransport(handler=accept)

    async def main() -> EventRecorder:
        recorder = make(transport)
        async with running(recorder):
            recorder.event(POD, "Normal", "A", "x")
            recorder.event(POD, "Normal", "B", "x")
            await asyncio.sleep(0)
        return recorder

    recorder = run_virtual(main)
    assert recorder.statistics().sent == 2
    assert {sent.body["reason"] for sent in transport.sent} == {"A", "B"}


def test_the_end_is_bounded() -> None:
    class Stuck(FakeTransport):
        async def request(self, *args: Any, **options: Any) -> Response:
            await asyncio.sleep(3600)
            raise AssertionError

    async def main() -> tuple[float, EventRecorder]:
        recorder = make(Stuck(), drain_timeout=2.0)
        async with running(recorder):
            recorder.event(POD, "Normal", "A", "x")
            recorder.event(POD, "Normal", "B", "x")
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time(), recorder

    elapsed, recorder = run_virtual(main)
    assert elapsed == pytest.approx(2.0)
    assert recorder.statistics().dropped == 2
    assert recorder.statistics().queued == 0


def test_an_answer_that_is_no_event_does_not_end_the_recorder() -> None:
    """A runnable that fails stops the manager: an event must never do that."""
    answers = [Response(200, b"<html>a proxy's page</html>")]

    def respond(sent: Sent) -> Response:
        return answers.pop() if answers else accept(sent)

    async def main() -> None:
        recorder = make(FakeTransport(handler=respond))
        async with running(recorder) as task:
            recorder.event(POD, "Normal", "One", "first")
            recorder.event(POD, "Normal", "Two", "second")
            await asyncio.sleep(60)
            assert not task.done()
        assert (recorder.statistics().failed, recorder.statistics().sent) == (1, 1)

    run_virtual(main)


def refuse(code: int, reason: str, **details: Any) -> Callable[[Sent], Response]:
    status = {"kind": "Status", "code": code, "reason": reason, "message": f"no: {reason}", "details": details}
    return lambda _sent: answer(status, code)


def told(logs: Any, event: str) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"] == event]


@pytest.mark.parametrize("code", [403, 404, 422])
def test_what_the_server_refuses_is_told_once_and_then_hourly(code: int) -> None:
    async def main() -> None:
        recorder = make(FakeTransport(handler=refuse(code, f"Reason{code}")))
        async with running(recorder):
            for minute in range(90):
                recorder.event(POD, "Normal", f"R{minute}", "x")
                await asyncio.sleep(60)
        assert recorder.statistics().failed == 90

    with capture_logs() as logs:
        run_virtual(main)
    lines = told(logs, "event not sent")
    assert [(line["log_level"], line["reason"], line.get("times")) for line in lines] == [
        ("warning", f"Reason{code}", None),
        ("warning", f"Reason{code}", 60),
    ]
    assert ["add_rule" in line for line in lines] == [code == 403] * 2


def test_a_namespace_that_goes_is_no_reason_to_warn() -> None:
    handler = refuse(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}])
    with capture_logs() as logs:
        record(lambda recorder: recorder.event(POD, "Normal", "A", "x"), transport=FakeTransport(handler=handler))
    assert [line["log_level"] for line in told(logs, "event not sent")] == ["debug"]


def test_each_way_of_losing_events_is_told_once() -> None:
    def use(recorder: EventRecorder) -> None:
        for number in range(9):
            recorder.event(POD, "Normal", f"R{number}", "x")
            recorder.event({"kind": ""}, "Normal", "R", "x")

    def down(_sent: Sent) -> Response:
        raise TransportError("connection refused", sent=False)

    with capture_logs() as logs:
        record(use, transport=FakeTransport(handler=down), queue_size=2)
    assert sorted((line["event"], line["reason"]) for line in logs if line["log_level"] == "warning") == [
        ("event dropped", "QueueFull"),
        ("event not recorded", "ValueError"),
        ("event not sent", "TransportError"),
    ]
