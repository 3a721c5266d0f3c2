"""Many seeded histories: never two effective writers within the bound, always one in the end, and beyond it, seen."""

from __future__ import annotations

import pytest

from tests.leaderelection.simulation import Conditions, leading, simulate


@pytest.mark.parametrize("edits", [False, True])
@pytest.mark.parametrize("candidates", [1, 2, 3, 5])
def test_histories_within_the_bound(candidates: int, edits: bool) -> None:
    # Skew 1.1: a message may take up to 15 / 1.1 - 10 = 3.6 s.
    conditions = Conditions(candidates=candidates, max_delay=3.5, skew=1.1, edits=edits)
    writes = changes = 0
    for seed in range(50):
        verdict, world = simulate(seed * 10 + candidates, conditions)
        assert verdict.foreign == [], seed
        assert verdict.early == [], seed
        assert len(leading(world)) == 1, seed
        assert verdict.leaders_at_end == 1, seed
        assert verdict.late_writers, seed
        writes += verdict.writes
        changes += verdict.changes
    assert writes > 1000
    assert changes > 12


def test_the_judge_sees_violations_beyond_the_bound() -> None:
    # Messages of up to 14 s break what the lease promises: writes sent in time arrive too late.
    conditions = Conditions(candidates=3, max_delay=14.0, skew=1.1)
    assert any(simulate(seed, conditions)[0].foreign for seed in range(60))


def test_a_history_is_reproducible() -> None:
    conditions = Conditions(candidates=3, edits=True)
    first, one = simulate(7, conditions)
    second, two = simulate(7, conditions)
    assert first == second
    assert one.server.log == two.server.log
