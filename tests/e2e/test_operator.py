"""The operator as a process: what it makes, repairs, leaves alone, refuses, and survives."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from pyoperator.client import MergePatch, NotFound
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.testing._audit_lines import read_audit, writes_in
from pyoperator.testing.lab import Lab, LabError, Project, Scale
from pyoperator.testing.lab._verdict import final_state, verdict_of
from tests.e2e.support import PROJECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pyoperator.testing.lab import Replica, Snapshot

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
]

POSTGRES = GroupVersionKind("database.example.com", "v1", "Postgres")
SECRET = GroupVersionKind("", "v1", "Secret")
SERVICE = GroupVersionKind("", "v1", "Service")
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
CLAIM = GroupVersionKind("", "v1", "PersistentVolumeClaim")
CRD = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
SHORT = Scale(replicas=1, lease_duration=3.0, renew_deadline=2.0, retry_period=0.5)
WITHIN = 90.0


@asynccontextmanager
async def running(scale: Scale = SHORT) -> AsyncIterator[Lab]:
    async with Lab(Project.read(PROJECT), scale) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    """One replica with the samples Ready."""
    async with running() as started:
        await started.start_replicas()
        assert await started.until(all_settled, WITHIN)
        yield started


def all_settled(snapshot: Snapshot) -> bool:
    return snapshot.settled == len(snapshot.objects) > 0


def condition_is(name: str, type_: str, status: str) -> Callable[[Snapshot], bool]:
    def reached(snapshot: Snapshot) -> bool:
        return any(
            (entry.type, entry.status) == (type_, status)
            for view in snapshot.objects
            if view.name == name and view.observed_generation == view.generation
            for entry in view.conditions
        )

    return reached


async def eventually(what: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so: for what no watch of the lab tells."""
    async with asyncio.timeout(WITHIN):
        while not await what():  # noqa: ASYNC110  # what is asked for has no event to wait for
            await asyncio.sleep(0.05)


async def exists(lab: Lab, kind: GroupVersionKind, key: str) -> bool:
    try:
        await lab.client.get(kind, key)
    except NotFound:
        return False
    return True


def postgres(name: str, **spec: Any) -> Unstructured:
    return Unstructured.new(POSTGRES, name, "default", spec={"version": "17", "storage": {"size": "1Gi"}, **spec})


