"""``python -m chaos``: see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chaos._faults import FAULTS
from chaos._result import Results
from chaos._run import Plan, run_faults
from chaos._servers import Real
from chaos._stage import open_stage
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._project import Project
from pyoperator.testing.lab._scale import Scale, parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = Path(__file__).parents[1]
PROJECT = _ROOT / "examples" / "postgres-operator" / "lab.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code: 1 if a guarantee was broken, 2 if nothing could be run."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_main(options))
    except (LabError, FileNotFoundError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Break replicas of the postgres-operator, each way that docs/high-availability.md names, and judge "
        "them by the API server's audit log. The embedded server is started here; a real one is the one of "
        "PYOPERATOR_REAL_KUBECONFIG, whose audit log PYOPERATOR_REAL_AUDIT_LOG names (audit.log beside the kubeconfig).",
        epilog=f"faults: {', '.join(fault.name for fault in FAULTS)}",
    )
    parser.add_argument(
        "--parts",
        default="embedded,real,targets,peer,report",
        help="what to do, comma-separated; real and peer are left out where they are missing; %(default)s",
    )
    parser.add_argument("--seed", type=int, default=1, help="order and details of the faults; %(default)s")
    parser.add_argument("--minutes", type=float, default=13.0, help="end the embedded part after that; %(default)s")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="only this fault, repeatable")
    parser.add_argument("--times", type=int, help="each fault at most that often; with --only, exactly")
    parser.add_argument("--replicas", type=int, default=3, help="%(default)s")
    parser.add_argument("--databases", type=int, default=20, help="%(default)s")
    parser.add_argument("--rate", type=float, default=110.0, help="changes a second; %(default)s")
    parser.add_argument("--lease", default="3s/2s/500ms", help="duration/renew deadline/retry period; %(default)s")
    parser.add_argument("--hand-overs", type=int, default=200, help="targets: graceful ones; %(default)s")
    parser.add_argument("--rolls", type=int, default=10, help="targets: rolling updates; %(default)s")
    parser.add_argument("--crashes", type=int, default=10, help="targets: %(default)s")
    parser.add_argument("--peer", type=Path, help="program of controller-runtime's side (mode elect)")
    parser.add_argument("--results", type=Path, default=_ROOT / ".run" / "chaos.json", help="%(default)s")
    parser.add_argument("--report", type=Path, default=_ROOT / "docs" / "ha-report.md", help="%(default)s")
    parser.add_argument(
        "--python",
        type=Path,
        help="targets: the replicas' interpreter, with nothing but the operator's runtime dependencies, as deployed",
    )
    parser.add_argument("--keep", type=Path, help="keep the embedded run's logs in this new folder")
    return parser


async def _main(options: argparse.Namespace) -> int:
    parts = [part for part in options.parts.split(",") if part]
    # What is not measured again stays as it was: the parts can be run one by one.
    results = Results.read(options.results) if options.results.exists() else Results()
    await asyncio.to_thread(options.results.parent.mkdir, parents=True, exist_ok=True)
    results.machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    kubeconfig = os.environ.get("PYOPERATOR_REAL_KUBECONFIG", "")
    for part in parts:
        if part == "embedded":
            await _faults(options, results, None)
        elif part == "real" and kubeconfig:
            await _faults(options, results, kubeconfig)
        elif part == "targets":
            await _targets(options, results)
        elif part == "peer" and options.peer is not None and kubeconfig:
            await _peer(options, results, kubeconfig)
        elif part == "report":
            from chaos._report import write_report

            write_report(results, options.report)
            _tell(f"report: {options.report}")
        elif part not in {"real", "peer"}:
            raise LabError(f"there is no part {part!r}: embedded, real, targets, peer, report")
        else:
            _tell(f"!!! NOT RUN: {part}: it needs PYOPERATOR_REAL_KUBECONFIG{' and --peer' * (part == 'peer')}")
        results.write(options.results)
    for run in results.runs:
        for violation in run.violations:
            _tell(f"VIOLATION ({run.server}): {violation}")
    _tell("clean: nothing lost, duplicated or foreign" if results.clean else "NOT clean")
    return 0 if results.clean else 1


async def _faults(options: argparse.Namespace, results: Results, kubeconfig: str | None) -> None:
    plan = Plan(options.seed, options.minutes, tuple(options.only), options.times)
    unknown = set(plan.only) - {fault.name for fault in FAULTS}
    if unknown:
        raise LabError(f"there is no fault {', '.join(sorted(unknown))}: see --help")
    server = None
    if kubeconfig:
        audit = os.environ.get("PYOPERATOR_REAL_AUDIT_LOG") or Path(kubeconfig).with_name("audit.log")
        command = os.environ.get("PYOPERATOR_REAL_RESTART", "")
        server = lambda folder: Real(Path(kubeconfig), Path(audit), command)  # noqa: E731  # a factory of one line
    _tell(f"faults on the {'real' if server else 'embedded'} server, seed {plan.seed}")
    async with open_stage(
        Project.read(PROJECT),
        _scale(options),
        server=server,
        databases=options.databases,
        rate=options.rate,
        keep=None if server else options.keep,
    ) as stage:
        run = await run_faults(stage, plan, options.replicas, _tell)
    results.runs = [one for one in results.runs if one.server != run.server] + [run]
    _tell(
        f"{run.server}: {len(run.acts)} acts in {run.seconds:.0f} s, {run.changes_median:.0f} changes/s, "
        f"{len(run.terms)} terms, {len(run.foreign)} foreign writes, {run.expected - run.reconciled} lost, "
        f"{len(run.duplicates)} duplicates, exits {run.exits}"
    )


async def _targets(options: argparse.Namespace, results: Results) -> None:
    from chaos._targets import measure

    _tell("targets on the embedded server")
    async with open_stage(
        Project.read(PROJECT),
        _scale(options),
        databases=options.databases,
        rate=options.rate,
        linked=False,
        program=_program(options.python),
    ) as stage:
        results.targets = await measure(
            stage,
            hand_overs=options.hand_overs,
            crashes=options.crashes,
            rolls=options.rolls,
            replicas=options.replicas,
            tell=_tell,
        )


def _program(python: Path | None) -> list[str] | None:
    if python is None:
        return None
    path = f"{_ROOT}{os.pathsep}{PROJECT.parent}"
    return ["/usr/bin/env", f"PYTHONPATH={path}", str(python.absolute()), "-m", "postgres_operator.main"]


async def _peer(options: argparse.Namespace, results: Results, kubeconfig: str) -> None:
    from chaos._peer import measure

    _tell(f"peer: {options.peer}")
    audit = os.environ.get("PYOPERATOR_REAL_AUDIT_LOG") or Path(kubeconfig).with_name("audit.log")
    results.peer = await measure(options.peer, Path(kubeconfig), Path(audit), _tell)


def _scale(options: argparse.Namespace) -> Scale:
    duration, deadline, period = (parse_duration(part) for part in options.lease.split("/"))
    return Scale(options.replicas, options.databases, duration, deadline, period)


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
