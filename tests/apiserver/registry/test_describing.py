"""Discovery, OpenAPI, Tables and JSONPath."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pyoperator.apiserver.registry import Registry
from pyoperator.apiserver.registry._cells import duration
from pyoperator.apiserver.registry._discovery import version_rank
from pyoperator.apiserver.registry._jsonpath import JSONPathError, find, first_text
from tests.apiserver.registry.support import create, kind_of
from tests.apiserver.registry.test_custom_resources import install

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest.fixture
def registry() -> Registry:
    result = Registry()
    install(result)
    return result


def answer(registry: Registry, path: str, accept: str = "application/json") -> dict[str, Any]:
    found = registry.discovery(path, accept)
    assert found is not None
    return found[1]


def test_groups(registry: Registry) -> None:
    groups = {group["name"]: group for group in answer(registry, "/apis")["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert [entry["version"] for entry in groups["example.com"]["versions"]] == ["v1", "v1beta1"]
    assert answer(registry, "/apis/example.com")["name"] == "example.com"
    assert answer(registry, "/api")["versions"] == ["v1"]
    for path in ("/apis/nope", "/apis/apps/v2", "/version"):
        assert registry.discovery(path, "") is None


def test_resources(registry: Registry) -> None:
    core = {entry["name"]: entry for entry in answer(registry, "/api/v1")["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert core["pods"]["categories"] == ["all"]
    assert core["pods/eviction"] == {
        "name": "pods/eviction", "singularName": "", "namespaced": True, "group": "policy", "version": "v1",
        "kind": "Eviction", "verbs": ["create"],
    }  # fmt: skip
    apps = {entry["name"]: entry for entry in answer(registry, "/apis/apps/v1")["resources"]}
    assert apps["statefulsets/scale"]["kind"] == "Scale"
    assert apps["statefulsets/scale"]["group"] == "autoscaling"
    own = {entry["name"]: entry for entry in answer(registry, "/apis/example.com/v1")["resources"]}
    assert set(own) == {"apps", "apps/status", "apps/scale"}


def test_aggregated_discovery(registry: Registry) -> None:
    found = registry.discovery("/apis", AGGREGATED)
    assert found is not None
    content_type, document = found
    assert content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = {item["metadata"]["name"]: item for item in document["items"]}
    [v1, _] = groups["example.com"]["versions"]
    assert v1["resources"][0]["responseKind"] == {"group": "example.com", "version": "v1", "kind": "App"}
    assert [entry["subresource"] for entry in v1["resources"][0]["subresources"]] == ["scale", "status"]
    core = registry.discovery("/api", AGGREGATED)
    assert core is not None
    assert core[1]["items"][0]["metadata"] == {}
    plain = registry.discovery("/apis", "application/json," + AGGREGATED)
    assert plain is not None
    assert plain[1]["kind"] == "APIGroupList"


def test_discovery_follows_crds(registry: Registry) -> None:
    registry.remove_crd("apps.example.com")
    assert "example.com" not in [group["name"] for group in answer(registry, "/apis")["groups"]]
    assert registry.discovery("/apis/example.com/v1", "") is None


def test_version_order() -> None:
    versions = ["foo1", "v1alpha1", "v1", "v10", "v1beta2", "v2beta1", "v2", "v1beta1", "v3alpha2"]
    assert sorted(versions, key=version_rank) == [
        "v10", "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v3alpha2", "v1alpha1", "foo1",
    ]  # fmt: skip


def test_openapi_v3(registry: Registry) -> None:
    index = registry.openapi("/openapi/v3")
    assert index is not None
    paths = json.loads(index[2])["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/example.com/v1"} <= set(paths)
    url = paths["apis/example.com/v1"]["serverRelativeURL"]
    path, _, query = url.partition("?")
    found = registry.openapi(path, "application/json", [("hash", query.removeprefix("hash="))])
    assert found is not None
    status, content_type, body, headers = found
    assert (status, content_type, headers["Cache-Control"]) == (200, "application/json", "public, immutable")
    document = json.loads(body)
    schema = document["components"]["schemas"]["com.example.v1.App"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.com", "kind": "App", "version": "v1"}]
    assert schema["properties"]["spec"]["properties"]["replicas"]["default"] == 1
    item = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/apps/{name}"]
    assert "fieldValidation" in [parameter["name"] for parameter in item["patch"]["parameters"]]
    assert item["patch"]["x-kubernetes-group-version-kind"] == {"group": "example.com", "kind": "App", "version": "v1"}
    stale = registry.openapi(path, "", [("hash", "0")])
    assert stale is not None
    assert stale[0] == 301
    assert stale[3]["Location"] == url


@pytest.mark.parametrize("path", ["/openapi/v3/api/v1", "/openapi/v3/apis/apiextensions.k8s.io/v1", "/openapi/v2"])
def test_references_lead_somewhere(registry: Registry, path: str) -> None:
    found = registry.openapi(path)
    assert found is not None
    document = json.loads(found[2])
    schemas = document["definitions"] if path.endswith("v2") else document["components"]["schemas"]

    def targets(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(targets, value.values()))
        return set().union(*map(targets, value)) if isinstance(value, list) else set()

    assert targets(document) <= set(schemas)


def test_v2_in_protobuf_names_every_definition(registry: Registry) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    described = registry.openapi("/openapi/v2", accept)
    assert described is not None
    status, content_type, body, _ = described
    assert (status, content_type) == (200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
    plain = registry.openapi("/openapi/v2")
    assert plain is not None
    document = json.loads(plain[2])
    wanted = set(document["definitions"])
    (definitions,) = [value for number, value in _fields(body) if number == 9]
    named = {dict(_fields(entry))[1].decode(): dict(_fields(entry)).get(2, b"") for _, entry in _fields(definitions)}
    assert set(named) == wanted
    properties = dict(_fields(named["com.example.v1.App"]))[25]
    assert {dict(_fields(entry))[1] for _, entry in _fields(properties)} >= {b"spec", b"status", b"metadata"}


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Take a message apart; of its fields only the texts and messages."""
    found: list[tuple[int, bytes]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        match tag & 7:
            case 2:
                size = number()
                found.append((tag >> 3, data[at : at + size]))
                at += size
            case 1:
                at += 8
            case _:
                number()
    return found


def test_protobuf_of_v3_is_declined(registry: Registry) -> None:
    assert registry.openapi("/openapi/v3", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf") == (
        406,
        "",
        b"",
        {},
    )
    unknown = registry.openapi("/openapi/v3/apis/nope/v1")
    assert unknown is not None
    assert unknown[0] == 404
    assert registry.openapi("/healthz") is None


def test_every_built_in_kind_has_a_schema(registry: Registry) -> None:
    for kind in registry.kinds():
        assert kind.schema, kind


def test_pod_rows(registry: Registry) -> None:
    kind = kind_of(registry, "/api/v1/namespaces/default/pods")
    _, pod = create(kind, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    now = 1767225600 + 3700
    cells = registry.table(kind, [pod], now=now)["rows"][0]["cells"]
    assert cells == ["p", "0/1", "Pending", "0", "61m", "<none>", "<none>", "<none>", "<none>"]
    pod["status"] = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "containerStatuses": [{"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}}}],
    }
    assert registry.table(kind, [pod], now=now)["rows"][0]["cells"][1:6] == ["1/1", "Running", "2", "61m", "10.0.0.1"]
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert registry.table(kind, [pod], now=now)["rows"][0]["cells"][2] == "Terminating"


def test_service_rows(registry: Registry) -> None:
    kind = kind_of(registry, "/api/v1/namespaces/default/services")
    _, service = create(kind, {"metadata": {"name": "s"}, "spec": {"clusterIP": "None", "ports": [{"port": 5432}]}})
    service["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    cells = registry.table(kind, [service], now=1767225600)["rows"][0]["cells"]
    assert cells == ["s", "ClusterIP", "None", "<none>", "5432/TCP", "0s", "<none>"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (185, "3m5s"), (600, "10m"), (10799, "179m"),
        (10800, "3h"), (11100, "3h5m"), (28800, "8h"), (172799, "47h"), (172800, "2d"), (176400, "2d1h"), (691200, "8d"),
        (63072000, "2y"), (63936000, "2y10d"), (252288000, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_jsonpath() -> None:
    obj = {
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
            "n": [1, 2, 3],
        },
        "metadata": {"labels": {"a.b/c": "x"}},
    }
    assert first_text('.status.conditions[?(@.type=="Ready")].status', obj) == "True"
    assert first_text("{.metadata.labels['a.b/c']}", obj) == "x"
    assert first_text(r".metadata.labels.a\.b/c", obj) == "x"
    assert find(".status.conditions[*].type", obj) == ["Ready", "Other"]
    assert find(".status.n[-1]", obj) == [3]
    assert find(".status.n[1:]", obj) == [2, 3]
    assert find("..status", obj)[1:] == ["True", "False"]
    assert first_text(".nope.x", obj) == ""
    with pytest.raises(JSONPathError):
        find(".spec[", obj)


def test_start_is_cheap() -> None:
    """A server that has nothing to describe yet must not read schemas."""
    code = (
        "import sys; from pyoperator.apiserver.registry import Registry, builtin_schemas; Registry(); "
        "sys.exit(builtin_schemas.cache_info().currsize)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
