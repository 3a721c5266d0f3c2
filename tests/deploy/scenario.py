"""Everything that the operator does, once: what its permissions are measured by, here and on a real server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from postgres_operator import names
from postgres_operator.api import Postgres, PostgresSpec, StorageSpec
from pyoperator.client import MergePatch, NotFound
from pyoperator.objects import GroupVersionKind, ObjectKey, ObjectMeta, Quantity, Unstructured, metadata_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.client import Client

LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
LEASE_KEY = ObjectKey("postgres-operator-system", "postgres-operator.example.com")
EVENT = GroupVersionKind("events.k8s.io", "v1", "Event")
REPAIRED = (
    (names.CONFIG_MAP, "orders-config"),
    (names.SERVICE, "orders-rw"),
    (names.STATEFUL_SET, "orders"),
    (names.DISRUPTION_BUDGET, "orders"),
)


class Stage(Protocol):
    """Where it plays: an administrator's client, replicas of the operator that can be started and stopped.

    ``hand_overs``: how often the lease is handed over; once can be luck (a poll at the right moment).
    """

    client: Client
    namespace: str
    hand_overs: int

    async def start(self, name: str) -> None:
        """Start a replica; its Lease identity begins with ``name``."""

    async def stop(self, name: str) -> None:
        """Stop a replica as SIGTERM does and wait for its end."""

    async def quiet(self) -> None:
        """Let time pass in which nothing happens, if time is cheap here."""

    async def until(self, what: str, condition: Callable[[], Awaitable[object]], within: float = 20.0) -> None:
        """Return once the condition holds; after ``within`` seconds an AssertionError says what did not."""


async def play(stage: Stage) -> None:
    """Start two replicas and take them through everything; an AssertionError names the first thing that fails."""
    await stage.start("first")
    await stage.until("the first replica leads", lambda: _leads(stage, "first"))
    await stage.start("second")
    client = stage.client
    await client.create(_postgres(stage, "orders"))
    await stage.until("a database becomes ready", lambda: _is_ready(stage, "orders", 1))
    await _change(stage, "orders", {"instances": 2})
    await stage.until("a database is scaled", lambda: _is_ready(stage, "orders", 2))
    for kind, name in REPAIRED:
        await _repair(stage, kind, name)
    await _adopt(stage)
    await _count_repairs(stage)
    await _change(stage, "orders", {"storage": {"size": "2Gi"}})
    await stage.until("volumes grow", lambda: _claims_have(stage, "orders", "2Gi"))
    await _retain(stage)
    await client.delete(Postgres, _key(stage, "orders"))
    await stage.until("a database is deleted", lambda: _is_gone(stage, Postgres, "orders"))
    await stage.until("its volumes are deleted", lambda: _claims_are_gone(stage, "orders"))
    await stage.until("its instances are deleted", lambda: _is_gone(stage, names.STATEFUL_SET, "orders"))
    leader, standby = "first", "second"
    for number in range(stage.hand_overs):
        if number:
            await stage.start(standby)
            await stage.quiet()
        await stage.stop(leader)
        leader, standby = standby, leader
        await stage.until("a released lease is taken at once", partial(_leads, stage, leader), within=0.5)
    await client.create(_postgres(stage, "late"))
    await stage.until("the other replica works", lambda: _is_ready(stage, "late", 1))
    await stage.until("leadership is told as an event", lambda: _told(stage, "LeaderElection", LEASE_KEY.namespace))
    await stage.stop(leader)


async def _repair(stage: Stage, kind: GroupVersionKind, name: str) -> None:
    client, key = stage.client, _key(stage, name)
    old = await client.get(kind, key)
    await client.delete(kind, key, propagation_policy="Background")

    async def is_back() -> bool:
        return bool((await client.get(kind, key)).metadata["uid"] != old.metadata["uid"])

    await stage.until(f"a deleted {kind.kind} comes back", is_back)
    await stage.quiet()  # nothing but a watch tells of the next change
    await client.patch(kind, key, MergePatch({"metadata": {"labels": {names.MANAGED_BY: None}}}))

    async def is_labelled() -> bool:
        return metadata_of(await client.get(kind, key)).labels.get(names.MANAGED_BY) == names.MANAGER

    await stage.until(f"a {kind.kind} without its label is found and labelled", is_labelled)
    await stage.until("the database is ready again", lambda: _is_ready(stage, "orders", 2))


async def _adopt(stage: Stage) -> None:
    client, key = stage.client, _key(stage, "orders-credentials")
    await client.patch(names.SECRET, key, MergePatch({"metadata": {"labels": {names.MANAGED_BY: None}}}))

    async def is_labelled() -> bool:
        return metadata_of(await client.get(names.SECRET, key)).labels.get(names.MANAGED_BY) == names.MANAGER

    await stage.until("a Secret without its label is found and labelled", is_labelled)


async def _count_repairs(stage: Stage) -> None:
    client, key = stage.client, _key(stage, "orders-config")
    for _ in range(2):
        old = await client.get(names.CONFIG_MAP, key)
        await client.delete(names.CONFIG_MAP, key)

        async def is_back(uid: str = old.metadata["uid"]) -> bool:
            return bool((await client.get(names.CONFIG_MAP, key)).metadata["uid"] != uid)

        await stage.until("a ConfigMap comes back", is_back)

    async def is_counted() -> bool:
        events = (await client.list(EVENT, namespace=stage.namespace)).items
        return any((event.get("series") or {}).get("count", 0) > 1 for event in events)

    await stage.until("a repeated event is counted", is_counted)


async def _retain(stage: Stage) -> None:
    client = stage.client
    await client.create(_postgres(stage, "kept", deletion_policy="Retain"))
    await stage.until("a database to be retained is ready", lambda: _is_ready(stage, "kept", 1))
    await client.delete(Postgres, _key(stage, "kept"))
    await stage.until("it is deleted", lambda: _is_gone(stage, Postgres, "kept"))
    kept = [await client.get(names.SECRET, _key(stage, "kept-credentials")), *await _claims(stage, "kept")]
    assert [metadata_of(child).labels.get(names.RETAINED_LABEL) for child in kept] == ["true", "true"]


def _key(stage: Stage, name: str) -> ObjectKey:
    return ObjectKey(stage.namespace, name)


def _postgres(stage: Stage, name: str, **spec: Any) -> Postgres:
    wanted = {"version": "17", "instances": 1, "storage": StorageSpec(size=Quantity("1Gi")), **spec}
    return Postgres(metadata=ObjectMeta(name=name, namespace=stage.namespace), spec=PostgresSpec(**wanted))


async def _change(stage: Stage, name: str, spec: dict[str, Any]) -> None:
    await stage.client.patch(Postgres, _key(stage, name), MergePatch({"spec": spec}))


async def _leads(stage: Stage, name: str) -> bool:
    lease = await stage.client.get(LEASE, LEASE_KEY)
    return str(lease["spec"].get("holderIdentity") or "").startswith(name)


async def _is_ready(stage: Stage, name: str, instances: int) -> bool:
    database = await stage.client.get(Postgres, _key(stage, name))
    status = database.status
    return (
        status is not None
        and status.observed_generation == database.metadata.generation
        and status.ready_instances == instances
        and any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions)
    )


async def _is_gone(stage: Stage, kind: Any, name: str) -> bool:
    try:
        await stage.client.get(kind, _key(stage, name))
    except NotFound:
        return True
    return False


async def _claims(stage: Stage, name: str) -> list[Unstructured]:
    selector = f"{names.CLUSTER_LABEL}={name}"
    return (await stage.client.list(names.CLAIM, namespace=stage.namespace, label_selector=selector)).items


async def _claims_have(stage: Stage, name: str, size: str) -> bool:
    sizes = [claim["spec"]["resources"]["requests"]["storage"] for claim in await _claims(stage, name)]
    return bool(sizes) and set(sizes) == {size}


async def _claims_are_gone(stage: Stage, name: str) -> bool:
    return all(metadata_of(claim).deletion_timestamp for claim in await _claims(stage, name))


async def _told(stage: Stage, reason: str, namespace: str) -> bool:
    events = (await stage.client.list(EVENT, namespace=namespace)).items
    return any(event.get("reason") == reason for event in events)
