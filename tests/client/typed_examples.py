"""What a type checker makes of each verb: nothing here runs, mypy and pyright read it.

A wrong type is an error at its ``assert_type``, and so is one that has become Any.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, assert_type

from pyoperator.client import (
    Client,
    DryRunClient,
    FieldOwnerClient,
    FieldValidationClient,
    MergePatch,
    NamespacedClient,
    ObjectList,
    ObjectStream,
    OperationResult,
    Scale,
    ServiceAccountToken,
    Watch,
)
from pyoperator.objects import CustomResource, GroupVersionKind, Model, ObjectKey, Unstructured

if TYPE_CHECKING:
    from pyoperator.cache import CachedClient
    from pyoperator.manager import Manager

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
KEY = ObjectKey("shop", "db")
PATCH = MergePatch({"spec": {"replicas": 3}})


class PostgresSpec(Model):
    replicas: int = 1


class PostgresStatus(Model):
    ready: int = 0


class Postgres(CustomResource, group="example.com", version="v1"):
    spec: PostgresSpec
    status: PostgresStatus | None = None


def scale(postgres: Postgres) -> None:
    postgres.spec.replicas = 3


def touch(obj: Unstructured) -> None:
    obj["data"] = {}


async def reads(client: Client) -> None:
    assert_type(await client.get(Postgres, KEY), Postgres)
    assert_type(await client.get(CONFIG_MAP, "shop/settings", timeout=5), Unstructured)
    assert_type(await client.get(Postgres, KEY, subresource="status"), Postgres)
    assert_type(await client.list(Postgres, namespace="shop", label_selector={"app": "db"}), ObjectList[Postgres])
    assert_type(await client.list(CONFIG_MAP, limit=10), ObjectList[Unstructured])
    for listed in await client.list(Postgres):
        assert_type(listed, Postgres)
    assert_type(client.pages(Postgres, page_size=100), AsyncGenerator[ObjectList[Postgres], None])
    async for page in client.pages(CONFIG_MAP):
        assert_type(page, ObjectList[Unstructured])
    assert_type(client.stream(Postgres), ObjectStream[Postgres])
    async for streamed in client.stream(CONFIG_MAP, namespace="shop"):
        assert_type(streamed, Unstructured)
    assert_type(client.watch(Postgres, resource_version="7"), Watch[Postgres])
    async for event in client.watch(CONFIG_MAP):
        assert_type(event.object, Unstructured)


async def writes(client: Client, postgres: Postgres, settings: Unstructured) -> None:
    assert_type(await client.create(postgres, dry_run=True), Postgres)
    assert_type(await client.create(settings, namespace="shop"), Unstructured)
    assert_type(await client.update(postgres), Postgres)
    assert_type(await client.patch(Postgres, KEY, PATCH), Postgres)
    assert_type(await client.patch(CONFIG_MAP, KEY, PATCH), Unstructured)
    assert_type(await client.patch(postgres, None, PATCH, field_manager="me"), Postgres)
    assert_type(await client.apply(postgres, force=True), Postgres)
    assert_type(await client.patch_from(postgres, postgres), Postgres)
    assert_type(await client.patch_status_from(postgres, postgres), Postgres)
    assert_type(await client.patch_status(postgres, scale), Postgres)
    assert_type(await client.patch_status(Postgres, KEY, scale), Postgres)
    assert_type(await client.patch_status(CONFIG_MAP, KEY, touch), Unstructured)
    assert_type(await client.create_or_update(postgres, scale), tuple[Postgres, OperationResult])
    assert_type(await client.create_or_patch(postgres, scale), tuple[Postgres, OperationResult])
    assert_type(await client.create_or_patch(Postgres, KEY, scale), tuple[Postgres, OperationResult])
    assert_type(await client.create_or_patch(CONFIG_MAP, KEY, touch), tuple[Unstructured, OperationResult])
    await client.delete(postgres, propagation_policy="Foreground")
    await client.delete(Postgres, KEY, uid="u")
    await client.delete_all_of(Postgres, namespace="shop", label_selector="app=db")


async def subresources(client: Client, postgres: Postgres) -> None:
    assert_type(await client.status.get(Postgres, KEY), Postgres)
    assert_type(await client.status.update(postgres), Postgres)
    assert_type(await client.status.patch(Postgres, KEY, PATCH), Postgres)
    assert_type(await client.status.patch(postgres, None, PATCH), Postgres)
    assert_type(await client.status.patch_from(postgres, postgres), Postgres)
    assert_type(await client.status.apply(postgres), Postgres)
    assert_type(await client.subresource("ephemeralcontainers").get(CONFIG_MAP, KEY), Unstructured)
    assert_type(await client.subresource("binding").create(CONFIG_MAP, KEY, {}), dict[str, Any])
    assert_type(await client.scale.replicas(Postgres, KEY), Scale)
    assert_type(await client.scale.set_replicas(Postgres, KEY, 3), Scale)
    assert_type(await client.pods.service_account_token("shop/default"), ServiceAccountToken)


async def wrappers(inner: Client, postgres: Postgres) -> None:
    """All of them keep the types of what they wrap."""
    client = DryRunClient(FieldOwnerClient(FieldValidationClient(NamespacedClient(inner, "shop"), "Strict"), "me"))
    assert_type(await client.get(Postgres, KEY), Postgres)
    assert_type(await client.get(CONFIG_MAP, KEY), Unstructured)
    assert_type(await client.list(Postgres, namespace="shop"), ObjectList[Postgres])
    assert_type(client.pages(Postgres), AsyncGenerator[ObjectList[Postgres], None])
    assert_type(client.stream(Postgres), ObjectStream[Postgres])
    assert_type(client.watch(CONFIG_MAP), Watch[Unstructured])
    assert_type(await client.create(postgres), Postgres)
    assert_type(await client.update(postgres), Postgres)
    assert_type(await client.patch(Postgres, KEY, PATCH), Postgres)
    assert_type(await client.patch(postgres, None, PATCH), Postgres)
    assert_type(await client.apply(postgres), Postgres)
    assert_type(await client.create_or_patch(Postgres, KEY, scale), tuple[Postgres, OperationResult])
    assert_type(await client.status.update(postgres), Postgres)
    confined = NamespacedClient(inner, "shop")
    assert_type(await confined.create(postgres), Postgres)
    assert_type(await confined.update(postgres), Postgres)


async def cached(client: CachedClient, manager: Manager) -> None:
    assert_type(await client.get(Postgres, KEY), Postgres)
    assert_type(await client.get(CONFIG_MAP, KEY), Unstructured)
    assert_type(await client.list(Postgres, namespace="shop"), ObjectList[Postgres])
    assert_type(await client.list(Postgres, index=("spec.image", "postgres:17")), ObjectList[Postgres])
    assert_type(await client.list(CONFIG_MAP, index={"team": "a"}), ObjectList[Unstructured])
    assert_type(client.watch(Postgres), Watch[Postgres])
    assert_type(await client.patch(Postgres, KEY, PATCH), Postgres)
    assert_type(await manager.client.get(Postgres, KEY), Postgres)
    assert_type(await manager.api_reader.list(Postgres), ObjectList[Postgres])


async def mistakes(client: Client, wrapped: DryRunClient, postgres: Postgres) -> None:
    """Each of these must be an error: mypy's ``unused-ignore`` fails if one is none."""
    await client.list(Postgres, lable_selector="a=b")  # type: ignore[call-overload]
    await wrapped.list(Postgres, lable_selector="a=b")  # type: ignore[call-overload]
    await client.create(postgres, dryrun=True)  # type: ignore[call-arg]
    await wrapped.create(postgres, dryrun=True)  # type: ignore[call-arg]
    await client.delete(postgres, propagation_policy="foreground")  # type: ignore[arg-type]
    await client.create_or_patch(Postgres, KEY, touch)  # type: ignore[arg-type]
