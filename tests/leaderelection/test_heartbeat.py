from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import structlog
from structlog.testing import capture_logs

from pyoperator.leaderelection import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkLoop:
    """A loop that answers when it is let."""

    def __init__(self) -> None:
        self.stalled = False
        self.closed = False
        self.ended = False
        self.waiting: list[Callable[[], None]] = []

    def is_closed(self) -> bool:
        return self.closed

    def call_soon_threadsafe(self, call: Callable[..., None], *arguments: Any) -> None:
        if self.ended:
            raise RuntimeError("Event loop is closed")
        if self.stalled:
            self.waiting.append(lambda: call(*arguments))
        else:
            call(*arguments)

    def go_on(self) -> None:
        self.stalled = False
        for call in self.waiting:
            call()
        self.waiting.clear()


def watched(limit: float = 2.0) -> tuple[Heartbeat, WorkLoop]:
    heartbeat, loop = Heartbeat(limit, structlog.get_logger()), WorkLoop()
    heartbeat.attach(loop, threading.get_ident())  # type: ignore[arg-type]
    return heartbeat, loop


def look_until(heartbeat: Heartbeat, now: float, end: float) -> float:
    while now < end:
        heartbeat.look(now)
        now += heartbeat.pause
    return now


def test_a_stall_is_measured_told_with_its_place_and_over() -> None:
    with capture_logs() as logs:
        heartbeat, loop = watched()
        now = look_until(heartbeat, 0.0, 5.0)
        assert heartbeat.stalled_for == 0
        loop.stalled = True
        now = look_until(heartbeat, now, now + 1.5)
        assert 1.0 <= heartbeat.stalled_for <= 1.5
        assert not heartbeat.beyond_limit
        now = look_until(heartbeat, now, now + 1.0)
        assert heartbeat.beyond_limit
        assert len(loop.waiting) == 1, "a stalled loop is not flooded"
        loop.go_on()
        assert not heartbeat.beyond_limit, "from the moment on in which it answers"
        look_until(heartbeat, now, now + 1.0)
        assert heartbeat.stalled_for == 0
    assert [line["event"] for line in logs] == [
        "the work loop stands still",
        "the work loop stands still for longer than stall_limit: no more renewals",
        "the work loop goes on",
    ]
    assert any("test_heartbeat.py" in entry for entry in logs[0]["frames"])
    assert 2.0 <= logs[2]["stood_still"] <= 2.5


def test_it_is_told_to_people_too() -> None:
    """structlog's console takes some keys for its own, and a guard whose log line raises would guard no more."""
    output = io.StringIO()
    logger = structlog.wrap_logger(structlog.PrintLogger(output), [structlog.dev.ConsoleRenderer(colors=False)])
    heartbeat, loop = Heartbeat(2.0, logger), WorkLoop()
    heartbeat.attach(loop, threading.get_ident())  # type: ignore[arg-type]
    now = look_until(heartbeat, 0.0, 1.0)
    loop.stalled = True
    look_until(heartbeat, now, now + 3.0)
    assert output.getvalue().count("test_heartbeat.py") >= 2


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    heartbeat, loop = watched()
    now = look_until(heartbeat, 0.0, 1.0)
    loop.stalled = True
    heartbeat.look(now)
    heartbeat.look(now + 3600)
    assert heartbeat.stalled_for <= 2 * heartbeat.pause
    loop.go_on()
    assert heartbeat.stalled_for == 0


def test_a_loop_that_has_ended_does_not_stand_still() -> None:
    heartbeat, loop = watched()
    loop.closed = True
    look_until(heartbeat, 0.0, 60.0)
    assert heartbeat.stalled_for == 0
    loop.closed, loop.ended = False, True  # closed right after it was asked whether it is
    look_until(heartbeat, 60.0, 120.0)
    assert heartbeat.stalled_for == 0
    heartbeat.attach(loop, 0)  # type: ignore[arg-type]
    assert heartbeat.place() == "in no Python code"
