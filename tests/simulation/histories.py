"""Run many seeded histories, of elections and of whole stacks, and report what became of them; see ``scripts/simulate``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from tests.simulation.elections import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

_CHUNK = 250
_SHOWN = 20  # failing seeds whose violations are printed


@dataclass
class Report:
    """Sums over histories of one sort; ``failures`` by seed."""

    histories: int = 0
    seconds: float = 0.0  # of virtual time
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        self.histories += other.histories
        self.seconds += other.seconds
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for name, values in other.samples.items():
            self.samples.setdefault(name, []).extend(values)
        self.failures.update(other.failures)

    def summary(self) -> dict[str, Any]:
        return {
            "histories": self.histories,
            "virtual_hours": round(self.seconds / 3600, 1),
            **self.counts,
            **{name: _distribution(values) for name, values in self.samples.items()},
            "failing_seeds": sorted(self.failures),
        }


def elections(seeds: Sequence[int]) -> Report:
    """Run histories of the elector's core."""
    report = Report()
    for seed in seeds:
        report.histories += 1
        try:
            history = simulate(seed)
        except Exception:
            report.failures[seed] = [traceback.format_exc()]
            continue
        tally = history.tally
        report.seconds += history.seconds
        _count(report, steps=history.steps, commits=tally.commits, acquisitions=tally.acquisitions)
        _count(report, changes_of_leader=tally.changes, releases=tally.releases)
        for name, values in (
            ("leaderless_leases", tally.leaderless),
            ("release_to_acquisition_s", tally.handovers),
            ("calm_to_leader_leases", [tally.calm_until_leader]),
        ):
            # Three digits tell enough, and a hundred thousand histories have a million values.
            report.samples.setdefault(name, []).extend(round(value, 3) for value in values)
        if history.violations:
            report.failures[seed] = history.violations
    return report


def full_stacks(seeds: Sequence[int]) -> Report:
    """Run histories of replicas, with their caches and controllers, against the embedded API server."""
    from tests.simulation.chaos import chaos  # all the rooms together: the core's histories need none of it

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    report = Report()
    for seed in seeds:
        report.histories += 1
        try:
            outcome = chaos(seed)
        except Exception:
            report.failures[seed] = [traceback.format_exc()]
            continue
        report.seconds += outcome.seconds
        _count(report, changes_of_leader=outcome.elections, starts=outcome.starts, exchanges=len(outcome.exchanges))
        report.samples.setdefault("leaderless_s", []).extend(outcome.leaderless)
        report.samples.setdefault("converged_after_s", []).append(outcome.converged_after)
        if outcome.faults:
            report.failures[seed] = outcome.faults
    return report


def _count(report: Report, **counts: int) -> None:
    for name, count in counts.items():
        report.counts[name] = report.counts.get(name, 0) + count


def _distribution(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "n": len(ordered),
        **{f"p{share}": round(ordered[(len(ordered) - 1) * share // 100], 3) for share in (50, 90, 99)},
        "max": round(ordered[-1], 3),
    }


def run(
    work: Callable[[Sequence[int]], Report], seeds: range, jobs: int, *, chunk: int = _CHUNK, name: str = ""
) -> Report:
    """Spread seeds over processes; a progress line on standard error."""
    report = Report()
    chunks = [seeds[place : place + chunk] for place in range(0, len(seeds), chunk)]
    started = time.monotonic()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: list[Future[Report]] = [pool.submit(work, part) for part in chunks]
        for done in as_completed(running):
            part = done.result()
            report.add(part)
            for seed in part.failures:
                print(f"\n{name}: seed {seed} fails", file=sys.stderr)
            print(
                f"\r{name}: {report.histories}/{len(seeds)} in {time.monotonic() - started:.0f} s, "
                f"{len(report.failures)} failing ",
                end="",
                file=sys.stderr,
                flush=True,
            )
    print(file=sys.stderr)
    return report


def replay(seed: int, *, verbose: bool, beyond: str) -> int:
    """Run one history of the elector's core, and print it."""
    history = simulate(seed, beyond, print if verbose else None)  # type: ignore[arg-type]  # argparse checked the choice
    print(f"seed {seed}: {history.conditions}")
    print(
        f"{history.steps} steps, {history.seconds:.1f} s, {history.tally.commits} commits, {history.tally.changes} leaders"
    )
    for violation in history.violations:
        print(violation)
    return 1 if history.violations else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run histories, or replay one; 0 if none failed."""
    parser = argparse.ArgumentParser(prog="simulate", description="Simulate elections and whole stacks by seeds.")
    parser.add_argument("--histories", type=int, default=2000, help="of the elector's core (default: 2000)")
    parser.add_argument(
        "--full-stack", type=int, default=0, help="of replicas with caches and controllers (default: 0)"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="the others follow (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--report", help="write the report there too, as JSON")
    parser.add_argument("--seed", type=int, help="replay this one history of the core instead")
    parser.add_argument("--verbose", action="store_true", help="with --seed: print every step")
    parser.add_argument("--beyond", choices=("", "skew", "delay"), default="", help="with --seed: leave the bound")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return replay(options.seed, verbose=options.verbose, beyond=options.beyond)
    reports = {}
    first = options.first_seed
    if options.histories:
        reports["core"] = run(elections, range(first, first + options.histories), options.jobs, name="core")
    if options.full_stack:
        seeds = range(first, first + options.full_stack)
        reports["full stack"] = run(full_stacks, seeds, options.jobs, chunk=1, name="full stack")
    summary = {name: {"first_seed": first, **report.summary()} for name, report in reports.items()}
    print(json.dumps(summary, indent=2))
    if options.report:
        with open(options.report, "w", encoding="utf-8") as file:
            json.dump(summary, file, indent=2)
    for name, report in reports.items():
        replay_with = "scripts/simulate --verbose --seed" if name == "core" else "python -m tests.simulation.chaos"
        for seed, violations in sorted(report.failures.items())[:_SHOWN]:
            print(f"{name} seed {seed} (replay: {replay_with} {seed}):", *violations[:5], sep="\n  ")
    return 1 if any(report.failures for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
