"""Conditions, finalizers, owner references, quantities and timestamps."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.objects import (
    AlreadyOwnedError,
    Condition,
    GroupVersionKind,
    Quantity,
    Unstructured,
    add_finalizer,
    controller_of,
    find_condition,
    format_micro_time,
    format_time,
    has_finalizer,
    is_condition_true,
    is_owned_by,
    parse_time,
    remove_finalizer,
    set_condition,
    set_controller_reference,
    set_owner_reference,
)

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


def _object(name: str, uid: str = "", namespace: str = "n") -> Unstructured:
    obj = Unstructured.new(CONFIG_MAP, name, namespace)
    if uid:
        obj.metadata["uid"] = uid
    return obj


def test_transition_time_moves_with_the_status_only() -> None:
    conditions: list[Condition] = []
    assert set_condition(conditions, Condition(type="Ready", status="False", reason="Starting"), now=0.0)
    assert set_condition(conditions, Condition(type="Ready", status="False", reason="Waiting"), now=60.0)
    assert conditions[0].last_transition_time == "1970-01-01T00:00:00Z"
    assert conditions[0].reason == "Waiting"
    assert set_condition(conditions, Condition(type="Ready", status="True", reason="Up"), now=90.0)
    assert conditions[0].last_transition_time == "1970-01-01T00:01:30Z"
    assert not set_condition(conditions, Condition(type="Ready", status="True", reason="Up"), now=120.0)
    assert is_condition_true(conditions, "Ready")
    assert find_condition(conditions, "Other") is None


def test_finalizers_are_added_and_removed_once() -> None:
    obj = _object("a")
    assert add_finalizer(obj, "x/y")
    assert not add_finalizer(obj, "x/y")
    assert has_finalizer(obj, "x/y")
    assert remove_finalizer(obj, "x/y")
    assert not remove_finalizer(obj, "x/y")


def test_an_object_has_one_controller() -> None:
    first, second, child = _object("first", "1"), _object("second", "2"), _object("child")
    set_controller_reference(first, child)
    set_controller_reference(first, child)
    assert len(child.metadata["ownerReferences"]) == 1
    assert controller_of(child) is not None
    with pytest.raises(AlreadyOwnedError, match="first"):
        set_controller_reference(second, child)
    set_owner_reference(second, child)
    assert is_owned_by(child, second)
    assert len(child.metadata["ownerReferences"]) == 2


def test_owners_must_exist_and_live_beside_what_they_own() -> None:
    with pytest.raises(ValueError, match="no uid"):
        set_controller_reference(_object("a"), _object("b"))
    with pytest.raises(ValueError, match="own namespace"):
        set_controller_reference(_object("a", "1", "here"), _object("b", namespace="there"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("100m", "0.1"),
        ("1Gi", 2**30),
        ("1.5Gi", 3 * 2**29),
        ("2e3", 2000),
        ("1k", 1000),
        (".5", "0.5"),
        ("-1Ki", -1024),
    ],
)
def test_quantities(text: str, value: int | str) -> None:
    assert Quantity(text).value == Decimal(value)
    assert str(Quantity(text)) == text


@pytest.mark.parametrize("text", ["", "x", "1GiB", "1 Gi", "--1", "1e", "Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        Quantity(text)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_quantities_compare_by_value(left: int, right: int) -> None:
    assert (Quantity(f"{left}Ki") < Quantity(f"{right}Ki")) == (left < right)
    assert Quantity(f"{left}k") == Quantity(left * 1000)
    assert hash(Quantity(f"{left}k")) == hash(Quantity(left * 1000))


@given(st.integers(0, 4_000_000_000_000_000))
def test_micro_times_survive_a_round_trip(microseconds: int) -> None:
    text = format_micro_time(microseconds / 1e6)
    assert parse_time(text) == pytest.approx(microseconds / 1e6, abs=1e-6)
    assert text.endswith("Z")


def test_times() -> None:
    assert format_time(1.9) == "1970-01-01T00:00:01Z"
    with pytest.raises(ValueError, match="time zone"):
        parse_time("2026-01-01T00:00:00")
