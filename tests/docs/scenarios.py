"""What the documentation's operators must do, one scenario for each program, under its name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pyoperator import GroupVersionKind, MergePatch, NotFound, ObjectKey, Unstructured
from pyoperator.objects import ObjectMeta

if TYPE_CHECKING:
    from tests.docs.programs import World

__all__ = [
    "blocking_code",
    "conditions_and_events",
    "finalizers",
    "indexes_and_selectors",
    "metrics_and_probes",
    "owned_children",
    "watching_other_kinds",
    "website",
]

DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
SERVICE = GroupVersionKind("", "v1", "Service")
EVENT = GroupVersionKind("events.k8s.io", "v1", "Event")


def meta(name: str, **fields: object) -> ObjectMeta:
    return ObjectMeta.model_validate({"name": name, "namespace": "default", **fields})


async def website(world: World) -> None:
    key = ObjectKey("default", "hello")
    await world.client.create(
        world["Website"](metadata=meta("hello"), spec=world["WebsiteSpec"](html="hi", replicas=2))
    )
    await asyncio.sleep(30)
    assert (await world.client.get(world["Website"], key)).status.ready_replicas == 2
    deployment = await world.client.get(DEPLOYMENT, key)
    await world.client.delete(deployment)
    await asyncio.sleep(30)
    again = await world.client.get(DEPLOYMENT, key)
    assert again.metadata["uid"] != deployment.metadata["uid"]
    # Nothing to do means nothing written.
    await asyncio.sleep(60)
    before = (await world.client.get(DEPLOYMENT, key)).metadata["resourceVersion"]
    await asyncio.sleep(600)
    assert (await world.client.get(DEPLOYMENT, key)).metadata["resourceVersion"] == before


def config_map(name: str, **data: str) -> Unstructured:
    return Unstructured(
        apiVersion="v1", kind="ConfigMap", metadata={"name": name, "namespace": "default"}, data=dict(data)
    )


async def owned_children(world: World) -> None:
    key = ObjectKey("default", "work")

    async def services() -> dict[str, str]:
        found = await world.client.list(SERVICE, namespace="default")
        return {
            service.metadata["name"]: service.metadata["uid"] for service in found.items if service.key != KUBERNETES
        }

    await world.client.create(world["Queue"](metadata=meta("work"), spec=world["QueueSpec"](ports=[80, 443])))
    await asyncio.sleep(5)
    first = await services()
    assert set(first) == {"work-80", "work-443"}
    await world.client.delete(SERVICE, ObjectKey("default", "work-80"))
    await asyncio.sleep(5)
    again = await services()
    assert set(again) == set(first)
    assert again["work-80"] != first["work-80"]
    await world.client.patch(
        SERVICE, ObjectKey("default", "work-443"), MergePatch({"spec": {"selector": {"queue": "x"}}})
    )
    await asyncio.sleep(5)
    repaired = await world.client.get(SERVICE, ObjectKey("default", "work-443"))
    assert repaired["spec"]["selector"] == {"queue": "work"}
    await world.client.patch(world["Queue"], key, MergePatch({"spec": {"ports": [443]}}))
    await asyncio.sleep(5)
    assert set(await services()) == {"work-443"}
    # Written are differences, so at rest nothing is.
    settled = await world.client.get(SERVICE, ObjectKey("default", "work-443"))
    await asyncio.sleep(600)
    assert await world.client.get(SERVICE, ObjectKey("default", "work-443")) == settled
    await world.client.delete(world["Queue"], key)
    await asyncio.sleep(60)
    assert await services() == {}


KUBERNETES = ObjectKey("default", "kubernetes")


async def finalizers(world: World) -> None:
    key = ObjectKey("default", "files")
    storage = world["storage"]
    created = await world.client.create(world["Bucket"](metadata=meta("files"), spec=world["BucketSpec"]()))
    await asyncio.sleep(5)
    assert (await world.client.get(world["Bucket"], key)).metadata.finalizers == [world["FINALIZER"]]
    assert storage.buckets == {created.metadata.uid}
    await world.client.delete(world["Bucket"], key)
    await asyncio.sleep(5)
    assert storage.buckets == set()
    with pytest.raises(NotFound):
        await world.client.get(world["Bucket"], key)


async def watching_other_kinds(world: World) -> None:
    async def version(name: str) -> str:
        status = (await world.client.get(world["App"], ObjectKey("default", name))).status
        return status.config_version if status else ""

    await world.client.create(world["App"](metadata=meta("one"), spec=world["AppSpec"](config_name="settings")))
    await world.client.create(world["App"](metadata=meta("two"), spec=world["AppSpec"](config_name="other")))
    await asyncio.sleep(5)
    assert await version("one") == ""
    created = await world.client.create(config_map("settings", a="1"))
    await asyncio.sleep(5)
    assert await version("one") == created.metadata["resourceVersion"]
    changed = await world.client.patch(CONFIG_MAP, ObjectKey("default", "settings"), MergePatch({"data": {"a": "2"}}))
    await asyncio.sleep(5)
    assert await version("one") == changed.metadata["resourceVersion"]
    assert await version("two") == ""


async def indexes_and_selectors(world: World) -> None:
    for name, owner in (("a", "ann"), ("b", "ann"), ("c", "bob")):
        await world.client.create(world["Tenant"](metadata=meta(name), spec=world["TenantSpec"](owner=owner)))
    for name, labels in (("one", {"example.com/managed": "true", "tenant": "a"}), ("two", {"tenant": "a"})):
        secret = Unstructured(
            apiVersion="v1", kind="Secret", metadata={"name": name, "namespace": "default", "labels": labels}
        )
        await world.client.create(secret)
    await asyncio.sleep(5)
    status = (await world.client.get(world["Tenant"], ObjectKey("default", "a"))).status
    assert (status.credentials, status.siblings) == (1, ["b"])
    [entry] = world.manager.cache.entries(world["SECRET"])
    assert entry.key.name == "one"


async def conditions_and_events(world: World) -> None:
    key = ObjectKey("default", "nightly")

    async def ready() -> tuple[str, str, str]:
        [condition] = (await world.client.get(world["Backup"], key)).status.conditions
        return condition.status, condition.reason, condition.last_transition_time

    await world.client.create(world["Backup"](metadata=meta("nightly"), spec=world["BackupSpec"](source="settings")))
    await asyncio.sleep(5)
    assert (await ready())[:2] == ("False", "SourceMissing")
    await world.client.create(config_map("settings"))
    await asyncio.sleep(120)
    first = await ready()
    assert first[:2] == ("True", "SourceFound")
    await asyncio.sleep(120)
    assert await ready() == first
    await world.client.delete(CONFIG_MAP, ObjectKey("default", "settings"))
    await asyncio.sleep(120)
    assert (await ready())[:2] == ("False", "SourceMissing")
    events = [event for event in (await world.client.list(EVENT)).items if event["reason"] == "SourceMissing"]
    assert len(events) == 1
    assert events[0]["regarding"]["name"] == "nightly"
    status = (await world.client.get(world["Backup"], key)).status
    assert status.observed_generation == 1


async def metrics_and_probes(world: World) -> None:
    await world.client.create(config_map("any"))
    await asyncio.sleep(5)
    rendered = world.manager.metrics.render()[0].decode()
    assert "example_looks_total 0.0" not in rendered
    assert "example_looks_total" in rendered
    results = {result.name: result.passed for result in await world.manager.readyz.run()}
    assert results == {"startup": True, "informers": True, "permissions": True, "shutdown": True, "database": True}
    assert "ping" in world.manager.healthz.names


async def blocking_code(world: World) -> None:
    await world.client.create(world["Dump"](metadata=meta("nightly"), spec=world["DumpSpec"](database="orders")))
    await asyncio.sleep(30)
    assert (await world.client.get(world["Dump"], ObjectKey("default", "nightly"))).status.bytes == len("orders")
