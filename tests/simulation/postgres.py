"""Replicas of the postgres-operator in a simulation, and what is true of its objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from postgres_operator import names
from postgres_operator.api import Postgres, PostgresSpec, StorageSpec
from postgres_operator.main import add_operator, cache_configuration
from pyoperator.manager import Manager
from pyoperator.objects import ObjectKey, ObjectMeta, Quantity, Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing._judge import Child, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyoperator.apiserver import StoreEvent
    from pyoperator.client import Gate, Transport
    from pyoperator.manager import CacheConfiguration
    from pyoperator.testing import SimulatedProcess, Simulation

NAMESPACE = "default"
LEASE = "postgres-operator.example.com"
REPAIRABLE = (
    (names.CONFIG_MAP, "-config"),
    (names.SERVICE, "-rw"),
    (names.STATEFUL_SET, ""),
    (names.DISRUPTION_BUDGET, ""),
)
"""Children that may be deleted by hand, by kind and suffix of their names; the operator makes them again."""


def build(
    process: SimulatedProcess,
    *,
    transport_factory: Callable[[Gate], Transport] | None = None,
    cache: CacheConfiguration | None = None,
) -> Manager:
    manager = Manager(
        transport_factory=transport_factory if transport_factory is not None else process.transport,
        clock=process.clock,
        random=process.random,
        identity=process.user,
        leader_election=True,
        leader_election_id=LEASE,
        leader_election_namespace=NAMESPACE,
        cache=cache if cache is not None else cache_configuration(),
        field_manager=names.MANAGER,
    )
    add_operator(manager, max_concurrent_reconciles=4)
    return manager


def postgres(name: str, **spec: Any) -> Postgres:
    wanted = {"version": "17", "storage": StorageSpec(size=Quantity("1Gi")), **spec}
    return Postgres(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=PostgresSpec(**wanted))


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


async def install(simulation: Simulation) -> None:
    await simulation.client.create(Unstructured(crd_manifest(Postgres)))


async def change(simulation: Simulation, name: str, **spec: Any) -> None:
    original = await simulation.client.get(Postgres, key(name))
    modified = original.model_copy(deep=True)
    for field, value in spec.items():
        setattr(modified.spec, field, value)
    await simulation.client.patch_from(original, modified)


async def unready(simulation: Simulation) -> list[str]:
    """Name the objects that are not Ready at their last generation, or not gone yet."""
    found = []
    for item in (await simulation.client.list(Postgres, namespace=NAMESPACE)).items:
        status = item.status
        ready = status is not None and any(
            condition.type == "Ready" and condition.status == "True" for condition in status.conditions
        )
        if status is None or not ready or status.observed_generation != item.metadata.generation:
            found.append(item.metadata.name)
    return found


async def judge(simulation: Simulation) -> Verdict:
    """Judge the run so far: foreign writes, duplicates, what is not reconciled."""
    children: list[Unstructured] = []
    for kind in names.CHILDREN:
        if kind != names.CLAIM:
            children += (await simulation.client.list(kind, label_selector=names.MANAGED_SELECTOR)).items
    return simulation.judge(
        NAMESPACE,
        LEASE,
        objects=[item.model_dump(mode="json", by_alias=True) for item in await _all(simulation)],
        children=children,
        child_of=_child_of,
        role_of=_role_of,
        retained=lambda child: names.RETAINED_LABEL in (child["metadata"].get("labels") or {}),
    )


async def _all(simulation: Simulation) -> list[Postgres]:
    return (await simulation.client.list(Postgres, namespace=NAMESPACE)).items


def _role_of(child: Mapping[str, Any]) -> str | None:
    role = (child["metadata"].get("labels") or {}).get(names.ROLE_LABEL)
    return f"{child['kind']}/{role}" if role else None


def _child_of(resource: str, namespace: str, name: str) -> Child | None:
    suffixes = {
        "secrets": ("-credentials",),
        "configmaps": ("-config",),
        "services": ("-rw", "-ro", "-pods"),
        "statefulsets": ("",),
        "poddisruptionbudgets": ("",),
    }
    for suffix in suffixes.get(resource, ()):
        if name.endswith(suffix):
            return Child(f"postgreses/{namespace}/{name.removesuffix(suffix)}", f"{resource}{suffix}")
    return None


async def pretend_workloads(simulation: Simulation) -> None:
    """Make StatefulSets ready half a second after a change, without pods or volumes: the cheap stand-in for long runs."""
    system, changed = simulation.server.system, dict[ObjectKey, None]()

    def note(event: StoreEvent) -> None:
        if event.gvk == names.STATEFUL_SET:
            changed[ObjectKey(event.namespace, event.name)] = None

    unsubscribe = system.subscribe(note)
    try:
        while True:
            await asyncio.sleep(0.5)
            for namespace, name in list(changed):
                found = system.get(names.STATEFUL_SET, namespace, name)
                if found is not None and not found["metadata"].get("deletionTimestamp"):
                    count = found["spec"]["replicas"]
                    ready = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "currentReplicas"), count)
                    status = {**ready, "observedGeneration": found["metadata"]["generation"]}
                    if found.get("status") != status:
                        system.update_status({**found, "status": status})
            changed.clear()
    finally:
        unsubscribe()
