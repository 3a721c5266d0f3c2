"""CRDs and what they serve."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pyoperator.apiserver.registry import Kind, MalformedObject, Registry, read_scale, write_scale
from pyoperator.objects import GroupVersionKind
from tests.apiserver.registry.support import CONTEXT

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "default": 1, "minimum": 0},
                "tier": {"type": "string"},
                "size": {"type": "number"},
            },
        },
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    },
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "apps.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"kind": "App", "plural": "apps", "shortNames": ["ap"], "categories": ["all"]},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "selectableFields": [{"jsonPath": ".spec.tier"}],
                "additionalPrinterColumns": [
                    {"name": "Tier", "type": "string", "jsonPath": ".spec.tier"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            },
            {
                "name": "v1beta1",
                "served": True,
                "storage": False,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"tier": {"type": "string", "default": "low"}}}}}},
            },
            {"name": "v1alpha1", "served": False, "storage": False, "schema": {"openAPIV3Schema": SCHEMA}},
        ],
    },
}  # fmt: skip


def crd_kind(registry: Registry) -> Kind:
    kind = registry.lookup("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert kind is not None
    return kind


def install(registry: Registry, crd: dict[str, Any] = CRD) -> dict[str, Any]:
    obj = crd_kind(registry).prepare_create(copy.deepcopy(crd), CONTEXT)
    assert crd_kind(registry).validate(obj, None) == []
    registry.install_crd(obj)
    return obj


@pytest.fixture
def registry() -> Registry:
    result = Registry()
    install(result)
    return result


def served(registry: Registry, version: str = "v1") -> Kind:
    kind = registry.lookup("example.com", version, "apps")
    assert kind is not None
    return kind


def app(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "App",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": spec,
    }


def test_accepting_a_crd() -> None:
    obj = install(Registry())
    assert obj["spec"]["names"]["singular"] == "app"
    assert obj["spec"]["names"]["listKind"] == "AppList"
    assert obj["spec"]["conversion"] == {"strategy": "None"}
    status = obj["status"]
    assert status["storedVersions"] == ["v1"]
    assert status["acceptedNames"] == obj["spec"]["names"]
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
        ("NamesAccepted", "True", "NoConflicts"),
        ("Established", "True", "InitialNamesAccepted"),
    ]


def test_served_versions(registry: Registry) -> None:
    kind = served(registry)
    assert kind.gvk == GroupVersionKind("example.com", "v1", "App")
    assert registry.by_gvk(kind.gvk) is kind
    assert kind.subresources == {"status", "scale"}
    assert kind.update_requires_version
    assert not kind.create_on_update
    assert (kind.singular, kind.list_kind, kind.short_names, kind.categories) == ("app", "AppList", ("ap",), ("all",))
    assert registry.lookup("example.com", "v1alpha1", "apps") is None
    assert served(registry, "v1beta1").subresources == frozenset()
    registry.remove_crd("apps.example.com")
    assert registry.lookup("example.com", "v1", "apps") is None


def test_pruned_defaulted_and_reset(registry: Registry) -> None:
    obj = {**app(tier="x", foo=1), "status": {"replicas": 5}, "top": 1}
    result = served(registry).prepare_create(obj, CONTEXT)
    assert result["spec"] == {"tier": "x", "replicas": 1}
    assert "status" not in result
    assert "top" not in result
    assert result["metadata"]["generation"] == 1


def test_unknown_fields_are_named(registry: Registry) -> None:
    obj = {**app(foo=1), "metadata": {"name": "a", "zz": 1}, "top": {"x": 1}}
    before = copy.deepcopy(obj)
    assert registry.unknown_fields(served(registry), obj) == [
        'unknown field "metadata.zz"', 'unknown field "spec.foo"', 'unknown field "top"',
    ]  # fmt: skip
    assert obj == before


def test_whole_numbers_are_integers(registry: Registry) -> None:
    result = served(registry).prepare_create(app(replicas=2.0, size=2.5), CONTEXT)
    assert result["spec"] == {"replicas": 2, "size": 2.5}
    assert isinstance(result["spec"]["replicas"], int)
    assert served(registry).validate(result, None) == []


def test_faults(registry: Registry) -> None:
    kind = served(registry)
    result = kind.prepare_create(app(replicas="x", tier=5), CONTEXT)
    assert sorted(str(fault) for fault in kind.validate(result, None)) == [
        ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: x is of the type string, expected int64",
        'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
        'spec.tier: Invalid value: "integer": spec.tier in body must be of type string: "integer"',
    ]


def test_metadata_of_wrong_types_is_unreadable(registry: Registry) -> None:
    with pytest.raises(
        MalformedObject, match=r"cannot unmarshal number into Go struct field ObjectMeta\.labels of type string"
    ):
        served(registry).prepare_create({**app(), "metadata": {"name": "a", "labels": {"a": 1}}}, CONTEXT)


def test_updates_and_generation(registry: Registry) -> None:
    kind = served(registry)
    old = kind.prepare_create(app(tier="x"), CONTEXT)
    old["status"] = {"replicas": 1}
    new = copy.deepcopy(old)
    new["status"] = {"replicas": 9}
    new["metadata"]["labels"] = {"a": "b"}
    same = kind.prepare_update(copy.deepcopy(new), old, CONTEXT)
    assert same["status"] == {"replicas": 1}
    assert same["metadata"]["generation"] == 1
    new["spec"]["tier"] = "y"
    assert kind.prepare_update(new, old, CONTEXT)["metadata"]["generation"] == 2


def test_status_writes(registry: Registry) -> None:
    kind = served(registry)
    old = kind.prepare_create(app(tier="x"), CONTEXT)
    new = {**app(tier="y"), "metadata": {**old["metadata"], "labels": {"a": "b"}}, "status": {"replicas": 2, "foo": 1}}
    result = kind.prepare_status_update(new, old, CONTEXT)
    assert result["spec"] == old["spec"]
    assert result["metadata"] == old["metadata"]
    assert result["status"] == {"replicas": 2}


def test_another_version_has_the_fields_of_both_and_the_defaults_of_the_stored_one(registry: Registry) -> None:
    stored = served(registry).prepare_create(app(replicas=3), CONTEXT)
    beta = served(registry, "v1beta1")
    view = beta.from_storage(stored)
    assert view["apiVersion"] == "example.com/v1beta1"
    assert view["spec"] == {}
    assert stored["spec"] == {"replicas": 3}
    assert beta.to_storage(view)["apiVersion"] == "example.com/v1"
    assert beta.storage == served(registry).storage


def test_reads_follow_a_changed_schema(registry: Registry) -> None:
    assert not served(registry).reads_as_stored  # it may have been written in the other version
    assert not served(registry, "v1beta1").reads_as_stored
    stored = served(registry).prepare_create(app(tier="x"), CONTEXT)
    old = registry.crds()[0]
    new = copy.deepcopy(old)
    properties = new["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del properties["tier"]
    properties["zone"] = {"type": "string", "default": "here"}
    new = crd_kind(registry).prepare_update(new, old, CONTEXT)
    assert new["metadata"]["generation"] == 2
    registry.install_crd(new)
    kind = served(registry)
    assert not kind.reads_as_stored
    assert kind.from_storage(stored)["spec"] == {"replicas": 1, "zone": "here"}


def test_selectable_fields(registry: Registry) -> None:
    kind = served(registry)
    assert {name: read(app(tier="x")) for name, read in kind.selectable_fields.items()} == {"spec.tier": "x"}
    assert kind.selectable_fields["spec.tier"](app()) == ""


def test_scale(registry: Registry) -> None:
    kind = served(registry)
    obj = {**app(replicas=3), "status": {"replicas": 2, "selector": "a=b"}}
    obj["metadata"] |= {"uid": "u", "resourceVersion": "5", "labels": {"not": "shown"}}
    assert read_scale(kind, obj) == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "5"},
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "a=b"},
    }
    assert write_scale(kind, obj, {"spec": {"replicas": 7}})["spec"]["replicas"] == 7
    assert obj["spec"]["replicas"] == 3
    with pytest.raises(LookupError):
        read_scale(served(registry, "v1beta1"), obj)


def test_taken_names_are_refused(registry: Registry) -> None:
    other = copy.deepcopy(CRD)
    other["metadata"]["name"] = "others.example.com"
    other["spec"]["names"] = {"kind": "App", "plural": "others"}
    obj = crd_kind(registry).prepare_create(other, CONTEXT)
    conditions = {entry["type"]: entry for entry in obj["status"]["conditions"]}
    assert conditions["NamesAccepted"]["status"] == "False"
    assert conditions["Established"]["status"] == "False"
    assert conditions["NamesAccepted"]["message"] == '"AppList" is already in use'
    assert registry.install_crd(obj) == []
    assert registry.lookup("example.com", "v1", "others") is None


def test_warnings(registry: Registry) -> None:
    crd = copy.deepcopy(CRD)
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": "self.replicas < 5"}]
    spec["properties"]["tier"]["format"] = "foo"
    obj = crd_kind(registry).prepare_create(crd, CONTEXT)
    stored = obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert stored["x-kubernetes-validations"] == [{"rule": "self.replicas < 5"}]
    assert registry.warnings_for_crd(obj) == [
        'unrecognized format "foo"',
        "x-kubernetes-validations are stored but not evaluated by this server",
    ]
    assert registry.warnings_for_crd(registry.crds()[0]) == []


VERSION = CRD["spec"]["versions"][0]


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda crd: crd["metadata"].update(name="foo"), ['metadata.name: Invalid value: "foo": must be spec.names.plural+"."+spec.group']),
        (lambda crd: crd["spec"].pop("scope"), ["spec.scope: Required value"]),
        (lambda crd: crd["spec"].update(scope="x"), ['spec.scope: Unsupported value: "x": supported values: "Cluster", "Namespaced"']),
        (lambda crd: crd["spec"]["names"].pop("kind"), ["spec.names.singular: Required value", "spec.names.kind: Required value", "spec.names.listKind: Required value"]),
        (lambda crd: crd["spec"]["names"].update(listKind="App"), ['spec.names.listKind: Invalid value: "App": kind and listKind may not be the same']),
        (lambda crd: [crd["spec"]["versions"][0].pop(key) for key in ("schema", "selectableFields")], ["spec.versions[0].schema.openAPIV3Schema: Required value"]),
        (lambda crd: crd["spec"].update(conversion={"strategy": "foo"}), ['spec.conversion.strategy: Unsupported value: "foo": supported values: "None", "Webhook"']),
        (lambda crd: crd["spec"].update(preserveUnknownFields=True), ["spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"]),
        (lambda crd: crd["spec"].update(versions=[{**VERSION, "subresources": {"scale": {"specReplicasPath": ".spec.x", "statusReplicasPath": ".statusx"}}}]), ['spec.subresources.scale.statusReplicasPath: Invalid value: ".statusx": should be a json path under .status']),
        (lambda crd: crd["spec"].update(versions=[{**VERSION, "additionalPrinterColumns": [{"name": "", "type": "foo", "jsonPath": "x"}]}]), ["spec.additionalPrinterColumns[0].name: Required value", 'spec.additionalPrinterColumns[0].type: Invalid value: "foo": must be one of boolean,date,integer,number,string', 'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "x": must be a simple json path starting with .']),
        (lambda crd: crd["spec"].update(versions=[{**VERSION, "selectableFields": [{"jsonPath": ".spec.zz"}]}]), ['spec.selectableFields[0].jsonPath: Invalid value: ".spec.zz": is an invalid path: does not refer to a valid field']),
        (lambda crd: crd["spec"].update(versions=[{**VERSION, "schema": {"openAPIV3Schema": {"type": "string"}}, "selectableFields": []}]), ['spec.validation.openAPIV3Schema.type: Invalid value: "string": must be object at the root']),
    ],
)  # fmt: skip
def test_a_bad_crd_is_refused_in_the_servers_words(edit: Any, wanted: list[str]) -> None:
    kind = crd_kind(Registry())
    crd = copy.deepcopy(CRD)
    edit(crd)
    assert [str(fault) for fault in kind.validate(kind.prepare_create(crd, CONTEXT), None)] == wanted


def test_no_storage_version() -> None:
    kind = crd_kind(Registry())
    crd = copy.deepcopy(CRD)
    crd["spec"]["versions"][0]["storage"] = False
    faults = kind.validate(kind.prepare_create(crd, CONTEXT), None)
    assert [fault.field for fault in faults] == ["spec.versions", "status.storedVersions"]
    assert faults[0].message.endswith(": must have exactly one version marked as storage version")


def test_what_an_established_crd_may_not_change(registry: Registry) -> None:
    kind, old = crd_kind(registry), registry.crds()[0]
    new = copy.deepcopy(old)
    new["spec"]["scope"] = "Cluster"
    new["spec"]["names"]["kind"] = "Bpp"
    new["spec"]["versions"] = [{**new["spec"]["versions"][1], "storage": True}]
    new = kind.prepare_update(new, old, CONTEXT)
    assert [str(fault)[:60] for fault in kind.validate(new, old)] == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Bpp": field is immutable',
        'status.storedVersions[0]: Invalid value: "v1": missing from '[:60],
    ]


def test_deprecated_versions_warn() -> None:
    registry = Registry()
    crd = copy.deepcopy(CRD)
    crd["spec"]["versions"][1]["deprecated"] = True
    install(registry, crd)
    assert served(registry, "v1beta1").deprecation_warning == (
        "example.com/v1beta1 App is deprecated; use example.com/v1 App"
    )
    assert served(registry).deprecation_warning == ""


def test_table(registry: Registry) -> None:
    obj = app(tier="x", replicas=2)
    obj["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    table = registry.table(served(registry), [obj], now=1767225600 + 90)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Tier", "Replicas", "Age"]
    assert table["rows"][0]["cells"] == ["a", "x", 2, "90s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    beta = registry.table(served(registry, "v1beta1"), [obj], now=1767225600, include_object="None")
    assert [column["name"] for column in beta["columnDefinitions"]] == ["Name", "Age"]
    assert beta["rows"] == [{"cells": ["a", "0s"], "object": None}]
