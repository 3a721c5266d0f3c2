from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from pyoperator.objects import Condition, CustomResource, Model, PrinterColumn, Quantity, set_condition
from pyoperator.schema import StructuralSchemaError, check_structural, crd_manifest, structural_schema, validate


class Mode(StrEnum):
    FAST = "fast"
    SAFE = "safe"


class Storage(Model):
    """Where data live."""

    size: Quantity
    storage_class: str | None = Field(default=None, description="The class.", max_length=20)


class Spec(Model):
    instances: int = Field(default=1, ge=1, lt=10, description="How many.")
    mode: Mode = Mode.FAST
    level: Literal["low", "high"] = "low"
    storage: Storage = Field(description="Overrides the model's own words.")
    backup: Storage | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    anything: Any = None
    raw: dict[str, Any] = Field(default_factory=dict)
    port: int | str = 80
    items: list[Storage] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["size"]},
    )
    at: datetime | None = None
    wait: timedelta | None = None
    tags: set[str] = Field(default_factory=set)
    note: str | None = Field(default=None, json_schema_extra={"nullable": True})
    title: str = "x"


class Thing(CustomResource, group="example.com", version="v1", short_names=("th",), categories=("all",), storage=True,
            printer_columns=(PrinterColumn("Mode", "string", ".spec.mode"),), scale_paths=(".spec.instances", ".status.n", "")):  # fmt: skip
    """A thing."""

    spec: Spec


class ThingBeta(CustomResource, group="example.com", version="v1beta1", kind="Thing", storage=False):
    spec: Spec


@pytest.fixture
def schema() -> dict[str, Any]:
    return structural_schema(Spec)


def test_limits_defaults_and_descriptions(schema: dict[str, Any]) -> None:
    assert schema["properties"]["instances"] == {
        "type": "integer", "description": "How many.", "minimum": 1, "maximum": 10, "exclusiveMaximum": True, "default": 1,
    }  # fmt: skip


def test_names_on_the_wire(schema: dict[str, Any]) -> None:
    assert schema["properties"]["storage"]["properties"]["storageClass"] == {
        "type": "string", "description": "The class.", "maxLength": 20,
    }  # fmt: skip


def test_enumerations(schema: dict[str, Any]) -> None:
    assert schema["properties"]["mode"] == {"type": "string", "enum": ["fast", "safe"], "default": "fast"}
    assert schema["properties"]["level"] == {"type": "string", "enum": ["low", "high"], "default": "low"}


def test_the_field_describes_before_the_model(schema: dict[str, Any]) -> None:
    assert schema["properties"]["storage"]["description"] == "Overrides the model's own words."
    assert schema["properties"]["backup"]["description"] == "Where data live."


def test_optional_is_not_required_and_not_nullable(schema: dict[str, Any]) -> None:
    assert schema["required"] == ["storage"]
    assert "nullable" not in schema["properties"]["backup"]
    assert schema["properties"]["note"] == {"type": "string", "nullable": True}


