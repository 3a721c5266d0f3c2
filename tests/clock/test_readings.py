"""Elapsed time goes on in suspend where the system has such a clock."""

from __future__ import annotations

import time

import pytest

from pyoperator.clock import SystemClock


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has a clock that counts suspend")
def test_elapsed_counts_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def clock_gettime(which: int) -> float:
        asked.append(which)
        return 4711.0

    monkeypatch.setattr(time, "clock_gettime", clock_gettime)
    assert SystemClock().elapsed() == 4711.0
    assert asked == [time.CLOCK_BOOTTIME]


def test_elsewhere_it_is_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic()
    assert before <= SystemClock().elapsed() <= time.monotonic()
