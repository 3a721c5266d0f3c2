"""Both views are functions of snapshots."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from pyoperator.testing.lab import ConditionView, EventView, LabError, LeaseView, ObjectView, ReplicaView, Snapshot
from pyoperator.testing.lab._plain import changes
from pyoperator.testing.lab._run import _load_view
from pyoperator.testing.lab._view import format_age, render

READY = (ConditionView("Ready", "True", "InstancesReady"), ConditionView("Degraded", "False", "AsExpected"))
SNAPSHOT = Snapshot(
    now=1000.0,
    kind="Postgres",
    lease=LeaseView("replica-1-1_8f7d", transitions=2, acquired_at=940.0, renewed_at=998.5, duration=15.0),
    replicas=(
        ReplicaView("replica-0-1", "lab-node-0", 100, "ended", code=-9),
        ReplicaView("replica-1-1", "lab-node-1", 101, "ready", "ok", "ok", "127.0.0.1:1", "127.0.0.1:2"),
        ReplicaView("replica-2-1", "lab-node-2", 102, "not ready", "ok", "500", "127.0.0.1:3", "127.0.0.1:4"),
    ),
    objects=(
        ObjectView("default/orders", "u1", 2, 2, READY),
        ObjectView("default/scratch", "u2", 3, 2, READY),
    ),
    events=(EventView(990.0, "Normal", "InstancesReady", "Postgres orders", "3 of 3 instances are ready"),),
)


def drawn(snapshot: Snapshot, *, height: int = 40, heading: str = "") -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(render(snapshot, heading=heading, height=height))
    return console.export_text()


def test_the_holder_names_its_replica() -> None:
    assert SNAPSHOT.lease.leader == "replica-1-1"
    assert SNAPSHOT.leader is SNAPSHOT.replicas[1]
    assert LeaseView("web-7f_9_x").leader == "web-7f_9"
    assert LeaseView("edited-by-hand").leader == "edited-by-hand"
    assert replace(SNAPSHOT, lease=LeaseView("replica-0-1_x")).leader is None  # it has ended


def test_an_object_is_settled_when_its_newest_generation_is_ready() -> None:
    assert [view.settled("Ready") for view in SNAPSHOT.objects] == [True, False]
    assert SNAPSHOT.settled == 1
    assert not ObjectView("new", generation=1).settled("Ready")


def test_the_live_view_shows_everything() -> None:
    picture = drawn(SNAPSHOT, heading="kubeconfig: /lab/kubeconfig")
    for part in (
        "kubeconfig: /lab/kubeconfig",
        "replica-1-1 leads for 60s   renewed 1.5s ago   transitions 2",
        "★  replica-1-1",
        "ended (-9)",
        "lab-node-2",
        "500",
        "1 of 2 Ready",
        "default/orders",
        "2/3",
        "Ready=True",
        "InstancesReady",
        "3 of 3 instances are ready",
    ):
        assert part in picture, picture


def test_the_live_view_fits_and_shows_first_what_is_not_done() -> None:
    many = tuple(
        ObjectView(f"default/{number:03}", generation=1, observed_generation=1, conditions=READY)
        for number in range(200)
    )
    waiting = ObjectView("default/zzz", generation=1)
    picture = drawn(replace(SNAPSHOT, objects=(*many, waiting)), height=30)
    assert len(picture.splitlines()) <= 30
    assert "default/zzz" in picture
    assert "more" in picture


def test_an_empty_lab_can_be_drawn() -> None:
    assert "nobody leads" in drawn(Snapshot(0.0))


def test_markup_in_what_others_wrote_is_shown_as_it_is() -> None:
    event = EventView(1.0, "Warning", "[bold]Odd[/]", "Postgres [x]", "[/nonsense] text")
    assert "[/nonsense] text" in drawn(replace(SNAPSHOT, events=(event,)))


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0s"), (12.9, "12s"), (200, "3m20s"), (7500, "2h5m")])
def test_ages_are_short(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


def test_lines_tell_only_what_changed() -> None:
    assert changes(SNAPSHOT, replace(SNAPSHOT, now=1001.0)) == []
    first = changes(Snapshot(0.0), SNAPSHOT)
    assert first[0] == "lease: replica-1-1 leads (transitions 2)"
    assert "replica-0-1: ended (code -9) node=lab-node-0 pid=100 healthz=- readyz=-" in first
    assert "Postgres default/scratch: generation 2/3 Ready=True(InstancesReady) Degraded=False(AsExpected)" in first
    assert first[-1] == "event: Normal InstancesReady Postgres orders: 3 of 3 instances are ready"


def test_lines_tell_of_releases_and_deletions() -> None:
    later = replace(SNAPSHOT, lease=LeaseView(""), objects=SNAPSHOT.objects[:1])
    assert changes(SNAPSHOT, later) == ["lease: released by replica-1-1", "Postgres default/scratch: deleted"]


def test_a_renewal_is_no_news() -> None:
    assert changes(SNAPSHOT, replace(SNAPSHOT, lease=replace(SNAPSHOT.lease, renewed_at=1002.0))) == []


def test_a_missing_rich_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.live", None)
    with pytest.raises(LabError, match=r"pip install rich"):
        _load_view()
