"""What a lab looks like at one moment: frozen data, made by the watcher, shown by the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReplicaState = Literal["starting", "ready", "not ready", "silent", "stopping", "ended"]


@dataclass(frozen=True, slots=True)
class LeaseView:
    """The election's Lease; times are Unix seconds. ``holder`` is "" when nobody holds it."""

    holder: str = ""
    transitions: int = 0
    acquired_at: float | None = None
    renewed_at: float | None = None
    duration: float = 0.0

    @property
    def leader(self) -> str:
        """The replica that the holder's identity names: what stands before its UUID."""
        return self.holder.rpartition("_")[0] or self.holder


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One process start. Probes: ``ok``, a status such as ``500``, or ``-`` for no answer.

    ``silent``: it runs and has answered before, and does not now, as when it is paused.
    """

    name: str
    node: str
    pid: int
    state: ReplicaState
    healthz: str = "-"
    readyz: str = "-"
    probes: str = ""
    metrics: str = ""
    code: int | None = None


@dataclass(frozen=True, slots=True)
class ConditionView:
    type: str
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One custom resource and how far the operator is with it."""

    name: str
    uid: str = ""
    generation: int = 0
    observed_generation: int | None = None
    conditions: tuple[ConditionView, ...] = ()
    deleting: bool = False

    def settled(self, condition: str) -> bool:
        """Tell whether the newest generation has been seen and ``condition`` is True."""
        return self.observed_generation == self.generation and any(
            entry.type == condition and entry.status == "True" for entry in self.conditions
        )


@dataclass(frozen=True, slots=True)
class EventView:
    """One Kubernetes event; ``at`` in Unix seconds."""

    at: float
    type: str
    reason: str
    object: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at ``now`` (Unix seconds): replicas by node, objects by name, events oldest first."""

    now: float
    kind: str = "Object"
    ready_condition: str = "Ready"
    lease: LeaseView = LeaseView()
    replicas: tuple[ReplicaView, ...] = ()
    objects: tuple[ObjectView, ...] = ()
    events: tuple[EventView, ...] = ()

    @property
    def settled(self) -> int:
        """Number of objects that are done."""
        return sum(obj.settled(self.ready_condition) for obj in self.objects)

    @property
    def leader(self) -> ReplicaView | None:
        """The running replica that the Lease names."""
        return next(
            (replica for replica in self.replicas if replica.name == self.lease.leader and replica.state != "ended"),
            None,
        )
