"""The options of ``python -m benchmarks``. Light: every measured process reads them, too."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks._modes import MODES
from benchmarks._plan import Plan

_DESCRIPTION = (
    "Without options: everything, beside the peers that are at hand, on a real API server, and then the report. The server is "
    "that of $KUBECONFIG, whose Database objects are changed and deleted, or one started by the program that $REAL_APISERVER "
    "names, at $REAL_APISERVER_PORT. Without either: the short run."
)


def parser() -> argparse.ArgumentParser:
    plan = Plan()
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=_DESCRIPTION)
    what = made.add_mutually_exclusive_group()
    what.add_argument("--short", action="store_true", help="every mode of this library, and single steps; not kept")
    what.add_argument("--mode", choices=MODES, help="run one mode and print its line")
    what.add_argument("--report", action="store_true", help="write RESULTS.md and its plots from the kept lines")
    what.add_argument("--memory-gate", action="store_true", help="fail if the cache's peak is above the recorded one")
    what.add_argument("--sizing", action="store_true", help="measure leader and standby of the postgres-operator")
    what.add_argument("--seed", type=int, metavar="N", help="create N objects, with a status each")
    what.add_argument("--bump", type=int, metavar="N", help="change the spec of the first N objects")
    what.add_argument("--churn", nargs=2, metavar=("N", "RATE"), help="create N objects, RATE a second")
    what.add_argument("--wipe", action="store_true", help="delete all objects")
    what.add_argument("--install-kopf", action="store_true", help="into an environment of its own in ~/.cache")
    # Programs of a run, started by it.
    what.add_argument("--drive-server", choices=("https", "in-process"), help=argparse.SUPPRESS)
    what.add_argument("--gate-server", type=Path, help=argparse.SUPPRESS)
    what.add_argument("--gate-cache", type=int, help=argparse.SUPPRESS)
    made.add_argument("--peer", default="", help=argparse.SUPPRESS)
    made.add_argument("--amounts", type=numbers, default=(), help=argparse.SUPPRESS)

    made.add_argument("-n", type=int, help=f"number of objects; {plan.n} for everything, else 1000")
    made.add_argument("--workers", type=int, default=plan.workers, help="concurrent reconciles; %(default)s")

    whole = made.add_argument_group("everything")
    whole.add_argument(
        "--parts", type=names, default=(), help="some of steps,imports,sync,status,latency,elect,servers,growth"
    )
    whole.add_argument("--rounds", type=int, default=plan.rounds, help="of each side, alternating; %(default)s")
    whole.add_argument(
        "--budget", type=float, default=1800.0, help="seconds; what goes beyond is left out; %(default)s"
    )
    whole.add_argument("--n-status", type=int, default=plan.n_status, help="objects for status; %(default)s")
    whole.add_argument("--n-latency", type=int, default=plan.n_latency, help="objects for latency; %(default)s")
    whole.add_argument("--points", type=numbers, default=plan.points, help="objects of the plots; %(default)s")
    whole.add_argument("--hand-overs", type=int, default=plan.hand_overs, help="of each side; %(default)s")
    whole.add_argument("--crashes", type=int, default=plan.crashes, help="of each side; %(default)s")
    whole.add_argument("--peers", type=Path, help="folder of the peers' programs; found next to the repository")
    whole.add_argument("--embedded", action="store_true", help="on the embedded server, to try it out")
    whole.add_argument(
        "--results", type=Path, help="where lines are kept, with RESULTS.md beside it; benchmarks/results"
    )

    gate = made.add_argument_group("--memory-gate")
    gate.add_argument("--record", action="store_true", help="take the peak of now as the one to hold")

    seed = made.add_argument_group("--seed")
    seed.add_argument("--first", type=int, default=0, help="begin with this number; %(default)s")
    seed.add_argument("--bare", action="store_true", help="without a status")

    sizing = made.add_argument_group("--sizing")
    sizing.add_argument("--objects", type=numbers, default=(10, 100, 1000, 10_000), help="numbers; %(default)s")
    sizing.add_argument("--limits", type=numbers, default=(100, 500), help="millicores; %(default)s")
    sizing.add_argument("--idle", type=float, default=30.0, help="seconds of rest measured; %(default)s")
    sizing.add_argument(
        "--copy-above", type=int, default=1000, metavar="N", help="larger fleets are copied; %(default)s"
    )
    sizing.add_argument("--plot", type=Path, help="write the plot here, as SVG")
    return made


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number.replace("_", "")) for number in names(text))


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def plan_of(options: argparse.Namespace) -> Plan:
    """Return how much the options of a whole run ask for."""
    return Plan(
        n=options.n or Plan().n,
        n_status=options.n_status,
        n_latency=options.n_latency,
        points=options.points,
        rounds=options.rounds,
        workers=options.workers,
        hand_overs=options.hand_overs,
        crashes=options.crashes,
    )
