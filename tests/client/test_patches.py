from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyoperator.client import MergePatch, merge_patch_between

SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.text(max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.one_of(st.none(), inner), max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply_merge_patch(result.get(name), value)
    return result


def typed(value: Any) -> Any:
    """Make True and 1 differ."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return (type(value).__name__, value)


@given(DOCUMENTS, DOCUMENTS)
def test_applying_the_difference_gives_the_new_document(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = copy.deepcopy((old, new))
    patch = merge_patch_between(old, new)
    assert (old, new) == before
    assert typed(apply_merge_patch(old, patch or {})) == typed(new)
    assert (patch is None) == (typed(old) == typed(new))


def test_null_means_absent() -> None:
    assert merge_patch_between({"a": None}, {}) is None
    assert merge_patch_between({}, {"a": {"b": None}}) == {"a": {}}
    assert merge_patch_between({"a": 1}, {"a": None}) == {"a": None}


def test_true_is_not_one() -> None:
    assert merge_patch_between({"a": 1}, {"a": True}) == {"a": True}
    assert merge_patch_between({"a": [1, {"b": 0}]}, {"a": [1, {"b": False}]}) is not None
    assert merge_patch_between({"a": 1}, {"a": 1.0}) is None


def test_reprs_name_fields_only() -> None:
    patch = MergePatch({"data": {"password": "hunter2"}}).with_optimistic_lock("1")
    assert "hunter2" not in repr(patch)
    assert patch.has_precondition