def test_maps_and_free_fields(schema: dict[str, Any]) -> None:
    assert schema["properties"]["parameters"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert schema["properties"]["raw"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert schema["properties"]["anything"] == {"x-kubernetes-preserve-unknown-fields": True}


def test_models_do_not_keep_unknown_fields(schema: dict[str, Any]) -> None:
    assert "additionalProperties" not in schema
    assert "x-kubernetes-preserve-unknown-fields" not in schema["properties"]["storage"]


def test_int_or_string(schema: dict[str, Any]) -> None:
    port = schema["properties"]["port"]
    assert port["x-kubernetes-int-or-string"] is True
    assert port["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert schema["properties"]["storage"]["properties"]["size"]["x-kubernetes-int-or-string"] is True


def test_lists(schema: dict[str, Any]) -> None:
    assert schema["properties"]["items"]["x-kubernetes-list-map-keys"] == ["size"]
    assert schema["properties"]["tags"] == {
        "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set",
    }  # fmt: skip


def test_times(schema: dict[str, Any]) -> None:
    assert schema["properties"]["at"] == {"type": "string", "format": "date-time"}
    assert schema["properties"]["wait"] == {"type": "string"}


def test_no_titles_but_a_field_may_be_called_so(schema: dict[str, Any]) -> None:
    assert "title" not in schema
    assert schema["properties"]["title"] == {"type": "string", "default": "x"}


def test_a_model_used_twice_shares_nothing(schema: dict[str, Any]) -> None:
    first, second = schema["properties"]["storage"], schema["properties"]["backup"]
    assert first["required"] == second["required"]
    assert first["required"] is not second["required"]


def test_recursion_is_refused() -> None:
    with pytest.raises(StructuralSchemaError, match="contains itself"):
        structural_schema(Tree)


def test_unions_are_refused() -> None:
    class Either(BaseModel):
        value: int | list[int]

    with pytest.raises(StructuralSchemaError, match=r"Either.value: a union"):
        structural_schema(Either)


@pytest.mark.parametrize("pattern", ["(?x) a b", r"\u0041", "a{1001}", "a++", "(?u)a", "[a--b]"])
def test_patterns_that_only_pydantic_takes_are_refused(pattern: str) -> None:
    class Lock(BaseModel):
        code: dict[str, list[Annotated[str, Field(pattern=pattern)] | None]]

    with pytest.raises(StructuralSchemaError) as caught:
        structural_schema(Lock)
    message = str(caught.value)
    assert message.startswith(f"Lock.code.*[]: a cluster refuses the pattern {pattern!r} (error parsing regexp: ")
    assert "write it as RE2 has it" in message


def test_patterns_of_pythons_own_engine_are_refused() -> None:
    class Lock(BaseModel):
        model_config = ConfigDict(regex_engine="python-re")
        code: str = Field(pattern="^(?!kube-)")

    with pytest.raises(StructuralSchemaError, match=r"^Lock\.code: a cluster refuses the pattern"):
        structural_schema(Lock)


def test_patterns_that_only_a_cluster_takes_can_be_given() -> None:
    class Door(BaseModel):
        state: str = Field(json_schema_extra={"pattern": r"^\Qa.b\E$"})

    assert structural_schema(Door)["properties"]["state"] == {"type": "string", "pattern": r"^\Qa.b\E$"}


class Tree(BaseModel):
    children: list[Tree] = Field(default_factory=list)


def test_manifest_of_two_versions() -> None:
    crd = crd_manifest(Thing, ThingBeta)
    assert crd["metadata"]["name"] == "things.example.com"
    assert crd["spec"]["names"] == {
        "kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing", "shortNames": ["th"],
        "categories": ["all"],
    }  # fmt: skip
    v1, beta = crd["spec"]["versions"]
    assert (v1["name"], v1["storage"], beta["name"], beta["storage"]) == ("v1", True, "v1beta1", False)
    assert v1["additionalPrinterColumns"] == [{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}]
    assert v1["subresources"] == {
        "status": {}, "scale": {"specReplicasPath": ".spec.instances", "statusReplicasPath": ".status.n"},
    }  # fmt: skip
    root = v1["schema"]["openAPIV3Schema"]
    assert root["properties"]["metadata"] == {"type": "object"}
    assert root["required"] == ["spec"]
    assert check_structural(root) == []


def test_manifest_refuses_what_is_no_single_kind() -> None:
    class Other(CustomResource, group="example.com", version="v1"):
        pass

    with pytest.raises(ValueError, match="one CRD has one kind"):
        crd_manifest(Thing, Other)
    with pytest.raises(ValueError, match="exactly one version"):
        crd_manifest(ThingBeta)
    with pytest.raises(ValueError, match="at least one"):
        crd_manifest()


class Watched(Model):
    conditions: list[Condition] = Field(default_factory=list)
    last: Condition | None = None
    atomic: Annotated[list[Condition], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] = Field(
        default_factory=list
    )


def test_conditions_are_those_of_go() -> None:
    """As controller-gen writes ``[]metav1.Condition`` with ``+listType=map``, ``+listMapKey=type``."""
    properties = structural_schema(Watched)["properties"]
    conditions = properties["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    entry = conditions["items"]
    assert entry["required"] == ["lastTransitionTime", "message", "reason", "status", "type"]
    limits = {name: dict(found) for name, found in entry["properties"].items()}
    label = "([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    assert limits == {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "type": {"type": "string", "maxLength": 316, "pattern": f"^{label}(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"},
    }
    # Only lists of it are maps.
    assert "x-kubernetes-list-map-keys" not in properties["last"] | entry
    assert "x-kubernetes-list-map-keys" not in properties["atomic"]
    assert check_structural({"type": "object", "properties": {"status": structural_schema(Watched)}}) == []


def test_what_set_condition_makes_fits_the_schema() -> None:
    conditions: list[Condition] = []
    set_condition(conditions, Condition(type="Ready", status="True", reason="Up"), now=0.0)
    set_condition(conditions, Condition(type="Ready", status="False", reason="Down", observed_generation=3), now=1.0)
    written = [condition.model_dump(exclude_unset=True, by_alias=True) for condition in conditions]
    assert validate(structural_schema(Watched)["properties"]["conditions"], written) == []
