"""The live view: a pure function from a snapshot to something that rich renders. The only file that imports rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pyoperator.testing.lab._snapshot import ConditionView, ReplicaView, Snapshot

_PROBE_STYLES = {"ok": "green", "-": "dim"}
_STATE_STYLES = {
    "ready": "green",
    "starting": "yellow",
    "not ready": "yellow",
    "silent": "red",
    "stopping": "magenta",
    "ended": "red",
}


def render(snapshot: Snapshot, *, heading: str = "", height: int = 40) -> RenderableType:
    """Return the view: lease, replicas, objects, events; ``height`` in lines bounds the last two."""
    # Frames and headings of the four parts take 14 lines; the rest is shared by objects and events.
    room = max(4, height - 14 - len(snapshot.replicas) - heading.count("\n"))
    objects = max(2, min(len(snapshot.objects), room - min(6, room // 3)))
    parts: list[RenderableType] = []
    if heading:
        parts.append(Text(heading, style="dim"))
    parts += [
        _lease(snapshot),
        Panel(_replicas(snapshot), title="replicas", title_align="left"),
        Panel(_objects(snapshot, objects), title=_objects_title(snapshot), title_align="left"),
        Panel(_events(snapshot, max(2, room - objects)), title="events", title_align="left"),
    ]
    return Group(*parts)


def format_age(seconds: float) -> str:
    """Write an age as kubectl does, roughly: ``12s``, ``3m20s``, ``2h5m``."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 7200:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m"


def _lease(snapshot: Snapshot) -> RenderableType:
    lease = snapshot.lease
    text = Text("lease  ", style="bold")
    if lease.holder:
        text.append(f"{lease.leader} leads", style="bold green")
    else:
        text.append("nobody leads", style="bold red")
    if lease.acquired_at is not None and lease.holder:
        text.append(f" for {format_age(snapshot.now - lease.acquired_at)}")
    if lease.renewed_at is not None:
        age = max(0.0, snapshot.now - lease.renewed_at)
        overdue = bool(lease.holder) and age > lease.duration
        text.append(f"   renewed {age:.1f}s ago", style="red" if overdue else "")
    text.append(f"   transitions {lease.transitions}")
    return text


def _replicas(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("", "NAME", "NODE", "PID", "STATE", "HEALTHZ", "READYZ", "PROBES", "METRICS"):
        table.add_column(column, no_wrap=True)
    for view in snapshot.replicas:
        leads = view.name == snapshot.lease.leader and view.state != "ended"
        table.add_row(
            Text("★" if leads else "", style="yellow"),
            Text(view.name, style="bold" if leads else ""),
            view.node,
            str(view.pid),
            Text(_state(view), style=_STATE_STYLES[view.state]),
            Text(view.healthz, style=_PROBE_STYLES.get(view.healthz, "red")),
            Text(view.readyz, style=_PROBE_STYLES.get(view.readyz, "red")),
            view.probes,
            view.metrics,
        )
    return table


def _state(view: ReplicaView) -> str:
    return view.state if view.code is None else f"{view.state} ({view.code})"


def _objects_title(snapshot: Snapshot) -> str:
    return f"{snapshot.kind}: {snapshot.settled} of {len(snapshot.objects)} {snapshot.ready_condition}"


def _objects(snapshot: Snapshot, limit: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False)
    table.add_column("NAME", no_wrap=True)
    table.add_column("GENERATION", no_wrap=True)
    table.add_column("CONDITIONS", ratio=1, no_wrap=True, overflow="ellipsis")
    # What is not done yet is what one wants to see when there is no room for all.
    ordered = sorted(snapshot.objects, key=lambda view: (view.settled(snapshot.ready_condition), view.name))
    shown = ordered if len(ordered) <= limit else ordered[: limit - 1]
    for view in shown:
        observed = "-" if view.observed_generation is None else str(view.observed_generation)
        conditions = Text()
        for entry in view.conditions:
            conditions.append(f"{entry.type}={entry.status} ", style=_condition_style(entry, snapshot.ready_condition))
            if entry.reason and entry.type == snapshot.ready_condition:
                conditions.append(f"({entry.reason}) ", style="dim")
        table.add_row(
            Text(view.name, style="strike" if view.deleting else ""), f"{observed}/{view.generation}", conditions
        )
    if len(shown) < len(ordered):
        table.add_row(Text(f"... and {len(ordered) - len(shown)} more", style="dim"), "", "")
    return table


def _condition_style(entry: ConditionView, ready: str) -> str:
    if entry.type == ready:
        return "green" if entry.status == "True" else "yellow"
    return "red" if entry.type == "Degraded" and entry.status == "True" else "dim"


def _events(snapshot: Snapshot, limit: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for event in snapshot.events[-limit:]:
        table.add_row(
            Text(format_age(snapshot.now - event.at), style="dim"),
            Text(event.reason, style="" if event.type == "Normal" else "red"),
            event.object,
            Text(event.note, style="dim"),
        )
    return table
