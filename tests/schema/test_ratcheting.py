"""Only what a write changes is judged: the rules that hold for any schema and any two states of an object."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyoperator.schema import validate

NAMES = st.sampled_from("pqrs")
LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda values: {"type": "string", "enum": values}, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1)
    ),
    st.builds(lambda limit: {"type": "string", "maxLength": limit}, st.integers(0, 2)),
    st.builds(lambda limit: {"type": "integer", "maximum": limit}, st.integers(0, 3)),
    st.just({"type": "boolean"}),
)
MAP_KEYS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}


def _containers(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def of_keys(value: dict[str, Any]) -> dict[str, Any]:
        item = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": value}}
        return {"type": "array", **MAP_KEYS, "items": item}

    return st.one_of(
        st.builds(
            lambda properties, required: {"type": "object", "properties": properties, "required": required},
            st.dictionaries(NAMES, inner, min_size=1),
            st.lists(NAMES, max_size=1),
        ),
        st.builds(lambda extra: {"type": "object", "additionalProperties": extra, "maxProperties": 2}, inner),
        st.builds(lambda items, most: {"type": "array", "items": items, "maxItems": most}, inner, st.integers(0, 2)),
        st.builds(lambda items: {"type": "array", "items": items, "x-kubernetes-list-type": "set"}, LEAVES),
        st.builds(of_keys, inner),
    )


SCHEMAS = st.recursive(LEAVES, _containers, max_leaves=8)


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema["type"]:
        case "string":
            return st.sampled_from(["a", "b", "c", "long"])
        case "integer":
            return st.integers(-1, 5)
        case "boolean":
            return st.booleans()
        case "array":
            if schema.get("x-kubernetes-list-type") == "map":
                values = _values(schema["items"]["properties"]["v"])
                return st.dictionaries(st.sampled_from("xyz"), values).map(
                    lambda found: [{"k": key, "v": value} for key, value in found.items()]
                )
            return st.lists(_values(schema["items"]), max_size=3)
    extra = schema.get("additionalProperties")
    if extra is not None:
        return st.dictionaries(NAMES, _values(extra), max_size=3)
    return st.fixed_dictionaries({}, optional={name: _values(entry) for name, entry in schema["properties"].items()})


@st.composite
def _cases(draw: st.DrawFn) -> tuple[dict[str, Any], Any, Any]:
    schema = draw(SCHEMAS)
    values = _values(schema)
    return schema, draw(values), draw(values)


@settings(deadline=None)
@given(_cases())
def test_what_does_not_change_is_not_judged(case: tuple[dict[str, Any], Any, Any]) -> None:
    schema, value, _ = case
    assert validate(schema, value, old=value) == []


@settings(deadline=None)
@given(_cases())
def test_a_change_has_no_faults_that_a_new_object_would_not_have(case: tuple[dict[str, Any], Any, Any]) -> None:
    schema, new, old = case
    assert set(validate(schema, new, old=old)) <= set(validate(schema, new))


@settings(deadline=None)
@given(_cases())
def test_a_write_to_an_object_that_fits_is_judged_as_a_whole(case: tuple[dict[str, Any], Any, Any]) -> None:
    schema, new, old = case
    if not validate(schema, old):
        assert set(validate(schema, new, old=old)) == set(validate(schema, new))


def test_items_of_list_maps_are_found_by_their_keys_and_other_lists_are_one_value() -> None:
    item = {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}
    keyed = {"type": "array", "items": item, **MAP_KEYS}
    old = [{"k": "x", "v": "long"}, {"k": "y", "v": "long"}]
    assert validate(keyed, old[::-1], path="l", old=old) == []
    assert [str(fault) for fault in validate(keyed, [{"k": "y", "v": "longer"}, old[0]], path="l", old=old)] == [
        "l[0].v: Too long: may not be more than 1 byte"
    ]
    plain = {"type": "array", "items": item}
    assert [fault.field for fault in validate(plain, old[::-1], path="l", old=old)] == ["l[0].v", "l[1].v"]


def test_true_is_not_one() -> None:
    schema = {"type": "integer"}
    assert validate(schema, True, path="n", old=1)
    assert validate(schema, [True], path="n", old=[1])
    assert not validate(schema, "x", path="n", old="x")


def test_duplicates_that_were_there_do_not_block() -> None:
    schema = {
        "type": "object",
        "properties": {
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "n": {"type": "integer"},
        },
    }
    assert validate(schema, {"set": ["a", "a", "b"]}, old={"set": ["a", "a"]}) == []
    assert [fault.field for fault in validate(schema, {"set": ["a", "a"]}, old={"set": ["a"]})] == ["set[1]"]
