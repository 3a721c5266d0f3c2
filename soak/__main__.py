"""``python -m soak``: see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from pyoperator.testing.lab._errors import LabError
from soak._report import picture, section, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soak._judge import Part

_ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 if a bound was broken, 2 if nothing could be run."""
    options = _parser().parse_args(arguments)
    # The faults are many, and each is logged by whoever meets it; what matters is told at the end.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parts: list[Part] = []
    try:
        if options.part != "real":
            parts.append(_virtual(options))
        if options.part != "virtual":
            parts.append(_real(options))
    except LabError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    options.report.mkdir(parents=True, exist_ok=True)
    for part in parts:
        (options.report / f"soak-{part.name}.svg").write_text(picture(part), "utf-8")
    (options.report / "soak.md").write_text(section(parts), "utf-8")
    for violation in (violation for part in parts for violation in part.violations):
        _tell(f"VIOLATION: {violation}")
    _tell(f"report: {options.report / 'soak.md'}")
    told = summary(parts)
    _tell(json.dumps(told))
    return 0 if told["passed"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description="Let an operator work under faults for long, and look whether it has kept its size, its tasks and "
        "connections, and its objects. Exits with 1 and names what was broken if a bound was.",
    )
    parser.add_argument("--part", choices=("virtual", "real"), help="only this one; without it both, one by one")
    parser.add_argument("--minutes", type=float, default=15.0, help="real: under load; %(default)s")
    parser.add_argument("--rate", type=float, default=50.0, help="real: changes a second; %(default)s")
    parser.add_argument("--hours", type=float, default=24.0, help="virtual: of virtual time; %(default)s")
    parser.add_argument("--updates", type=int, default=1_000_000, help="virtual: changes; %(default)s")
    parser.add_argument("--objects", type=int, default=2000, help="%(default)s")
    parser.add_argument("--seed", type=int, default=1, help="order and details of changes and faults; %(default)s")
    parser.add_argument("--report", type=Path, default=_ROOT / ".run" / "soak", help="folder for it; %(default)s")
    parser.add_argument("--keep", type=Path, help="real: keep the processes' logs in this folder")
    return parser


def _virtual(options: argparse.Namespace) -> Part:
    from soak._virtual import VirtualPlan, run_virtual

    plan = VirtualPlan(hours=options.hours, updates=options.updates, objects=options.objects, seed=options.seed)
    _tell(f"virtual: {plan.hours:g} hours, {plan.updates:,} changes, {plan.objects:,} objects, seed {plan.seed}")
    return run_virtual(plan, _tell)


def _real(options: argparse.Namespace) -> Part:
    from soak._real import RealPlan, run_real

    plan = RealPlan(minutes=options.minutes, objects=options.objects, rate=options.rate, seed=options.seed)
    _tell(f"real: {plan.minutes:g} minutes, {plan.rate:g} changes/s, {plan.objects:,} objects, seed {plan.seed}")
    return asyncio.run(run_real(plan, _tell, keep=options.keep))


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
