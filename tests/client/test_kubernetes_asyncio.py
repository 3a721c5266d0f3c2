from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.client import (
    Client,
    Configuration,
    OperationResult,
    TransportError,
    kubernetes_asyncio_codec,
    kubernetes_asyncio_configuration,
)
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import DecodeError, GroupVersionKind, Scheme, add_finalizer, set_controller_reference
from pyoperator.testing import InProcessTransport
from tests.client.fake_transport import FakeTransport, answer
from tests.support import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

kubernetes_client: Any = pytest.importorskip("kubernetes_asyncio.client")

STATEFUL_SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {
        "name": "db",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "5",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": {"app": "db"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "y", "controller": True}],
    },
    "spec": {
        "replicas": 3,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "postgres:17",
                        "resources": {"limits": {"cpu": "1"}},
                        "ports": [{"containerPort": 5432}],
                        "livenessProbe": {"httpGet": {"port": "web", "path": "/"}},
                    }
                ]
            },
        },
        "aNewField": "unknown to the models",
    },
    "status": {
        "replicas": 3,
        "conditions": [{"type": "X", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    },
}


async def test_the_codec_equals_the_librarys_own() -> None:
    model = kubernetes_client.V1StatefulSet
    codec = kubernetes_asyncio_codec(model)
    raw = json.dumps(STATEFUL_SET).encode()
    api = kubernetes_client.ApiClient()
    try:
        theirs = api.deserialize(SimpleNamespace(data=raw), "V1StatefulSet")
        ours: Any = codec.decode(raw)
        assert ours == theirs
        assert json.loads(codec.encode(ours)) == api.sanitize_for_serialization(theirs)
    finally:
        await api.close()
    metadata = codec.metadata(ours)
    assert (metadata.name, metadata.namespace, metadata.resource_version) == ("db", "shop", "5")


def test_undecodable_and_ambiguous() -> None:
    codec = kubernetes_asyncio_codec(kubernetes_client.V1StatefulSet)
    for data in (b"[]", b"nonsense", b'{"spec": {"replicas": "many"}}'):
        with pytest.raises(DecodeError):
            codec.decode(data)
    with pytest.raises(ValueError, match="ResourceKind"):
        kubernetes_asyncio_codec(kubernetes_client.V1ObjectMeta)


async def test_update_of_a_lossy_model_keeps_what_it_can_not_see() -> None:
    scheme = Scheme()
    model: Any = kubernetes_client.V1StatefulSet
    scheme.add_codec(model, kubernetes_asyncio_codec(model))
    transport = FakeTransport([answer(STATEFUL_SET), answer(STATEFUL_SET), answer(STATEFUL_SET)])
    client = Client(transport, scheme=scheme)
    obj = await client.get(model, "shop/db")
    obj.spec.replicas = 5
    await client.update(obj)
    assert transport.sent[2].method == "PATCH"
    assert transport.sent[2].body == {"spec": {"replicas": 5}, "metadata": {"resourceVersion": "5", "uid": "u"}}


async def test_a_users_own_configuration() -> None:
    theirs = kubernetes_client.Configuration(host="https://api.test", api_key={"BearerToken": "Bearer one"})
    tokens = ["two"]

    async def hook(configuration: Any) -> None:
        if tokens:
            configuration.api_key["BearerToken"] = tokens.pop()

    theirs.verify_ssl = False
    configuration = kubernetes_asyncio_configuration(theirs)
    assert configuration.server == "https://api.test"
    assert configuration.warnings
    assert await configuration.credentials.authorization() == "Bearer one"
    assert not await configuration.credentials.refresh()
    theirs.refresh_api_key_hook = hook
    assert await configuration.credentials.refresh()
    assert await configuration.credentials.authorization() == "Bearer two"
    assert "two" not in repr(configuration)


def legacy(tmp_path: Path, provider: dict[str, Any]) -> Configuration:
    document = {
        "current-context": "m",
        "contexts": [{"name": "m", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.test"}}],
        "users": [{"name": "u", "user": {"auth-provider": provider}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    return Configuration.load(path, environ={})


async def test_the_legacy_auth_provider_of_google(tmp_path: Path) -> None:
    """A fake gcloud counts its runs; a refused token is asked for anew although it has not expired."""
    count = tmp_path / "count"
    program = tmp_path / "gcloud"
    program.write_text(
        f"#!{sys.executable}\nimport json, pathlib\ncount = pathlib.Path({str(count)!r})\n"
        "n = int(count.read_text()) + 1 if count.exists() else 1\ncount.write_text(str(n))\n"
        "print(json.dumps({'credential': {'access_token': f'ya29.{n}', 'token_expiry': '2099-01-01T00:00:00Z'}}))\n"
    )
    program.chmod(0o755)
    configuration = legacy(
        tmp_path, {"name": "gcp", "config": {"cmd-path": str(program), "cmd-args": "config config-helper"}}
    )
    assert "redacted" in repr(configuration.credentials)
    assert [await configuration.credentials.authorization() for _ in range(2)] == ["Bearer ya29.1"] * 2
    assert await configuration.credentials.refresh()
    assert await configuration.credentials.authorization() == "Bearer ya29.2"
    assert await configuration.credentials.certificate() is None


async def test_a_legacy_auth_provider_that_gives_nothing(tmp_path: Path) -> None:
    for provider in (
        {"name": "azure", "config": {"apiserver-id": "s3cret"}},
        {"name": "gcp", "config": {"x": "s3cret"}},
    ):
        configuration = legacy(tmp_path, provider)
        with pytest.raises(TransportError, match="use an exec plugin") as caught:
            await configuration.credentials.authorization()
        assert "s3cret" not in str(caught.value)


def test_models_own_and_are_owned_on_a_server() -> None:
    async def main() -> None:
        server = APIServer(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(1), options=ServerOptions())
        model = kubernetes_client.V1ConfigMap
        scheme = Scheme()
        scheme.add_codec(model, kubernetes_asyncio_codec(model))
        client = Client(InProcessTransport(server), scheme=scheme, random=Randomness(2))
        meta = kubernetes_client.V1ObjectMeta
        owner = await client.create(model(metadata=meta(name="owner", namespace="default")))
        child = model(metadata=meta(name="child", namespace="default"))

        def mutate(obj: Any) -> None:
            obj.data = {"a": "1"}
            set_controller_reference(owner, obj)
            add_finalizer(obj, "example.com/wait")

        _, result = await client.create_or_patch(child, mutate)
        assert result is OperationResult.CREATED
        _, result = await client.create_or_patch(model(metadata=meta(name="child", namespace="default")), mutate)
        assert result is OperationResult.UNCHANGED
        stored = await client.get(GroupVersionKind("", "v1", "ConfigMap"), "default/child")
        assert stored.metadata["ownerReferences"] == [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": "owner",
                "uid": owner.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        assert stored.metadata["finalizers"] == ["example.com/wait"]

    run_virtual(main)
