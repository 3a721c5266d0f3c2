"""Laws of prune, defaulting and validation, over random schemas and values."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyoperator.schema import apply_defaults, check_structural, prune, validate

NAMES = st.sampled_from(["a", "b", "c", "d"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text("ab", max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)


def _leaves() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("string")}, optional={"default": st.text("ab", max_size=2), "maxLength": st.integers(2, 3)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("integer")}, optional={"default": st.integers(0, 3), "minimum": st.integers(-3, 0)}
        ),
        st.fixed_dictionaries({"type": st.just("boolean")}, optional={"nullable": st.booleans()}),
        st.just({"x-kubernetes-int-or-string": True}),
        st.just({"x-kubernetes-preserve-unknown-fields": True}),
    )


def _nodes(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
            optional={"required": st.lists(NAMES, max_size=2), "default": st.just({})},
        ),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 3)}),
    )


SCHEMAS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(NAMES, st.recursive(_leaves(), _nodes, max_leaves=6), max_size=4),
    }
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(SCHEMAS, OBJECTS)
def test_pruning_twice_changes_nothing(schema: dict[str, Any], obj: dict[str, Any]) -> None:
    once = prune(schema, copy.deepcopy(obj))
    dropped: list[str] = []
    assert prune(schema, copy.deepcopy(once), pruned=dropped) == once
    assert dropped == []


@given(SCHEMAS, OBJECTS)
def test_pruned_fields_are_named(schema: dict[str, Any], obj: dict[str, Any]) -> None:
    dropped: list[str] = []
    pruned = prune(schema, copy.deepcopy(obj), pruned=dropped)
    assert (pruned != obj) == bool(dropped)


@given(SCHEMAS, OBJECTS)
def test_defaulting_twice_changes_nothing(schema: dict[str, Any], obj: dict[str, Any]) -> None:
    once = apply_defaults(schema, prune(schema, copy.deepcopy(obj)))
    assert apply_defaults(schema, copy.deepcopy(once)) == once


@given(SCHEMAS, OBJECTS)
def test_defaults_bring_nothing_to_prune(schema: dict[str, Any], obj: dict[str, Any]) -> None:
    defaulted = apply_defaults(schema, prune(schema, copy.deepcopy(obj)))
    assert prune(schema, copy.deepcopy(defaulted)) == defaulted


@given(SCHEMAS, OBJECTS)
def test_validation_changes_nothing_and_repeats(schema: dict[str, Any], obj: dict[str, Any]) -> None:
    before = copy.deepcopy(obj)
    assert validate(schema, obj) == validate(schema, obj)
    assert obj == before


@given(SCHEMAS)
def test_checking_any_schema_never_fails(schema: dict[str, Any]) -> None:
    for fault in check_structural(schema):
        assert fault.field.startswith("spec.validation.openAPIV3Schema")
