"""``python -m benchmarks``: see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._modes import MODES, run_mode
from benchmarks._processes import BenchmarkError, embedded_server, output, this_program

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.mode is not None:
            return _mode(options)
        if options.compare:
            from benchmarks._compare import compare

            print(
                asyncio.run(
                    compare(
                        options.peers,
                        n=options.n or 10_000,
                        n_status=options.n_status,
                        rounds=options.rounds,
                        workers=options.workers,
                    )
                )
            )
            return 0
        if options.sizing:
            from benchmarks._sizing import Plan, sizing

            plan = Plan(options.objects, options.limits, idle=options.idle, copy_above=options.copy_above)
            print(asyncio.run(sizing(plan, lambda line: print(line, flush=True), options.plot)))
            return 0
        if options.seed is not None or options.bump is not None or options.churn is not None or options.wipe:
            asyncio.run(_drive(options))
            return 0
        print(asyncio.run(_overview(options.n or 1000, options.workers)))
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    from benchmarks._compare import PEERS

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Without options: a short run of all modes and the micro-benchmarks. The API server is that of "
        "$KUBECONFIG, whose Database objects are changed and deleted; without it an embedded one is started.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--mode", choices=MODES, help="run one mode and print its line")
    what.add_argument("--compare", action="store_true", help="alternate with controller-runtime and print ratios")
    what.add_argument("--sizing", action="store_true", help="measure leader and standby of the postgres-operator")
    what.add_argument("--seed", type=int, metavar="N", help="create N objects, with a status each")
    what.add_argument("--bump", type=int, metavar="N", help="change the spec of the first N objects")
    what.add_argument("--churn", nargs=2, metavar=("N", "RATE"), help="create N objects, RATE a second")
    what.add_argument("--wipe", action="store_true", help="delete all objects")
    parser.add_argument("-n", type=int, help="number of objects; 1000, for --compare 10000")
    parser.add_argument("--n-status", type=int, default=3000, help="--compare: objects for status; %(default)s")
    parser.add_argument("--workers", type=int, default=16, help="concurrent reconciles; %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="--compare: runs of each side; %(default)s")
    parser.add_argument("--peers", type=Path, default=PEERS, help="--compare: folder of the peers' programs")
    parser.add_argument(
        "--objects", type=_numbers, default=(10, 100, 1000, 10_000), help="--sizing: numbers of objects; %(default)s"
    )
    parser.add_argument("--limits", type=_numbers, default=(100, 500), help="--sizing: millicores; %(default)s")
    parser.add_argument("--idle", type=float, default=30.0, help="--sizing: seconds of rest measured; %(default)s")
    parser.add_argument(
        "--copy-above", type=int, default=1000, metavar="N", help="--sizing: larger fleets are copied; %(default)s"
    )
    parser.add_argument("--plot", type=Path, help="--sizing: write the plot here, as SVG")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _mode(options: argparse.Namespace) -> int:
    n = options.n or 1000
    if os.environ.get("KUBECONFIG"):
        return run_mode(options.mode, n, options.workers)
    print(asyncio.run(_mode_on_embedded_server(options.mode, n, options.workers)), end="")
    return 0


async def _mode_on_embedded_server(mode: str, n: int, workers: int) -> str:
    from benchmarks._overview import hand_over_milliseconds, latency

    async with embedded_server() as kubeconfig:
        await output(this_program("--seed", str(0 if mode == "latency" else n)), kubeconfig)
        if mode == "elect":
            return f"hand_over_ms={await hand_over_milliseconds(kubeconfig):.0f}\n"
        if mode == "latency":
            return (await latency(kubeconfig, n, workers)).text() + "\n"
        if mode == "status":
            await output(this_program("--bump", str(n)), kubeconfig)
        return await output(this_program("--mode", mode, "-n", str(n), "--workers", str(workers)), kubeconfig)


async def _drive(options: argparse.Namespace) -> None:
    from benchmarks import _load

    async with _load.open_client() as client:
        await _load.define(client)
        if options.seed is not None:
            await _load.seed(client, options.seed)
        elif options.bump is not None:
            await _load.bump(client, options.bump, f"bumped-{time.time_ns()}")
        elif options.churn is not None:
            await _load.churn(client, int(options.churn[0]), float(options.churn[1]))
        else:
            await _load.wipe(client)


async def _overview(n: int, workers: int) -> str:
    from benchmarks._overview import overview

    kubeconfig = os.environ.get("KUBECONFIG")
    if kubeconfig:
        return await overview(kubeconfig, n, workers)
    async with embedded_server() as started:
        return await overview(started, n, workers)


if __name__ == "__main__":
    sys.exit(main())
