"""Three replicas, ten databases, faults, a crash and a hand-over: prints every exchange and a hash of the final store."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import structlog

from pyoperator.testing import Faults, Simulation, run_simulation
from tests.simulation import postgres

if TYPE_CHECKING:
    from collections.abc import Sequence

NETWORK = Faults(
    latency=(0.0005, 0.02), answer_latency=(0.0005, 0.02), errors=0.03, lost_answer=0.03, refused=0.02, cut=0.02
)


def ten_objects(seed: int) -> list[str]:
    """Return the exchanges, one a line, and last the fingerprint."""
    return run_simulation(_scenario, postgres.build, seed=seed, simulate_workloads=True)


async def _scenario(simulation: Simulation) -> list[str]:
    await postgres.install(simulation)
    for replica in simulation.replicas:
        replica.faults = NETWORK
    first = await simulation.start()
    for number in range(5):
        await simulation.client.create(postgres.postgres(f"db-{number}", instances=2))
    await first.crash()
    second = await simulation.elected(other_than=first)
    first.start()
    for number in range(5, 10):
        await simulation.client.create(postgres.postgres(f"db-{number}"))
    await asyncio.sleep(0.5)
    second.terminate()
    await simulation.elected(other_than=second)
    await asyncio.sleep(120)
    assert await postgres.unready(simulation) == []
    return [*(" ".join(map(str, exchange)) for exchange in simulation.exchanges), simulation.fingerprint()]


def main(arguments: Sequence[str]) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    print("\n".join(ten_objects(int(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
