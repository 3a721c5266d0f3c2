"""What the operator promises, on virtual time against the embedded server with simulated workloads."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from postgres_operator import names
from postgres_operator.api import DatabaseSpec, Postgres, PostgresSpec, ServiceSpec, StorageSpec, UserSpec
from pyoperator.client import Invalid, MergePatch, NotFound
from pyoperator.objects import ObjectKey, ObjectMeta, Quantity, metadata_of
from tests.examples.operator_world import EVENT, NAMESPACE, World, world
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def postgres(name: str = "orders", **spec: Any) -> Postgres:
    wanted = {"version": "17", "storage": StorageSpec(size=Quantity("10Gi")), **spec}
    return Postgres(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=PostgresSpec(**wanted))


def in_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world() as it:
            await body(it)

    run_virtual(main)


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


def test_becomes_ready_and_says_so() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=3))
        await it.settle()
        database = await it.get("orders")
        assert database.status is not None
        assert database.status.observed_generation == database.metadata.generation
        assert database.status.ready_instances == 3
        assert database.status.endpoint == "orders-rw.default.svc:5432"
        assert database.status.version == "17"
        assert await it.condition("orders", "Ready") == ("True", "InstancesReady")
        assert await it.condition("orders", "Progressing") == ("False", "Settled")
        assert await it.condition("orders", "Degraded") == ("False", "AsExpected")
        reasons = {event["reason"] for event in (await it.client.list(EVENT, namespace=NAMESPACE)).items}
        assert {"Provisioning", "InstancesReady"} <= reasons

    in_world(body)


def test_owns_exactly_what_it_needs() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres())
        await it.settle()
        owner = await it.get("orders")
        expected = {
            names.SECRET: ["orders-credentials"],
            names.CONFIG_MAP: ["orders-config"],
            names.SERVICE: ["orders-pods", "orders-ro", "orders-rw"],
            names.STATEFUL_SET: ["orders"],
            names.DISRUPTION_BUDGET: ["orders"],
        }
        for kind, wanted in expected.items():
            found = await it.client.list(kind, namespace=NAMESPACE, label_selector=names.MANAGED_SELECTOR)
            assert sorted(child.name for child in found.items) == wanted
            for child in found.items:
                controller = metadata_of(child).controller
                assert controller is not None
                assert controller.uid == owner.metadata.uid

    in_world(body)


def test_a_settled_database_is_never_written() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=2, parameters={"max_connections": "50"}))
        await it.settle()
        place = it.now
        # A new replica reconciles everything from scratch, and finds nothing to do.
        again = it.manager()
        import asyncio

        running = asyncio.create_task(again.start())
        await it.settle(60)
        again.stop()
        await running
        assert it.writes(place) == []

    in_world(body)


@pytest.mark.parametrize(
    ("kind", "child"),
    [
        (names.CONFIG_MAP, "orders-config"),
        (names.SERVICE, "orders-rw"),
        (names.SERVICE, "orders-ro"),
        (names.SERVICE, "orders-pods"),
        (names.DISRUPTION_BUDGET, "orders"),
        (names.STATEFUL_SET, "orders"),
    ],
)
def test_deleted_children_come_back(kind: Any, child: str) -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres())
        await it.settle()
        before = (await it.client.get(kind, key(child))).metadata["uid"]
        await it.client.delete(kind, key(child))
        await it.settle()
        assert (await it.client.get(kind, key(child))).metadata["uid"] != before
        assert await it.condition("orders", "Ready") == ("True", "InstancesReady")

    in_world(body)


def test_edits_by_hand_are_undone() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres())
        await it.settle()
        edits: list[tuple[Any, str, dict[str, Any]]] = [
            (names.CONFIG_MAP, "orders-config", {"data": {"postgresql.conf": "fsync = off", "extra": "x"}}),
            (names.SERVICE, "orders-rw", {"spec": {"selector": {"app": "other"}}}),
            (names.STATEFUL_SET, "orders", {"spec": {"replicas": 5}}),
            (names.DISRUPTION_BUDGET, "orders", {"spec": {"maxUnavailable": 3}}),
            (names.SERVICE, "orders-ro", {"metadata": {"labels": {names.MANAGED_BY: None}}}),
        ]
        for kind, child, edit in edits:
            before = await it.client.get(kind, key(child))
            await it.client.patch(kind, key(child), MergePatch(edit))
            await it.settle()
            after = await it.client.get(kind, key(child))
            assert after.get("spec") == before.get("spec"), child
            assert after.get("data") == before.get("data"), child
            assert after.metadata["labels"] == before.metadata["labels"], child

    in_world(body)


def test_passwords_are_made_once() -> None:
    async def body(it: World) -> None:
        users, databases = [UserSpec(name="app")], [DatabaseSpec(name="orders", owner="app")]
        await it.client.create(postgres(users=users, databases=databases))
        await it.settle()
        secret = await it.client.get(names.SECRET, key("orders-credentials"))
        script = base64.b64decode(secret["data"]["init.sql"]).decode()
        assert 'CREATE DATABASE "orders" OWNER "app";' in script
        assert base64.b64decode(secret["data"]["user-app-password"]).decode() in script
        # Without our label the cache can't see it; it is found, labelled again, and its contents are the same.
        await it.client.patch(names.SECRET, secret.key, MergePatch({"metadata": {"labels": {names.MANAGED_BY: None}}}))
        await it.settle()
        again = await it.client.get(names.SECRET, key("orders-credentials"))
        assert again["data"] == secret["data"]
        assert again.metadata["labels"] == secret.metadata["labels"]
        # Gone for good: new passwords would not fit the volumes.
        await it.client.delete(names.SECRET, secret.key)
        await it.settle()
        assert await it.condition("orders", "Degraded") == ("True", "CredentialsLost")
        with pytest.raises(NotFound):
            await it.client.get(names.SECRET, secret.key)
        # Restored from a backup.
        for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "ownerReferences"):
            secret.metadata.pop(field, None)
        secret.metadata["labels"][names.RETAINED_LABEL] = "true"
        await it.client.create(secret)
        await it.settle()
        assert await it.condition("orders", "Degraded") == ("False", "AsExpected")

    in_world(body)


def test_a_parameter_rolls_the_instances() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=2))
        await it.settle()
        first = await it.client.get(names.STATEFUL_SET, key("orders"))
        await it.change("orders", lambda database: setattr(database.spec, "parameters", {"work_mem": "8MB"}))
        await it.settle()
        second = await it.client.get(names.STATEFUL_SET, key("orders"))
        assert first["status"]["updateRevision"] != second["status"]["updateRevision"]
        assert second["status"]["updatedReplicas"] == 2
        config = await it.client.get(names.CONFIG_MAP, key("orders-config"))
        assert "work_mem = '8MB'\n" in config["data"]["postgresql.conf"]
        await it.change("orders", lambda database: setattr(database.spec, "parameters", {}))
        await it.settle()
        config = await it.client.get(names.CONFIG_MAP, key("orders-config"))
        assert "work_mem" not in config["data"]["postgresql.conf"]
        assert await it.condition("orders", "Ready") == ("True", "InstancesReady")

    in_world(body)


def test_scales_and_changes_the_service() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=1))
        await it.settle()
        address = (await it.client.get(names.SERVICE, key("orders-rw")))["spec"]["clusterIP"]

        def change(database: Postgres) -> None:
            database.spec.instances = 3
            database.spec.service = ServiceSpec(type="LoadBalancer")

        await it.change("orders", change)
        await it.settle()
        database = await it.get("orders")
        assert database.status is not None
        assert database.status.ready_instances == 3
        service = await it.client.get(names.SERVICE, key("orders-rw"))
        assert service["spec"]["type"] == "LoadBalancer"
        assert service["spec"]["clusterIP"] == address

    in_world(body)


def test_volumes_grow_and_never_shrink() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=2))
        await it.settle()

        def size(wanted: str) -> Callable[[Postgres], None]:
            return lambda database: setattr(database.spec, "storage", StorageSpec(size=Quantity(wanted)))

        await it.change("orders", size("20Gi"))
        await it.settle()
        for ordinal in range(2):
            claim = await it.client.get(names.CLAIM, key(f"data-orders-{ordinal}"))
            assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
            assert claim["status"]["capacity"]["storage"] == "20Gi"
        await it.change("orders", size("5Gi"))
        await it.settle()
        assert await it.condition("orders", "StorageAccepted") == ("False", "ShrinkRefused")
        assert await it.condition("orders", "Ready") == ("True", "InstancesReady")
        claim = await it.client.get(names.CLAIM, key("data-orders-0"))
        assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
        await it.change("orders", size("20480Mi"))
        await it.settle()
        assert await it.condition("orders", "StorageAccepted") == ("True", "Accepted")

    in_world(body)


def test_a_major_change_is_refused_and_the_rest_goes_on() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(version="16"))
        await it.settle()

        def change(database: Postgres) -> None:
            database.spec.version = "17"
            database.spec.instances = 2

        await it.change("orders", change)
        await it.settle()
        assert await it.condition("orders", "VersionAccepted") == ("False", "MajorChangeRefused")
        assert await it.condition("orders", "Degraded") == ("True", "MajorChangeRefused")
        stateful_set = await it.client.get(names.STATEFUL_SET, key("orders"))
        assert stateful_set["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":16")
        assert stateful_set["spec"]["replicas"] == 2
        database = await it.get("orders")
        assert database.status is not None
        assert database.status.version == "16"

    in_world(body)


def test_users_are_applied_at_init_only() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(users=[UserSpec(name="app")]))
        await it.settle()
        assert await it.condition("orders", "UsersApplied") == ("True", "Applied")
        await it.change(
            "orders", lambda database: setattr(database.spec, "users", [UserSpec(name="app"), UserSpec(name="late")])
        )
        await it.settle()
        assert await it.condition("orders", "UsersApplied") == ("False", "InitOnly")
        secret = await it.client.get(names.SECRET, key("orders-credentials"))
        assert "user-late-password" not in secret["data"]

    in_world(body)


@pytest.mark.parametrize(
    ("name", "spec", "condition", "reason"),
    [
        ("1st", {}, "Ready", "InvalidName"),
        ("x" * 53, {}, "Ready", "InvalidName"),
        ("a", {"databases": [DatabaseSpec(name="d", owner="ghost")]}, "Ready", "InvalidUsers"),
        ("a", {"users": [UserSpec(name="replicator")]}, "Ready", "InvalidUsers"),
        ("a", {"parameters": {"listen_addresses": "*"}}, "ParametersAccepted", "ParametersRefused"),
        ("a", {"parameters": {"work_mem": "1\n2"}}, "ParametersAccepted", "ParametersRefused"),
    ],
)
def test_what_only_the_operator_can_see_becomes_a_condition(
    name: str, spec: dict[str, Any], condition: str, reason: str
) -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(name, **spec))
        await it.settle()
        assert await it.condition(name, condition) == ("False", reason)
        assert (await it.condition(name, "Degraded"))[0] == "True"

    in_world(body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instances": 0}, "spec.instances"),
        ({"instances": "three"}, "spec.instances"),
        ({"version": "9.6"}, "spec.version"),
        ({"storage": {"size": None}}, "spec.storage.size"),
        ({"users": [{"name": "Robert'); DROP TABLE"}]}, "spec.users"),
    ],
)
def test_the_schema_refuses_what_makes_no_sense(change: dict[str, Any], message: str) -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres("good"))
        with pytest.raises(Invalid, match=message.replace(".", r"\.")):
            await it.client.patch(
                Postgres,
                key("good"),
                MergePatch({"spec": change}),
            )

    in_world(body)


def test_other_peoples_objects_are_left_alone() -> None:
    async def body(it: World) -> None:
        from pyoperator.objects import Unstructured

        await it.client.create(Unstructured.new(names.CONFIG_MAP, "orders-config", NAMESPACE, data={"theirs": "yes"}))
        await it.client.create(postgres())
        await it.settle()
        assert await it.condition("orders", "Ready") == ("False", "NameTaken")
        theirs = await it.client.get(names.CONFIG_MAP, key("orders-config"))
        assert theirs["data"] == {"theirs": "yes"}
        await it.client.delete(names.CONFIG_MAP, theirs.key)
        await it.settle(1200)  # nobody tells us of what was never ours: the next look is a backoff or a resync away
        await it.change("orders", lambda database: setattr(database.spec, "instances", 2))
        await it.settle()
        assert await it.condition("orders", "Ready") == ("True", "InstancesReady")

    in_world(body)


def test_deletion_takes_everything() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=2))
        await it.settle()
        await it.client.delete(Postgres, key("orders"))
        await it.settle(120)
        for kind in names.CHILDREN:
            assert (await it.client.list(kind, namespace=NAMESPACE, label_selector=names.MANAGED_SELECTOR)).items == []
        with pytest.raises(NotFound):
            await it.get("orders")

    in_world(body)


def test_retain_keeps_volumes_and_credentials_for_a_successor() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(instances=2, deletion_policy="Retain"))
        await it.settle()
        secret = await it.client.get(names.SECRET, key("orders-credentials"))
        await it.client.delete(Postgres, key("orders"))
        await it.settle(120)
        kept = await it.client.get(names.SECRET, secret.key)
        assert kept["data"] == secret["data"]
        assert metadata_of(kept).owner_references == ()
        assert metadata_of(kept).labels[names.RETAINED_LABEL] == "true"
        claims = await it.client.list(names.CLAIM, namespace=NAMESPACE, label_selector=names.MANAGED_SELECTOR)
        assert [claim.metadata["labels"][names.RETAINED_LABEL] for claim in claims.items] == ["true", "true"]
        with pytest.raises(NotFound):
            await it.client.get(names.STATEFUL_SET, key("orders"))
        # A successor of another major version must not start on these volumes; of the same it takes them over.
        await it.client.create(postgres(instances=2, version="18"))
        await it.settle()
        assert await it.condition("orders", "VersionAccepted") == ("False", "MajorChangeRefused")
        assert await it.condition("orders", "Ready") == ("True", "InstancesReady")
        adopted = await it.client.get(names.SECRET, secret.key)
        assert adopted["data"] == secret["data"]
        assert metadata_of(adopted).controller is not None
        assert names.RETAINED_LABEL not in metadata_of(adopted).labels

    in_world(body)


def test_secrets_contents_are_nowhere_else() -> None:
    async def body(it: World) -> None:
        await it.client.create(postgres(users=[UserSpec(name="app")]))
        await it.settle()
        secret = await it.client.get(names.SECRET, key("orders-credentials"))
        values = list(secret["data"].values())
        values += [base64.b64decode(value).decode() for value in secret["data"].values()]
        elsewhere = repr(secret) + repr(await it.get("orders"))
        for kind in (EVENT, names.CONFIG_MAP, names.STATEFUL_SET):
            elsewhere += "".join(str(dict(item)) for item in (await it.client.list(kind, namespace=NAMESPACE)).items)
        elsewhere += "".join(line.decode() for line in it.audit.lines)
        assert not [value for value in values if value in elsewhere]

    in_world(body)
