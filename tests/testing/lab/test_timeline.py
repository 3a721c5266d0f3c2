"""The demo's timeline."""

from __future__ import annotations

from pyoperator.testing.lab import Timeline


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def wall(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now


def test_each_entry_has_relative_seconds_and_the_leader_of_that_moment() -> None:
    clock, lines, leaders = _Clock(), list[str](), ["", "replica-1-1"]
    timeline = Timeline(clock, write=lines.append, leader=lambda: leaders[0])
    timeline.note("started")
    clock.now += 2.5
    leaders.pop(0)
    timeline.note("the samples are Ready")
    assert [(entry.at, entry.what, entry.leader) for entry in timeline.entries] == [
        (0.0, "started", ""),
        (2.5, "the samples are Ready", "replica-1-1"),
    ]
    assert [line.split() for line in lines] == [
        ["0.000", "s", "-", "started"],
        ["2.500", "s", "replica-1-1", "the", "samples", "are", "Ready"],
    ]
    assert timeline.duration == 2.5
    assert lines[1].index("the samples") == Timeline.heading().index("what happened")
