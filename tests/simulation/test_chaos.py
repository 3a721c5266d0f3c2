"""Random trouble, then quiet: everything converges, once, by the leader's hand, and then nobody writes any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from tests.simulation.chaos import chaos

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Log nothing: formatting thousands of tracebacks would take longer than what they tell of."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("seed", range(1, 21))
def test_chaos(seed: int) -> None:
    outcome = chaos(seed)
    assert outcome.faults == [], f"replay it: python -m tests.simulation.chaos {seed} --log"
    assert outcome.starts > 5
    assert outcome.elections >= 2
