"""The client and the recorder against the embedded server, in process and on virtual time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pyoperator.apiserver import APIServer
from pyoperator.client import (
    AlreadyExists,
    Client,
    Conflict,
    MergePatch,
    NoKindMatch,
    NotFound,
    OperationResult,
    TransportError,
    ignore_not_found,
)
from pyoperator.clock import LoopClock, Randomness
from pyoperator.events import EVENT_KIND, EventRecorder
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from tests.support import run_virtual

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
KEY = ObjectKey("default", "settings")


def make() -> tuple[Client, InProcessTransport]:
    clock = LoopClock(asyncio.get_running_loop())
    transport = InProcessTransport(APIServer(clock=clock, random=Randomness(1)))
    return Client(transport, clock=clock, random=Randomness(2)), transport


def settings(**data: str) -> Unstructured:
    return Unstructured.new(CONFIG_MAP, KEY.name, KEY.namespace, data=data)


def test_the_life_of_an_object() -> None:
    async def main() -> None:
        client, _ = make()
        created = await client.create(settings(a="1"))
        with pytest.raises(AlreadyExists):
            await client.create(settings(a="1"))
        created["data"]["b"] = "2"
        updated = await client.update(created)
        with pytest.raises(Conflict):
            await client.update(created)
        patched = await client.patch(CONFIG_MAP, KEY, MergePatch({"data": {"a": None}}))
        assert patched["data"] == {"b": "2"}
        assert [item.key for item in await client.list(CONFIG_MAP, namespace="default")].count(KEY) == 1
        with pytest.raises(Conflict):
            await client.delete(CONFIG_MAP, KEY, uid="another")
        await client.delete(updated)
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAP, KEY)
        with ignore_not_found():
            await client.delete(CONFIG_MAP, KEY)

    run_virtual(main)


def test_create_or_patch_writes_only_differences() -> None:
    async def main() -> None:
        client, _ = make()

        def mutate(obj: Unstructured) -> None:
            obj["data"] = {"a": "1"}

        results = [(await client.create_or_patch(CONFIG_MAP, KEY, mutate))[1] for _ in range(2)]
        _, third = await client.create_or_patch(CONFIG_MAP, KEY, lambda obj: obj["data"].update(b="2"))
        assert [*results, third] == [OperationResult.CREATED, OperationResult.UNCHANGED, OperationResult.UPDATED]

    run_virtual(main)


def test_a_watch_sees_what_is_written() -> None:
    async def main() -> None:
        client, _ = make()
        version = (await client.list(CONFIG_MAP)).resource_version
        await client.create(settings(a="1"))
        await client.patch(CONFIG_MAP, KEY, MergePatch({"data": {"a": "2"}}))
        await client.delete(CONFIG_MAP, KEY)
        async with client.watch(CONFIG_MAP, namespace="default", resource_version=version) as events:
            seen = [(await anext(events)).type for _ in range(3)]
        assert seen == ["ADDED", "MODIFIED", "DELETED"]

    run_virtual(main)


def test_a_kind_that_is_not_served() -> None:
    async def main() -> None:
        client, _ = make()
        with pytest.raises(NoKindMatch, match="CustomResourceDefinition"):
            await client.get(GroupVersionKind("example.com", "v1", "Gizmo"), "default/x")

    run_virtual(main)


def test_conditional_writes_are_never_doubled_by_lost_answers() -> None:
    """Increment under faults: whatever the client reports as done or as a conflict, no increment happens twice."""

    async def main() -> int:
        client, inner = make()
        await client.create(settings(count="0"))
        faulty = FaultyTransport(
            inner, random=Randomness(7), faults=Faults(latency=(0, 0.1), lost_answer=0.2, broken=0.2, errors=0.1)
        )
        unsure = Client(faulty, random=Randomness(3))
        confirmed = 0
        for _ in range(40):
            before = int((await client.get(CONFIG_MAP, KEY))["data"]["count"])

            def increment(obj: Unstructured, wanted: int = before + 1) -> None:
                obj["data"]["count"] = str(wanted)

            with contextlib.suppress(Conflict, TransportError):
                await unsure.create_or_patch(CONFIG_MAP, KEY, increment)
                confirmed += 1
            after = int((await client.get(CONFIG_MAP, KEY))["data"]["count"])
            assert after in {before, before + 1}
        assert faulty.injected["lost_answer"] > 0
        return confirmed

    assert run_virtual(main) > 0


def test_events_are_accepted() -> None:
    async def main() -> None:
        client, transport = make()
        obj = await client.create(settings(a="1"))
        recorder = EventRecorder(transport, "settings-controller", clock=client.clock, random=Randomness(4))
        task = asyncio.create_task(recorder.run())
        for _ in range(2):
            recorder.event(obj, "Normal", "Configured", "it is so", action="Configure")
        await asyncio.sleep(1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        (event,) = await client.list(EVENT_KIND, namespace="default")
        assert event["regarding"]["uid"] == obj.metadata["uid"]
        assert event["series"]["count"] == 2

    run_virtual(main)
