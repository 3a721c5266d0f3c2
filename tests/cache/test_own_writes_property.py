"""Reads through the cache against a history of the server, in any order of things."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cache.own_writes_history import faults_of


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_every_read_is_at_least_as_new_as_the_own_writes_before_it(seed: int) -> None:
    assert faults_of(seed) == []


@pytest.mark.parametrize("seed", [1602, 7344, 13754])
def test_an_object_that_left_a_selection_and_came_back_is_not_shown_after_its_deletion(seed: int) -> None:
    assert faults_of(seed, collections=False) == []
