"""The operator, as its service account, with the roles of ``config/rbac``, on a real server."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import MergePatch
from pyoperator.objects import GroupVersionKind, ObjectKey
from pyoperator.testing._audit_lines import read_audit
from tests.deploy.manifests import Grant, enforcing_roles, grants, roles, used, without
from tests.deploy.scenario import LEASE_KEY, play
from tests.real.replicas import Replica
from tests.real.server import (
    AUDIT_LOG,
    MANAGER,
    SYSTEM,
    administrator,
    denied,
    fresh_namespace,
    install,
    kubectl,
    needs_real_server,
    stand_in,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from pyoperator.client import Client

pytestmark = [pytest.mark.real_server, needs_real_server]
USER = f"system:serviceaccount:{SYSTEM}:{MANAGER}"
_RBAC = "rbac.authorization.k8s.io"
ENFORCED = [Grant("", "secrets", "delete"), Grant("database.example.com", "postgreses/finalizers", "update")]


class RealStage:
    """A stage of the scenario (see ``scenario.Stage``): processes, and a real server."""

    hand_overs = 1

    def __init__(self, client: Client, namespace: str, folder: Path, *, complete: bool) -> None:
        self.client = client
        self.namespace = namespace
        self._patience = 60.0 if complete else 12.0
        self._folder = folder
        self._replicas: dict[str, Replica] = {}

    async def start(self, name: str) -> None:
        self._replicas[name] = replica = Replica(name, MANAGER, self._folder)
        await replica.start(self.namespace)

    async def stop(self, name: str) -> None:
        assert await self._replicas.pop(name).terminate() == 0

    async def until(self, what: str, condition: Callable[[], Awaitable[object]], within: float = 20.0) -> None:
        # The processes' own time is real here, and the machine may be busy; "at once" is still less than a retry.
        await until(what, condition, max(within, 1.5) if within < 20 else self._patience)

    async def quiet(self) -> None:
        """Go on: time is dear here."""

    async def close(self) -> None:
        for replica in self._replicas.values():
            await replica.kill()


@asynccontextmanager
async def stage(folder: Path, removed: Grant | None, *, enforcing: bool = False) -> AsyncIterator[RealStage]:
    """Install config/, with one permission less, and a stand-in for the pods; no Lease is left from others.

    ``enforcing``: for a server that enforces permissions on owner references. The test is skipped on others.
    """
    async with administrator() as client:
        await install(client)
        await _set_roles(client, None)
        if await _is_enforcing() != enforcing:
            pytest.skip(
                f"MISSING TOOL: a server {'with' if enforcing else 'without'} OwnerReferencesPermissionEnforcement"
            )
        await _set_roles(client, removed, enforcing=enforcing)
        await client.delete_all_of(GroupVersionKind("coordination.k8s.io", "v1", "Lease"), namespace=SYSTEM)
        namespace = await fresh_namespace(client, "least")
        it = RealStage(client, namespace, folder, complete=removed is None)
        try:
            async with stand_in(client, namespace):
                yield it
        finally:
            await it.close()
            await _clean(client, namespace)
            await _set_roles(client, None)


async def _set_roles(client: Client, removed: Grant | None, *, enforcing: bool = False) -> None:
    for role in without(removed, enforcing_roles() if enforcing else roles()):
        name = f"postgres-operator-{role['metadata']['name']}"
        kind = GroupVersionKind(_RBAC, "v1", role["kind"])
        key = ObjectKey(role["metadata"].get("namespace", ""), name)
        await client.patch(kind, key, MergePatch({"rules": role["rules"]}))
    if removed is not None:
        named = {"namespace": SYSTEM, "name": LEASE_KEY.name} if removed.named else {}

        async def is_denied() -> bool:
            return await denied(client, USER, removed.group, removed.resource, removed.verb, **named)

        await until(f"the server denies to {removed}", is_denied)


async def _clean(client: Client, namespace: str) -> None:
    # Nobody removes finalizers once the operator has stopped, nor collects what a namespace holds.
    postgreses = GroupVersionKind("database.example.com", "v1", "Postgres")
    for database in (await client.list(postgreses, namespace=namespace)).items:
        await client.patch(postgreses, database.key, MergePatch({"metadata": {"finalizers": None}}))
        if not database.metadata.get("deletionTimestamp"):
            await client.delete(postgreses, database.key)


async def test_what_is_granted_is_what_is_used(tmp_path: Path) -> None:
    seen_before = AUDIT_LOG.stat().st_size
    async with stage(tmp_path, None) as it:
        await play(it)
    with AUDIT_LOG.open("rb") as log:
        log.seek(seen_before)
        recent = tmp_path / "audit.log"
        recent.write_bytes(log.read())
    granted, seen = set(grants(roles())), used(read_audit(recent), USER, streamed_is_listed=True)
    assert {str(grant) for grant in granted - seen} == set(), "granted, but never used"
    assert {str(grant) for grant in seen - granted} == set(), "used, but not granted"


@pytest.mark.parametrize(
    "removed",
    [
        Grant("", "secrets", "create"),
        Grant("database.example.com", "postgreses/status", "patch"),
        Grant("coordination.k8s.io", "leases", "update", named=True),
        Grant("", "configmaps", "watch"),
        Grant("", "persistentvolumeclaims", "patch"),
    ],
    ids=str,
)
async def test_without_any_one_permission_something_breaks(tmp_path: Path, removed: Grant) -> None:
    assert removed in set(grants(roles()))
    async with stage(tmp_path, removed) as it:
        with pytest.raises(AssertionError, match="not so within"):
            await play(it)


@pytest.mark.parametrize("removed", [None, *ENFORCED], ids=str)
async def test_where_owner_references_are_enforced_the_option_is_needed_in_full(
    tmp_path: Path, removed: Grant | None
) -> None:
    assert set(grants(enforcing_roles())) - set(grants(roles())) == set(ENFORCED)
    async with stage(tmp_path, removed, enforcing=True) as it:
        if removed is None:
            await play(it)
        else:
            with pytest.raises(AssertionError, match="not so within"):
                await play(it)


async def _is_enforcing() -> bool:
    """Ask as the operator: may it make a child that blocks the deletion of its owner, without the option?"""
    owner = {
        "apiVersion": "database.example.com/v1",
        "kind": "Postgres",
        "name": "none",
        "uid": "0",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "probe", "namespace": "default", "ownerReferences": [owner]},
    }
    arguments = ("create", "--dry-run=server", f"--as={USER}", "--filename=-")
    return "blockOwnerDeletion" in await kubectl(*arguments, stdin=json.dumps(child), check=False)