async def reconciles(replica: Replica) -> int:
    """Return how many reconciles a replica has done, by its own count."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{replica.metrics.address}/metrics") as response,
        ):
            text = await response.text()
    except aiohttp.ClientError:
        return 0
    counts = re.findall(r'^controller_runtime_reconcile_total\{.*result="success".*\} (\S+)$', text, re.MULTILINE)
    return int(sum(float(count) for count in counts))


def writes_of(lab: Lab, user: str) -> list[str]:
    """Return what a user wrote: not its Lease, its events, or its questions what it may do."""
    writes = writes_in(read_audit(lab.folder.audit_log))
    return [str(write) for write in writes if write.user == user and not write.exempt]


async def test_a_second_reconcile_writes_nothing(lab: Lab) -> None:
    first = lab.replicas[0]
    first.kill()
    await first.process.wait()
    assert await lab.until(lambda snapshot: snapshot.leader is not None, WITHIN)
    second = lab.replicas[0]
    assert second is not first
    count = len(lab.snapshot().objects)

    async def all_seen() -> bool:
        return await reconciles(second) >= count

    await eventually(all_seen)
    assert writes_of(lab, first.name)
    assert writes_of(lab, second.name) == []


async def test_what_is_deleted_or_edited_by_hand_is_repaired(lab: Lab) -> None:
    service, config = ObjectKey("default", "orders-rw"), ObjectKey("default", "orders-config")
    before = await lab.client.get(SERVICE, service)
    wanted = await lab.client.get(CONFIG_MAP, config)
    await lab.client.delete(SERVICE, service)
    await lab.client.patch(CONFIG_MAP, config, MergePatch({"data": dict.fromkeys(wanted["data"], "edited")}))

    async def is_repaired() -> bool:
        if not await exists(lab, SERVICE, "default/orders-rw"):
            return False
        again = await lab.client.get(SERVICE, service)
        restored = await lab.client.get(CONFIG_MAP, config)
        return bool(again.metadata["uid"] != before.metadata["uid"] and restored["data"] == wanted["data"])

    await eventually(is_repaired)


async def test_credentials_are_made_once_and_shown_nowhere(lab: Lab) -> None:
    secret = await lab.client.get(SECRET, "default/orders-credentials")
    values = [base64.b64decode(value).decode() for value in secret["data"].values()]
    passwords = [value for value in values if len(value) >= 16]
    assert passwords
    told = lab.folder.audit_log.read_text() + "".join(replica.process.log.read_text() for replica in lab.starts)
    told += "".join(event.note for event in lab.snapshot().events)
    assert not [password for password in passwords if password in told]


async def test_what_can_not_be_done_is_a_condition(lab: Lab) -> None:
    await lab.client.create(postgres("fixed", version="16", storage={"size": "2Gi"}))
    assert await lab.until(condition_is("default/fixed", "Ready", "True"), WITHIN)
    change = MergePatch({"spec": {"version": "17", "storage": {"size": "1Gi"}}})
    await lab.client.patch(POSTGRES, "default/fixed", change)
    assert await lab.until(condition_is("default/fixed", "VersionAccepted", "False"), WITHIN)
    assert await lab.until(condition_is("default/fixed", "StorageAccepted", "False"), WITHIN)
    await lab.client.delete(POSTGRES, "default/fixed")


@pytest.mark.parametrize(("policy", "stays"), [("Delete", False), ("Retain", True)])
async def test_deletion_honours_its_policy(lab: Lab, policy: str, stays: bool) -> None:
    name = f"gone-{policy.lower()}"
    await lab.client.create(postgres(name, deletionPolicy=policy))
    assert await lab.until(condition_is(f"default/{name}", "Ready", "True"), WITHIN)
    await lab.client.delete(POSTGRES, f"default/{name}")

    async def is_gone() -> bool:
        return not await exists(lab, POSTGRES, f"default/{name}") and not await exists(
            lab, SERVICE, f"default/{name}-rw"
        )

    await eventually(is_gone)

    async def rest_is_as_wanted() -> bool:
        secret = await exists(lab, SECRET, f"default/{name}-credentials")
        claims = await lab.client.list(CLAIM, label_selector=f"database.example.com/cluster={name}")
        return secret is stays and bool(claims.items) is stays

    await eventually(rest_is_as_wanted)


async def test_a_leader_that_was_paused_past_its_lease_writes_nothing() -> None:
    async with running(Scale(2, 0, 3.0, 2.0, 0.5)) as pair:
        await pair.start_replicas()
        assert await pair.until(all_settled, WITHIN)
        paused = pair.leader()
        assert paused is not None
        paused.process.signal(signal.SIGSTOP)
        # Work that the paused one believes to be its own when it wakes up.
        await pair.client.create(postgres("meanwhile"))
        assert await pair.until(condition_is("default/meanwhile", "Ready", "True"), WITHIN)
        changed = await pair.client.patch(POSTGRES, "default/meanwhile", MergePatch({"spec": {"instances": 2}}))
        wanted = (changed.name, changed["metadata"]["generation"])
        paused.process.signal(signal.SIGCONT)
        # It has lost the leadership: it ends, by its dead man's switch (1) or by stepping down (3), whichever thread the
        # machine lets run first, and comes back as a follower.
        assert await paused.process.wait() in {1, 3}

        def change_is_done(snapshot: Snapshot) -> bool:
            shown = {(view.name.rpartition("/")[2], view.generation) for view in snapshot.objects}
            return wanted in shown and all_settled(snapshot)

        assert await pair.until(change_is_done, WITHIN)
        objects, children = await final_state(pair.client, pair.project)
        await pair.stop_replicas()
        verdict = verdict_of(pair.folder.audit_log, pair.project, pair.client.scheme, pair.starts, objects, children)
        assert verdict.clean, verdict
        assert verdict.expected == 3


async def test_a_missing_crd_is_waited_for_and_told() -> None:
    async with running() as lab:
        (crd,) = lab.project.manifests("crds")
        await lab.client.delete(CRD, crd.name)

        async def is_deleted() -> bool:
            return not await exists(lab, CRD, crd.name)

        await eventually(is_deleted)
        await lab.start_replicas()
        (replica,) = lab.replicas
        assert await lab.until(lambda snapshot: snapshot.replicas[0].readyz == "500", WITHIN)
        assert replica.process.running
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{replica.probes.address}/readyz?verbose") as response,
        ):
            assert "[-]informers failed" in await response.text()
        await lab.client.create(crd)
        await eventually(lambda: _created(lab, postgres("late")))
        assert await lab.until(condition_is("default/late", "Ready", "True"), WITHIN)
        assert lab.starts == (replica,)  # it went on by itself
        assert "Postgres" in replica.process.log.read_text()


async def _created(lab: Lab, wanted: Unstructured) -> bool:
    try:
        await lab.client.create(wanted)
    except NotFound:  # the kind is not served yet
        return False
    return True


async def test_a_server_that_ends_ends_the_lab() -> None:
    async with running() as lab:
        (server,) = [pid for pid in _children() if b"apiserver" in _command(pid) and _names(pid, lab.folder.path)]
        os.kill(server, signal.SIGKILL)
        with pytest.raises(LabError, match="the API server ended"):
            await lab.watch_over(asyncio.sleep(60))


def _children() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _names(pid: int, folder: Path) -> bool:
    return str(folder).encode() in _command(pid)


@pytest.mark.parametrize(
    ("arguments", "teaches"),
    [
        (["--bogus"], "No such option"),
        (["--kubeconfig=/nowhere"], "does not exist"),
        (["--lease-duration=soon"], "is not a duration"),
        (["--leader-elect", "--lease-duration=5s"], "must be greater than renew deadline"),
        (["--metrics-bind-address=nonsense"], "nonsense"),
    ],
)
async def test_bad_input_is_one_line_and_code_2(lab: Lab, arguments: list[str], teaches: str) -> None:
    given = [] if any("kubeconfig" in argument for argument in arguments) else [f"--kubeconfig={lab.kubeconfig}"]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "postgres-operator",
        "--leader-election-namespace=default",
        *given,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        output, errors = await process.communicate()
    assert process.returncode == 2
    assert output == b""
    assert teaches in errors.decode().splitlines()[-1]
    assert b"Traceback" not in errors
