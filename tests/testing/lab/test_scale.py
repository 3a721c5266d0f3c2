"""Durations and sizes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.testing.lab import LabError, Scale, parse_duration
from pyoperator.testing.lab._scale import format_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("4", 4), ("0.5", 0.5), ("4s", 4), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("1.5s", 1.5)]
)
def test_durations_are_bare_seconds_or_have_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "4x", "4 s", "-4", "4s5", "1m30", "four", "4,5s", "٤s"])
def test_what_is_no_duration_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as|needs its unit"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= 0


@given(st.integers(0, 10**7))
def test_what_is_written_is_read_again(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("numbers", "teaches"),
    [
        ({"replicas": 0}, "at least 1"),
        ({"objects": -1}, "0 or more"),
        ({"lease_duration": 5.0}, "must be greater than renew deadline"),
        ({"lease_duration": 15.5}, "whole number of seconds"),
        ({"renew_deadline": 2.0}, "retry period"),
        ({"retry_period": 0.0}, "above zero"),
    ],
)
def test_a_scale_that_no_elector_takes_is_refused(numbers: dict[str, float], teaches: str) -> None:
    with pytest.raises(LabError, match=teaches):
        Scale(**numbers)  # type: ignore[arg-type]
