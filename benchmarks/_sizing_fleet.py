"""The Postgres objects of a sizing run: made one by one, or copied from a finished one."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from benchmarks._processes import BenchmarkError
from benchmarks._sizing_stage import NAMESPACE, WIDTH
from postgres_operator import instances, names
from postgres_operator.api import Postgres
from postgres_operator.ensure import intent_checksum as intent_of
from pyoperator.apiserver.storage import Change, SQLitePersistence, StoredObject
from pyoperator.client import ApiError, Client, MergePatch, NotFound
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.schema import crd_manifest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_PER_NAMESPACE = 50
_STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")


async def define(client: Client) -> None:
    await client.create(Unstructured(crd_manifest(Postgres)))
    async with asyncio.timeout(120):
        while True:
            with suppress(ApiError):
                await client.list(Postgres, namespace=NAMESPACE, limit=1)
                return
            await asyncio.sleep(0.1)


async def fill(client: Client, n: int) -> None:
    """Create ``n`` objects of one instance each, fifty to a namespace."""
    for number in range(math.ceil(n / _PER_NAMESPACE)):
        manifest: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"tenant-{number:03}"},
        }
        await client.create(Unstructured(manifest))

    async def one(number: int) -> None:
        manifest: dict[str, Any] = {
            "apiVersion": "database.example.com/v1",
            "kind": "Postgres",
            "metadata": _key(number)._asdict(),
            "spec": {"version": "16", "storage": {"size": "1Gi"}, "users": [{"name": "app"}]},
        }
        await client.create(Unstructured(manifest))

    await _spread(n, one)


async def stand_in(client: Client, n: int) -> None:
    """Do what runs an instance would do, as far as the operator sees it: a claim, and a StatefulSet that says ready."""

    async def one(number: int) -> None:
        key = _key(number)
        stateful_set = await _made(client, key)
        template = stateful_set["spec"]["volumeClaimTemplates"][0]
        labels = {**template["metadata"].get("labels", {}), **stateful_set["spec"]["selector"]["matchLabels"]}
        name = f"{template['metadata']['name']}-{key.name}-0"
        metadata = {"name": name, "namespace": key.namespace, "labels": labels}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
        await client.create(Unstructured(claim))
        counts = dict.fromkeys(
            ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas", "currentReplicas"), 1
        )
        status = {"observedGeneration": stateful_set.metadata["generation"], **counts}
        await client.status.patch(_STATEFUL_SET, key, MergePatch({"status": status}))

    await _spread(n, one)


async def _made(client: Client, key: ObjectKey) -> Unstructured:
    async with asyncio.timeout(120):
        while True:
            with suppress(NotFound):
                return await client.get(_STATEFUL_SET, key)
            await asyncio.sleep(0.1)


def _key(number: int) -> ObjectKey:
    return ObjectKey(f"tenant-{number // _PER_NAMESPACE:03}", f"database-{number:05}")


async def _spread(n: int, one: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(n))

    async def work() -> None:
        for number in numbers:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(work())


async def until_ready(client: Client, n: int, patience: float) -> None:
    """Wait until all are ready; raises BenchmarkError after ``patience`` seconds.

    That server and operator are quiet tells too little: on a loaded machine those who wait for the CPU look so too.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while (ready := await _count_ready(client)) != n:
        if loop.time() > deadline:
            raise BenchmarkError(f"only {ready} of {n} databases were ready after {patience:.0f} s")
        await asyncio.sleep(0.2 if n < _PER_NAMESPACE else 5.0)


async def _count_ready(client: Client) -> int:
    ready, token = 0, ""
    while True:
        page = await client.list(Postgres, limit=500, continue_=token)
        for item in page.items:
            conditions = item.status.conditions if item.status else []
            ready += any(one.type == "Ready" and one.status == "True" for one in conditions)
        token = page.continue_
        if not token:
            return ready


def copy_fleet(folder: Path, n: int) -> None:
    """Make databases 1 to ``n - 1`` like database 0, with children and status; ``folder`` is nobody's meanwhile.

    Each in a namespace of its own, under the same name: what the operator makes then differs in its namespace only.
    Written straight into the data directory: the embedded server looks at all Services to give each its address.
    """
    first = _key(0)
    persistence = SQLitePersistence(folder)
    try:
        revision, stored = persistence.load()
        every = list(stored)
        sources = [
            one
            for one in every
            if one.namespace == first.namespace and one.name.find(first.name) >= 0 and one.gvk.kind != "Event"
        ]
        if len(sources) != 9:  # the Postgres, the seven that the operator makes, and the claim of the volume
            raise BenchmarkError(f"a finished database has 9 objects, this one {[one.name for one in sources]}")
        space = next(one for one in every if one.gvk.kind == "Namespace" and one.name == first.namespace)
        for number in range(1, n):
            key = ObjectKey(f"copy-{number:05}", first.name)
            for source in (space, *sources):
                revision += 1
                persistence.write(Change("ADDED", revision, None, _copied(source, sources, key, number, revision)))
    finally:
        persistence.close()


def _copied(
    source: StoredObject, family: list[StoredObject], key: ObjectKey, number: int, revision: int
) -> StoredObject:
    first = _key(0)

    def renamed(text: str) -> str:
        return text.replace(first.namespace, key.namespace)

    text = renamed(source.data.decode())
    if source.gvk == _STATEFUL_SET:
        text = text.replace(_intent(source, family, first.namespace), _intent(source, family, key.namespace))
    for one in (source, *family):
        text = text.replace(one.uid, _uid(one.uid, number))
    text = text.replace(f'"resourceVersion":"{source.revision}"', f'"resourceVersion":"{revision}"')
    return StoredObject(
        resource=source.resource,
        gvk=source.gvk,
        namespace=renamed(source.namespace),
        name=renamed(source.name),
        uid=_uid(source.uid, number),
        revision=revision,
        data=text.encode(),
        labels={name: renamed(value) for name, value in source.labels.items()},
        fields={name: renamed(value) for name, value in source.fields.items()},
    )


def _intent(stateful_set: StoredObject, family: list[StoredObject], namespace: str) -> str:
    """Return the operator's checksum of a StatefulSet, whose template names its namespace."""
    (source,) = (one for one in family if one.gvk.kind == "Postgres")
    postgres = Postgres.model_validate_json(source.data)
    postgres.metadata.namespace = namespace
    template = json.loads(stateful_set.data)["spec"]["template"]
    checksum = template["metadata"]["annotations"][names.CONFIG_ANNOTATION]
    fixed = ("volumeClaimTemplates", "serviceName", "selector", "podManagementPolicy")
    return intent_of(instances.build(postgres, config_checksum=checksum), fixed)


def _uid(uid: str, number: int) -> str:
    return f"{uid[:-5]}{number:05}"
