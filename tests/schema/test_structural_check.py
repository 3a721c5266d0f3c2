from __future__ import annotations

from typing import Any

import pytest

from pyoperator.schema import KNOWN_FORMATS, check_structural, has_rules, unsupported_formats

ROOT = "spec.validation.openAPIV3Schema"
SPEC = f"{ROOT}.properties[spec]"
STRING = {"type": "string"}


def check(spec: dict[str, Any]) -> list[tuple[str, str]]:
    schema = {"type": "object", "properties": {"spec": spec}}
    return [(fault.field, fault.message) for fault in check_structural(schema)]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"properties": {}}, f"{SPEC}.type", "Required value: must not be empty for specified object fields"),
        ({"type": "foo"}, f"{SPEC}.type", 'Unsupported value: "foo": supported values: "array", "boolean", "integer", "number", "object", "string"'),
        ({"$ref": "#/x"}, f"{SPEC}.$ref", "Forbidden: $ref is not supported"),
        ({"type": "object", "properties": {"a": STRING}, "additionalProperties": STRING}, f"{SPEC}.additionalProperties", "Forbidden: additionalProperties and properties are mutual exclusive"),
        ({"type": "array"}, f"{SPEC}.items", "Required value: must be specified"),
        ({"type": "array", "items": [STRING]}, f"{SPEC}.items", "Forbidden: items must be a schema object and not an array"),
        ({"type": "object", "anyOf": [STRING]}, f"{SPEC}.anyOf[0].type", "Forbidden: must be empty to be structural"),
        ({"type": "object", "properties": {"a": STRING}, "anyOf": [{"properties": {"a": {"default": "x"}}}]}, f"{SPEC}.anyOf[0].properties[a].default", "Forbidden: must be undefined to be structural"),
        ({"type": "object", "properties": {"a": {"type": "string", "default": 5}}}, f"{SPEC}.properties[a].default", 'Invalid value: "integer":  in body must be of type string: "integer"'),
        ({"type": "object", "properties": {"a": {"type": "object", "default": {"zz": 1}}}}, f"{SPEC}.properties[a].default", 'Invalid value: {"zz":1}: must not have unknown fields'),
        ({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"], "default": "y"}}}, f"{SPEC}.properties[a].default", 'Unsupported value: "y": supported values: "x"'),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}, f"{SPEC}.x-kubernetes-list-map-keys", "Required value: must not be empty if x-kubernetes-list-type is map"),
        ({"type": "array", "items": {"type": "object", "properties": {"n": STRING}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}, f"{SPEC}.items.properties[n].default", "Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"),
        ({"type": "array", "items": STRING, "x-kubernetes-list-type": "foo"}, f"{SPEC}.x-kubernetes-list-type", 'Unsupported value: "foo": supported values: "atomic", "set", "map"'),
        ({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"}, f"{SPEC}.items.x-kubernetes-map-type", "Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": False}, f"{SPEC}.x-kubernetes-preserve-unknown-fields", "Invalid value: false: must be true or undefined"),
        ({"type": "array", "uniqueItems": True, "items": STRING}, f"{SPEC}.uniqueItems", "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"),
    ],
)  # fmt: skip
def test_faults_are_named_as_the_server_names_them(spec: dict[str, Any], field: str, message: str) -> None:
    assert check(spec) == [(field, message)]


@pytest.mark.parametrize(
    "spec",
    [
        {"type": "object", "additionalProperties": False},
        {"type": "object", "anyOf": [{"properties": {"zz": {"minimum": 1}}}]},
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "object", "x-kubernetes-validations": [{"rule": "self.a == 'x'"}]},
        {"type": "object", "nullable": True, "required": ["q"]},
    ],
)
def test_accepted(spec: dict[str, Any]) -> None:
    assert check(spec) == []


INVALID_PATTERN = "must be a valid regular expression, but isn't: error parsing regexp: "


def test_a_pattern_is_judged_and_refused_in_the_words_of_go() -> None:
    assert check({"type": "string", "pattern": "("}) == [
        (f"{SPEC}.pattern", f'Invalid value: "(": {INVALID_PATTERN}missing closing ): `(`')
    ]
    assert check({"type": "string", "pattern": r"^(?i)\pL(?<x>a)"}) == []
    assert check({"type": "string", "pattern": ""}) == []


def test_patterns_are_judged_wherever_they_stand() -> None:
    text = {
        "type": "string",
        "anyOf": [{"pattern": "(?=x)"}, {"not": {"pattern": "(?<!x)"}}],
        "allOf": [{"pattern": "a++"}],
        "not": {"properties": {"x": {"pattern": "(?x)"}}},
    }
    faults = check(
        {
            "type": "object",
            "properties": {"a": text, "b": {"type": "array", "items": {"type": "integer", "pattern": "["}}},
        }
    )
    assert {
        field.removeprefix(f"{SPEC}.properties"): message.rpartition(INVALID_PATTERN)[2] for field, message in faults
    } == {
        "[a].anyOf[0].pattern": "invalid or unsupported Perl syntax: `(?=`",
        "[a].anyOf[1].not.pattern": "invalid named capture: `(?<!x)`",
        "[a].allOf[0].pattern": "invalid nested repetition operator: `++`",
        "[a].not.properties[x].pattern": "invalid or unsupported Perl syntax: `(?x`",
        "[b].items.pattern": "missing closing ]: `[`",
    }


def test_defaults_are_tried_only_with_a_schema_that_is_sound_otherwise() -> None:
    number = {"type": "integer", "default": "x"}
    assert [field for field, _ in check({"type": "object", "properties": {"n": number}})] == [
        f"{SPEC}.properties[n].default"
    ]
    broken = {"type": "object", "properties": {"n": number, "a": {"type": "string", "pattern": "(", "default": "x"}}}
    assert [field for field, _ in check(broken)] == [f"{SPEC}.properties[a].pattern"]


def test_root() -> None:
    assert [fault.message for fault in check_structural({"type": "string"})] == [
        'Invalid value: "string": must be object at the root'
    ]
    assert [fault.field for fault in check_structural({"properties": {}})] == [f"{ROOT}.type"]


def test_metadata_may_only_restrict_names() -> None:
    inner = {"labels": {"type": "object", "additionalProperties": {"type": "string"}}}
    [fault] = check_structural({"type": "object", "properties": {"metadata": {"type": "object", "properties": inner}}})
    assert fault.field == f"{ROOT}.properties[metadata]"


def test_remarks() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "format": "foo"}, "b": {"x-kubernetes-validations": [{}]}},
    }
    assert unsupported_formats(schema, KNOWN_FORMATS) == ["foo"]
    assert has_rules(schema)
    assert not has_rules({"type": "object"})
