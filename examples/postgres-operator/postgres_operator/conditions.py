"""What the operator saw in one reconcile, and the status that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postgres_operator import names
from postgres_operator.api import PostgresStatus
from pyoperator.objects import Condition, set_condition

if TYPE_CHECKING:
    from postgres_operator.api import Postgres
    from pyoperator.objects import Unstructured


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the operator can't or won't do: the condition that turns False, why, and what to do."""

    condition: str
    reason: str
    message: str


_WHEN_FINE = {
    "VersionAccepted": ("Accepted", "the wanted version runs"),
    "StorageAccepted": ("Accepted", "the volumes have the wanted size and class"),
    "UsersApplied": ("Applied", "roles and databases are those that the database was initialised with"),
    "ParametersAccepted": ("Accepted", "all parameters are applied"),
}


@dataclass(slots=True)
class Observation:
    """Collects what one reconcile sees."""

    faults: list[Fault] = field(default_factory=list)
    stateful_set: Unstructured | None = None
    version: str = ""

    def refuse(self, condition: str, reason: str, message: str) -> None:
        self.faults.append(Fault(condition, reason, message))


def status_of(postgres: Postgres, seen: Observation, *, now: float) -> PostgresStatus:
    """Return the status to be written; equal to the present one when nothing has changed. ``now``: Unix seconds."""
    old = postgres.status or PostgresStatus()
    status = old.model_copy()
    wanted, generation = postgres.spec.instances, postgres.metadata.generation
    existing, ready, settled = _counts(seen.stateful_set, wanted)
    status.observed_generation = generation
    status.instances = existing
    status.ready_instances = ready
    status.version = seen.version or postgres.spec.version
    status.endpoint = f"{names.read_write(postgres.metadata.name)}.{postgres.metadata.namespace}.svc:{names.PORT}"
    status.selector = ",".join(f"{key}={value}" for key, value in names.selector(postgres.metadata.name).items())
    conditions = [condition.model_copy() for condition in old.conditions]

    def put(type_: str, value: bool, reason: str, message: str) -> None:
        state = "True" if value else "False"
        new = Condition(type=type_, status=state, reason=reason, message=message, observed_generation=generation)
        set_condition(conditions, new, now=now)

    is_ready = settled and ready >= wanted
    blocking = next((fault for fault in seen.faults if fault.condition not in _WHEN_FINE), None)
    if blocking is not None:
        put("Ready", is_ready, blocking.reason, blocking.message)
    else:
        put(
            "Ready",
            is_ready,
            "InstancesReady" if is_ready else "InstancesNotReady",
            f"{ready} of {wanted} instances are ready" + ("" if settled else "; a change is being rolled out"),
        )
    if is_ready or blocking is not None:
        put("Progressing", False, "Blocked" if blocking else "Settled", "nothing is being changed")
    else:
        put("Progressing", True, "RollingOut", f"waiting for {wanted} ready and up-to-date instances")
    for type_, (reason, message) in _WHEN_FINE.items():
        fault = next((fault for fault in seen.faults if fault.condition == type_), None)
        if fault is not None:
            put(type_, False, fault.reason, fault.message)
        else:
            put(type_, True, reason, message)
    if seen.faults:
        put("Degraded", True, seen.faults[0].reason, "; ".join(fault.message for fault in seen.faults))
    else:
        put("Degraded", False, "AsExpected", "everything asked for is in place or on its way")
    status.conditions = conditions
    return status


def _counts(stateful_set: Unstructured | None, wanted: int) -> tuple[int, int, bool]:
    """Return how many instances exist, how many are ready, and whether the latest change has reached all of them."""
    if stateful_set is None:
        return 0, 0, False
    status = stateful_set.get("status") or {}
    observed = status.get("observedGeneration", 0) >= stateful_set.metadata.get("generation", 0)
    existing = status.get("replicas", 0)
    settled = observed and existing == wanted and status.get("updatedReplicas", 0) >= wanted
    return existing, status.get("readyReplicas", 0), settled
