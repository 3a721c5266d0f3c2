"""Every fault at once, for ten minutes: the cache ends equal to the server, and told a legal history on the way.

``scripts/storm --seeds 1-50`` does the same for many seeds, with more changes, and prints a report.
"""

from __future__ import annotations

import pytest

from tests.simulation.storm import run_storm
from tests.simulation.storm_phases import PHASES

# Fewer objects and changes than the command has: this costs a second of CPU each. The ten minutes are the same.
RATE = 2.0
NAMES = 5


@pytest.mark.parametrize("seed", [1, 2])
def test_storm(seed: int) -> None:
    outcome = run_storm(seed, rate=RATE, names=NAMES)
    assert outcome.violations == [], f"see it with: scripts/storm --seeds {seed} --rate {RATE} --names {NAMES}"
    assert [phase.name for phase in outcome.phases] == [*(phase.name for phase in PHASES), "quiet"]
    injected = {name for phase in outcome.phases for name in phase.injected}
    assert len(injected) > 15
    assert outcome.changes > 800
    assert outcome.unknown_final_states > 20


def test_a_seed_repeats_itself() -> None:
    first, second, other = (run_storm(seed, rate=RATE, names=NAMES, duration=100.0) for seed in (3, 3, 4))
    assert first == second
    assert first.digest != other.digest
