"""The client against a real kube-apiserver."""

from __future__ import annotations

import contextlib
import os

import pytest

from pyoperator.client import (
    AiohttpTransport,
    BadRequest,
    Client,
    Configuration,
    Conflict,
    DryRunClient,
    FieldValidationClient,
    JSONPatch,
    NoKindMatch,
    OperationResult,
    StrategicMergePatch,
)
from pyoperator.clock import Randomness
from pyoperator.objects import GroupVersionKind, Unstructured

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
NAMESPACE = GroupVersionKind("", "v1", "Namespace")
KUBECONFIG = os.environ.get("PYOPERATOR_REAL_KUBECONFIG", "")

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.skipif(not KUBECONFIG, reason="PYOPERATOR_REAL_KUBECONFIG names no real kube-apiserver"),
]


async def test_the_verbs_on_a_real_server() -> None:
    namespace = f"client-{Randomness().getrandbits(32):08x}"
    transport = AiohttpTransport(Configuration.load(KUBECONFIG))
    async with contextlib.aclosing(transport):
        client = Client(transport, field_manager="client-test", namespace=namespace)
        await client.create(Unstructured.new(NAMESPACE, namespace))
        created = await client.create(Unstructured.new(CONFIG_MAP, "s", data={"a": "1"}))
        stale = Unstructured(created | {"data": {"a": "0"}})
        _, result = await client.create_or_patch(CONFIG_MAP, "s", lambda obj: obj["data"].update(b="2"))
        assert result is OperationResult.UPDATED
        _, result = await client.create_or_patch(CONFIG_MAP, "s", lambda obj: obj["data"].update(b="2"))
        assert result is OperationResult.UNCHANGED
        with pytest.raises(Conflict):
            await client.update(stale)
        applied = await client.apply(Unstructured.new(CONFIG_MAP, "s", namespace, data={"z": "9"}), force=True)
        assert applied["data"] == {"a": "1", "b": "2", "z": "9"}
        await client.patch(CONFIG_MAP, "s", StrategicMergePatch({"data": {"a": None}}))
        patched = await client.patch(CONFIG_MAP, "s", JSONPatch([{"op": "remove", "path": "/data/b"}]))
        assert patched["data"] == {"z": "9"}
        with pytest.raises(BadRequest, match="unknown field"):
            await FieldValidationClient(DryRunClient(client), "Strict").create(
                Unstructured.new(CONFIG_MAP, "q", dataa={})
            )
        with pytest.raises(NoKindMatch):
            await client.get(GroupVersionKind("x.example", "v1", "Foo"), "a")
        async with client.watch(CONFIG_MAP, namespace=namespace, timeout_seconds=1) as events:
            assert [event.object.key.name async for event in events] == ["s"]
        await client.delete(patched)
        await client.delete(NAMESPACE, namespace)
