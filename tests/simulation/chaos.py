"""Ten minutes of everything that goes wrong, by a seed. Replay one: ``python -m tests.simulation.chaos SEED [--trace]``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from postgres_operator.api import Postgres
from pyoperator.client import Conflict, NotFound
from pyoperator.testing import LOCAL_NETWORK, Faults, Replica, Simulation, run_simulation
from tests.simulation import postgres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoperator.testing import Exchange

CHAOS = 330.0  # seconds of trouble
CONVERGENCE = 200.0  # seconds in which all must be well again; a watch that died silently takes up to 120 to be noticed
NOTICED = 125.0  # seconds after which each watch that died silently has been noticed, and what it kept back mended
STABILITY = 70.0  # seconds in which nobody may write any more

BAD_NETWORK = Faults(
    latency=(0.0005, 0.05),
    answer_latency=(0.0005, 0.05),
    refused=0.01,
    broken=0.01,
    lost_answer=0.03,
    half_open=0.005,
    errors=0.02,
    throttled=0.01,
    cut=0.01,
    silent=0.01,
)

# Renewals and events go on for ever, and a review changes nothing: a process that starts late asks what it may do.
_NO_WRITES = ("/apis/coordination.k8s.io/", "/apis/events.k8s.io/", "/apis/authorization.k8s.io/")


@dataclass
class Outcome:
    """What a run came to: ``faults`` is empty if it was as it must be."""

    seed: int
    faults: list[str] = field(default_factory=list)
    fingerprint: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    elections: int = 0
    starts: int = 0
    converged_after: float = 0.0
    leaderless: list[float] = field(default_factory=list)  # seconds between two holders of the Lease, each time
    seconds: float = 0.0  # of virtual time


def chaos(seed: int) -> Outcome:
    """Run one seed; each tenth has pods and volumes too, which cost most of the time."""
    return run_simulation(_scenario, postgres.build, seed=seed, simulate_workloads=_with_pods(seed), restart_after=1.5)


def _with_pods(seed: int) -> bool:
    return seed % 10 == 0


async def _scenario(simulation: Simulation) -> Outcome:
    outcome = Outcome(simulation.seed)
    if _with_pods(simulation.seed):
        await _run(simulation, outcome)
        return outcome
    async with asyncio.TaskGroup() as group:
        workloads = group.create_task(postgres.pretend_workloads(simulation))
        await _run(simulation, outcome)
        workloads.cancel()
    return outcome


async def _run(simulation: Simulation, outcome: Outcome) -> None:
    random = simulation.random
    await postgres.install(simulation)
    for replica in simulation.replicas:
        # Within the bound of the fence's guarantee: rates differ by less than lease duration / renew deadline.
        replica.clock_rate = random.uniform(0.98, 1.05)
        replica.clock_offset = random.uniform(-3600.0, 3600.0)
        replica.faults = BAD_NETWORK
    await simulation.start()
    calm = simulation.loop.time() + CHAOS
    async with asyncio.TaskGroup() as group:
        group.create_task(_users(simulation, calm))
        group.create_task(_trouble(simulation, calm))
    for replica in simulation.replicas:
        replica.faults = LOCAL_NETWORK
        replica.heal()
        replica.thaw()
        replica.start()
    for item in (await simulation.client.list(Postgres, namespace=postgres.NAMESPACE)).items:
        if not item.metadata.deletion_timestamp:
            await postgres.change(simulation, item.metadata.name, parameters={"work_mem": "16MB"})
    await _judge(simulation, outcome)
    outcome.fingerprint = simulation.fingerprint()
    outcome.exchanges = simulation.exchanges
    outcome.starts = sum(len(replica.starts) for replica in simulation.replicas)


async def _judge(simulation: Simulation, outcome: Outcome) -> None:
    calm = simulation.loop.time()
    while bad := await _unwell(simulation):
        if simulation.loop.time() > calm + CONVERGENCE:
            outcome.faults.append(f"not converged: {bad}")
            break
        await asyncio.sleep(1.0)
    outcome.converged_after = simulation.loop.time() - calm
    # A child deleted behind a dead watch is missing until that is noticed, though the object says Ready.
    await asyncio.sleep(max(5.0, calm + NOTICED - simulation.loop.time()))
    place = len(simulation.exchanges)
    await asyncio.sleep(STABILITY)
    outcome.faults += [f"write after convergence: {late}" for late in simulation.exchanges[place:] if _is_write(late)]
    verdict = await postgres.judge(simulation)
    outcome.faults += [f"foreign write: {foreign}" for foreign in verdict.foreign_writes]
    outcome.faults += [f"duplicate: {duplicate}" for duplicate in verdict.duplicate_children]
    outcome.faults += [f"not reconciled: {name}" for name in verdict.not_reconciled]
    outcome.elections = verdict.lease_transitions
    outcome.leaderless = [tenure.leaderless for tenure in verdict.tenures if tenure.leaderless is not None]
    outcome.seconds = simulation.loop.time()


def _is_write(exchange: Exchange) -> bool:
    return (
        exchange.user.startswith("replica-") and exchange.method != "GET" and not exchange.path.startswith(_NO_WRITES)
    )


async def _unwell(simulation: Simulation) -> list[str]:
    found = await postgres.unready(simulation)
    return found if simulation.leader is not None else ["nobody leads", *found]


async def _users(simulation: Simulation, until: float) -> None:
    """Create, change and delete objects, and meddle with children, over a connection of their own."""
    random, client = simulation.random, simulation.client
    known: list[str] = []
    created = 0
    while simulation.loop.time() < until:
        choice = random.random()
        try:
            if not known or (choice < 0.3 and len(known) < 5):
                # Names come back, so that a new object meets what its predecessor left behind.
                name = f"db-{created % 7}"
                created += 1
                if name not in known:
                    known.append(name)
                    await client.create(postgres.postgres(name, instances=random.randint(1, 2)))
            elif choice < 0.75:
                name = random.choice(known)
                await postgres.change(
                    simulation,
                    name,
                    instances=random.randint(1, 3),
                    parameters={"work_mem": f"{random.randint(1, 9)}MB"},
                )
            elif choice < 0.87:
                name = random.choice(known)
                known.remove(name)
                await client.delete(Postgres, postgres.key(name))
            else:
                kind, suffix = random.choice(postgres.REPAIRABLE)
                await client.delete(kind, postgres.key(f"{random.choice(known)}{suffix}"))
        except (Conflict, NotFound):
            # AlreadyExists is a Conflict too: the predecessor is not gone yet. People try again later, or not.
            pass
        await asyncio.sleep(random.expovariate(1 / 6))


async def _trouble(simulation: Simulation, until: float) -> None:
    random = simulation.random
    while simulation.loop.time() < until:
        await asyncio.sleep(random.expovariate(1 / 12))
        # The leader is where it hurts.
        victim = simulation.leader if random.random() < 0.6 else None
        await _strike(simulation, victim or random.choice(simulation.replicas))
        for replica in simulation.replicas:
            if not replica.running and random.random() < 0.7:
                replica.start()


async def _strike(simulation: Simulation, victim: Replica) -> None:
    random = simulation.random
    kind = random.choice(("crash", "terminate", "partition", "freeze", "watches", "storm", "hang up"))
    if kind == "crash":
        await victim.crash()
    elif kind == "terminate":
        victim.terminate()
    elif kind == "partition":
        victim.partition()
        await asyncio.sleep(random.choice((0.5, 4.0, 9.5, 16.0, 40.0)))
        victim.heal()
    elif kind == "freeze":
        victim.freeze()
        await asyncio.sleep(random.choice((0.5, 4.0, 9.5, 16.0, 40.0)))
        victim.thaw()
    elif kind == "watches":
        simulation.server.store.close_watchers()
    elif kind == "storm":
        quiet = victim.faults
        victim.faults = Faults(latency=(0.01, 1.0), errors=0.5, lost_answer=0.3, cut=0.2)
        await asyncio.sleep(random.uniform(1.0, 15.0))
        victim.faults = quiet
    else:
        # The server forgets its history: every watch that comes back is told 410.
        simulation.server.store.close_watchers()
        simulation.server.store.compact(simulation.server.store.revision)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one seed and print its fingerprint and faults; ``--trace`` prints every exchange."""
    parser = argparse.ArgumentParser(description="Run one seed of the chaos simulation.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--trace", action="store_true", help="print every exchange with the server")
    parser.add_argument("--log", action="store_true", help="print what the replicas log")
    options = parser.parse_args(arguments)
    if not options.log:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    outcome = chaos(options.seed)
    if options.trace:
        for exchange in outcome.exchanges:
            print(*exchange)
    for fault in outcome.faults:
        print(fault)
    print(
        f"seed={outcome.seed} starts={outcome.starts} elections={outcome.elections} "
        f"exchanges={len(outcome.exchanges)} converged_after={outcome.converged_after:.1f}"
    )
    print(outcome.fingerprint)
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
