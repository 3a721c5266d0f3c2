"""Facts and small rules of built-in kinds that recorded answers don't show."""

from __future__ import annotations

from typing import Any

import pytest

from pyoperator.apiserver.registry import Registry
from pyoperator.apiserver.registry._quantities import canonical_quantity
from pyoperator.objects import BUILTIN_KINDS
from tests.apiserver.registry.support import create, kind_of

CORE = "/api/v1/namespaces/default/"


def test_all_kinds_that_clients_know_are_served() -> None:
    registry = Registry()
    for resource in BUILTIN_KINDS:
        kind = registry.by_gvk(resource.gvk)
        assert kind is not None, resource
        assert (kind.plural, kind.namespaced) == (resource.plural, resource.namespaced)


def test_rules_of_writing() -> None:
    registry = Registry()
    needs = {kind.gvk.kind for kind in registry.kinds() if kind.update_requires_version}
    assert needs == {
        "Lease", "PodDisruptionBudget", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "CustomResourceDefinition",
    }  # fmt: skip
    creates = {kind.gvk.kind for kind in registry.kinds() if kind.create_on_update}
    assert creates == {
        "Lease", "Endpoints", "Event", "Service", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"), ("1.5Gi", "1536Mi"), ("0", "0"), ("0Gi", "0"), ("500m", "500m"), ("0.5", "500m"), ("1e3", "1e3"),
        ("1024Ki", "1Mi"), ("1024", "1024"), ("1000", "1k"), ("1k", "1k"), ("1500", "1500"), ("128974848", "128974848"),
        ("100Mi", "100Mi"), ("-1", "-1"), ("1.5", "1500m"), ("2Gi", "2Gi"),
    ],
)  # fmt: skip
def test_canonical_quantities(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical


def test_events_have_two_views_of_one_store() -> None:
    registry = Registry()
    core = kind_of(registry, CORE + "events")
    new = kind_of(registry, "/apis/events.k8s.io/v1/namespaces/default/events")
    assert core.storage == new.storage == ("", "events")
    assert core.reads_as_stored
    assert not new.reads_as_stored
    _, event = create(
        new,
        {
            "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "a.b/c",
            "reportingInstance": "i", "action": "A", "reason": "R", "type": "Normal", "note": "text",
            "regarding": {"kind": "Pod", "namespace": "default", "name": "x"},
        },
    )  # fmt: skip
    stored = new.to_storage(event)
    assert stored["apiVersion"] == "v1"
    assert stored["message"] == "text"
    assert stored["involvedObject"]["name"] == "x"
    assert stored["reportingComponent"] == "a.b/c"
    assert new.from_storage(stored) == event
    assert (
        new.selectable_fields["regarding.name"](event) == core.selectable_fields["involvedObject.name"](stored) == "x"
    )


def test_unknown_fields_of_built_in_kinds() -> None:
    registry = Registry()
    kind = kind_of(registry, CORE + "pods")
    obj: dict[str, Any] = {"spec": {"containers": [{"name": "c", "foo": 1}], "bar": 1}, "metadata": {"zz": 1}, "top": 1}
    assert registry.unknown_fields(kind, obj) == [
        'unknown field "metadata.zz"', 'unknown field "spec.bar"', 'unknown field "spec.containers[0].foo"',
        'unknown field "top"',
    ]  # fmt: skip


def test_string_data_becomes_data() -> None:
    kind = kind_of(Registry(), CORE + "secrets")
    status, secret = create(
        kind, {"metadata": {"name": "s"}, "stringData": {"a": "ü"}, "data": {"a": "eA==", "b": "eA=="}}
    )
    assert status == 201
    assert secret["data"] == {"a": "w7w=", "b": "eA=="}
    assert "stringData" not in secret
    assert kind.selectable_fields["type"](secret) == "Opaque"


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], wanted: str) -> None:
    container = {"name": "c", "image": "x", "resources": resources}
    status, pod = create(
        kind_of(Registry(), CORE + "pods"), {"metadata": {"name": "p"}, "spec": {"containers": [container]}}
    )
    assert status == 201
    assert pod["status"] == {"phase": "Pending", "qosClass": wanted}
