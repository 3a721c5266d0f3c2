"""The view without a terminal: one line per change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.testing.lab._snapshot import LeaseView, ObjectView, ReplicaView, Snapshot


def changes(old: Snapshot, new: Snapshot) -> list[str]:
    """Return what is different, in the order lease, replicas, objects, events."""
    return [
        *_lease(old.lease, new.lease),
        *_replicas({view.name: view for view in old.replicas}, new.replicas),
        *_objects({view.name: view for view in old.objects}, new),
        *(
            f"event: {event.type} {event.reason} {event.object}: {event.note}"
            for event in new.events
            if event not in old.events
        ),
    ]


def _lease(old: LeaseView, new: LeaseView) -> Iterator[str]:
    if new.holder == old.holder:
        return
    if new.holder:
        yield f"lease: {new.leader} leads (transitions {new.transitions})"
    else:
        yield f"lease: released by {old.leader or 'nobody'}"


def _replicas(old: dict[str, ReplicaView], new: tuple[ReplicaView, ...]) -> Iterator[str]:
    for view in new:
        before = old.get(view.name)
        if before is not None and (before.state, before.healthz, before.readyz) == (
            view.state,
            view.healthz,
            view.readyz,
        ):
            continue
        end = f" (code {view.code})" if view.code is not None else ""
        probes = f"healthz={view.healthz} readyz={view.readyz}"
        yield f"{view.name}: {view.state}{end} node={view.node} pid={view.pid} {probes}"


def _objects(old: dict[str, ObjectView], new: Snapshot) -> Iterator[str]:
    names = {view.name for view in new.objects}
    for view in new.objects:
        if view != old.get(view.name):
            yield f"{new.kind} {view.name}: {describe_object(view)}"
    for name in old:
        if name not in names:
            yield f"{new.kind} {name}: deleted"


def describe_object(view: ObjectView) -> str:
    """Return generation and conditions in one line."""
    observed = "-" if view.observed_generation is None else str(view.observed_generation)
    conditions = " ".join(
        f"{entry.type}={entry.status}" + (f"({entry.reason})" if entry.reason else "") for entry in view.conditions
    )
    deleting = " deleting" if view.deleting else ""
    return f"generation {observed}/{view.generation}{deleting} {conditions or 'no conditions yet'}"
