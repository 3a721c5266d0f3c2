"""What people hear of a change of leadership."""

from __future__ import annotations

from typing import Any

import structlog
from structlog.testing import capture_logs

from pyoperator.leaderelection import Transition, announce


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[dict[str, Any], str]] = []

    def event(self, obj: Any, type_: str, reason: str, message: str, *, action: str = "") -> None:
        assert (type_, reason, action) == ("Normal", "LeaderElection", "LeaderElection")
        self.events.append((dict(obj["metadata"]), message))


def transition(kind: Any, holder: str = "", reason: str = "", uid: str = "") -> Transition:
    return Transition(kind, "system", "op", "me", holder, 7, 0.0, reason, uid)


def told(*transitions: Transition, recorder: Recorder | None = None) -> list[tuple[str, str]]:
    with capture_logs() as logs:
        for one in transitions:
            announce(one, structlog.get_logger(), recorder)
    return [(line["log_level"], line["event"]) for line in logs]


def test_each_change_is_one_line_and_one_event_on_the_lease() -> None:
    recorder = Recorder()
    lines = told(
        transition("acquired", "me", uid="u1"),
        transition("new_leader", "me"),
        transition("lost", "other", "the Lease is held by 'other'", uid="u1"),
        transition("new_leader", "other"),
        transition("released", uid="u1"),
        transition("release_failed", "me", "no answer in time"),
        recorder=recorder,
    )
    assert lines == [
        ("info", "became leader"),
        ("error", "stopped leading"),
        ("info", "another replica leads"),
        ("info", "stopped leading"),
        ("error", "could not release the lease"),
    ]
    lease = {"name": "op", "namespace": "system", "uid": "u1"}
    assert recorder.events == [
        (lease, "me became leader"),
        (lease, "me stopped leading"),
        (lease, "me stopped leading"),
    ]


def test_the_line_says_which_lease_and_why() -> None:
    with capture_logs() as logs:
        announce(transition("lost", reason="not renewed"), structlog.get_logger(), None)
    assert logs[0]["lease"] == "system/op"
    assert logs[0]["identity"] == "me"
    assert logs[0]["transitions"] == 7
    assert logs[0]["reason"] == "not renewed"
