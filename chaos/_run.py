"""One run: faults in an order that the seed gives, under load, and the verdict."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import TYPE_CHECKING

from chaos._fault_parts import FaultFailed
from chaos._faults import FAULTS, Fault
from chaos._result import Act, Run, Term
from chaos._stage import alongside
from pyoperator.client import ApiError, TransportError
from pyoperator.testing._audit_lines import writes_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos._stage import Stage
    from pyoperator.testing._judge import Verdict

_START_WITHIN = 60.0
_WARM_UP = 2.0
_EXPECTED = frozenset({0, 3})
"""Exit codes of a replica that no fault was aimed at: stopped in order, leadership lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: ``only`` these faults (all if empty), ``times`` each (their own numbers if None)."""

    seed: int = 1
    minutes: float = 15.0
    only: tuple[str, ...] = ()
    times: int | None = None

    def order(self, server: str, *, can_restart: bool) -> list[Fault]:
        """Return the faults in this run's order: the same for the same seed."""
        faults: list[Fault] = []
        for fault in FAULTS:
            if (self.only and fault.name not in self.only) or (fault.name == "server-restarted" and not can_restart):
                continue
            times = fault.embedded if server == "embedded" else fault.real
            if self.times is not None:
                times = min(times, self.times) if not self.only or server != "embedded" else self.times
            faults += [fault] * times
        random = Random(self.seed)  # noqa: S311  # chance, not secrecy
        random.shuffle(faults)
        # Dead watches are noticed after minutes: what comes of them must come before the end.
        late = [fault for fault in faults if fault.name == "watches-dead"]
        rest = [fault for fault in faults if fault.name != "watches-dead"]
        return [*rest[: len(rest) // 4], *late, *rest[len(rest) // 4 :]]


async def run_faults(stage: Stage, plan: Plan, replicas: int, tell: Callable[[str], None]) -> Run:
    """Do everything and return what came of it; the stage's replicas are stopped then."""
    scale = stage.scale
    began = stage.now
    run = Run(
        server=stage.server.name,
        seed=plan.seed,
        replicas=replicas,
        databases=stage.load.count,
        lease=(scale.lease_duration, scale.renew_deadline, scale.retry_period),
        rate=stage.load.rate,
        began=began,
        seconds=0.0,
    )
    await stage.fleet.scale(replicas)
    if not await stage.well(_START_WITHIN):
        run.acts.append(Act("start", 0.0, stage.now - began, problem=f"no leader, or not all ready: {stage.fleet!r}"))
    if not await stage.settle():
        run.acts.append(Act("start", 0.0, stage.now - began, problem="not all databases became ready"))
    stage.load.paused = False
    await alongside(stage, _do_all(stage, plan, run, tell))
    act = Act("settle", stage.now - began, 0.0)
    if not await stage.settle():
        act.problem = "not every database was ready at its last generation in time"
    act.end = stage.now - began
    run.acts.append(act)
    tell(f"{act.end:7.1f} s  settled after {act.end - act.start:.1f} s {act.problem}")
    await stage.fleet.stop()
    run.seconds = stage.now - began
    _note(run, stage, await stage.judge())
    return run


async def _do_all(stage: Stage, plan: Plan, run: Run, tell: Callable[[str], None]) -> None:
    await asyncio.sleep(_WARM_UP)
    order = plan.order(stage.server.name, can_restart=stage.server.can_restart)
    random = Random(plan.seed)  # noqa: S311  # chance, not secrecy
    for number, fault in enumerate(order):
        if stage.now - run.began > 60.0 * plan.minutes:
            run.skipped = [skipped.name for skipped in order[number:]]
            tell(f"{stage.now - run.began:7.1f} s  time is up, {len(run.skipped)} faults were not reached")
            return
        act = await _do(stage, fault, random, run.began)
        run.acts.append(act)
        tell(
            f"{act.start:7.1f} s  {number + 1}/{len(order)} {fault.name} ({act.end - act.start:.1f} s): {act.note}"
            + (f" PROBLEM: {act.problem}" if act.problem else "")
        )


async def _do(stage: Stage, fault: Fault, random: Random, began: float) -> Act:
    act = Act(fault.name, stage.now - began, 0.0)
    try:
        act.note = await fault.act(stage, random)
        if not await stage.well(fault.recover, fault.ready):
            act.problem = f"not well again within {fault.recover:.0f} s: {stage.fleet!r}, holder {stage.holder!r}"
    except (FaultFailed, ApiError, TransportError) as error:
        act.problem = str(error)
        await stage.well(fault.recover, fault.ready)
    act.end = stage.now - began
    return act


def _note(run: Run, stage: Stage, verdict: Verdict) -> None:
    names = {member.user: member.name for member in stage.fleet.members}
    run.terms = [
        Term(
            one.start - run.began,
            one.end - run.began,
            names.get(one.user, one.user),
            one.how,
            one.leaderless,
            one.silence,
            _during(run.acts, one.end - run.began),
        )
        for one in verdict.tenures
    ]
    seconds = int(run.seconds) + 1
    made = Counter(int(second - run.began) for second in stage.load.per_second.elements())
    run.changes = [made[second] for second in range(seconds)]
    written = Counter(
        int(write.received - run.began)
        for event in stage.events()
        for write in writes_in((event,))
        if write.user in names and not write.exempt
    )
    run.writes = [written[second] for second in range(seconds)]
    run.changes_failed = stage.load.failed
    under_load = [count for count in run.changes if count]
    run.changes_median = float(median(under_load)) if under_load else 0.0
    run.gap_ms, run.first_write_ms = list(verdict.gap_ms), list(verdict.first_write_ms)
    run.sigterm_ms = list(verdict.sigterm_ms.values())
    # Objects that vanished are lost, too, and nobody asked for a deletion.
    run.expected = max(verdict.expected, stage.load.count)
    run.reconciled = verdict.reconciled
    run.foreign = [str(one) for one in verdict.foreign_writes]
    run.lost = list(verdict.not_reconciled) + ["a database vanished"] * (run.expected - verdict.expected)
    run.duplicates = list(verdict.duplicate_children)
    run.in_flight = sum(one.why == "in flight" for one in verdict.overlaps)
    run.after_edit = sum(one.why == "edited by hand" for one in verdict.overlaps)
    run.exits = dict(Counter(str(member.process.code) for member in stage.fleet.members))
    run.crashed = [
        f"{member.name}: exit code {member.process.code}: {member.process.last_line()}"
        for member in stage.fleet.members
        if member.process.code not in _EXPECTED
        and not member.meddled
        # Who is told to stop before it can listen for that ends as every program does.
        and (member.became_ready.is_set() or member.process.code != -signal.SIGTERM)
    ]


def _during(acts: Sequence[Act], moment: float) -> str:
    # A term that expires ends with its last renewal, a moment before the fault that ended it.
    return next((act.name for act in reversed(acts) if act.start - 1.0 <= moment <= act.end), "")
