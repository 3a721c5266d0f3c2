"""The memory gate: what it lets pass, and that it measures what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks._memory_gate import judge, key, measure, record, recorded_peak

if TYPE_CHECKING:
    from pathlib import Path


def test_it_fails_above_and_passes_at_the_limit() -> None:
    assert judge(110.0, 100.0, "x").code == 0
    failed = judge(110.2, 100.0, "x")
    assert failed.code == 1
    assert "at most 110.0" in failed.text
    assert judge(80.0, 100.0, "x").code == 0


def test_it_says_that_it_could_not_judge() -> None:
    judgement = judge(80.0, None, "CPython 3.99")
    assert judgement.code == 3
    assert "--record" in judgement.text


def test_a_peak_is_recorded_beside_others(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    assert recorded_peak("a", folder) is None
    record("a", 91.26, folder)
    record("b", 50.0, folder)
    record("b", 51.0, folder)
    assert recorded_peak("a", folder) == 91.3
    assert recorded_peak("b", folder) == 51.0
    assert recorded_peak(key(), folder) is None


@pytest.mark.e2e
async def test_updates_and_a_new_list_are_gone_through() -> None:
    line = await measure(40, 20)
    assert line.number("n") == 40
    assert line.number("updates") == 20
    assert 0 < line.number("rss_mb") <= line.number("peak_mb")
