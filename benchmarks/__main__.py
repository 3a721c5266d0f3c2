"""``python -m benchmarks``: see ``--help``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

from benchmarks._processes import BenchmarkError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    from benchmarks._command_line import parser

    options = parser().parse_args(arguments)
    try:
        return _do(options)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        if not options.report:
            raise
        print(f"benchmarks: {error}: repair or delete that file", file=sys.stderr)
        return 2


def _do(options: argparse.Namespace) -> int:
    if options.mode is not None:
        return _mode(options)
    if options.memory_gate:
        return _memory_gate(options)
    if options.report:
        return _report(options)
    if options.seed is not None or options.bump is not None or options.churn is not None or options.wipe:
        asyncio.run(_drive(options))
    elif options.drive_server or options.gate_server or options.gate_cache is not None:
        asyncio.run(_serve_a_run(options))
    elif options.sizing:
        from benchmarks._sizing import Plan, sizing

        plan = Plan(options.objects, options.limits, idle=options.idle, copy_above=options.copy_above)
        print(asyncio.run(sizing(plan, _tell, options.plot)))
    elif options.install_kopf:
        from benchmarks._peers import install_kopf

        print(asyncio.run(install_kopf()))
    else:
        return _everything(options)
    return 0


def _everything(options: argparse.Namespace) -> int:
    from benchmarks._command_line import plan_of
    from benchmarks._peers import PEERS
    from benchmarks._results import FOLDER
    from benchmarks._suite import real_server_at_hand, whole_run

    if options.short or not (options.embedded or real_server_at_hand()):
        from benchmarks._short import short_run, table

        if not options.short:
            _tell("no real API server at hand (KUBECONFIG, REAL_APISERVER): the short run on the embedded one")
        print(table(asyncio.run(short_run(options.n or 1000, options.workers))))
        return 0
    asyncio.run(
        whole_run(
            plan_of(options),
            options.parts,
            peers=options.peers or PEERS,
            folder=options.results or FOLDER,
            budget=options.budget,
            embedded=options.embedded,
            tell=_tell,
        )
    )
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    from benchmarks._results import FOLDER
    from benchmarks.report import write_report

    for path in write_report(options.results or FOLDER):
        print(path)
    return 0


def _memory_gate(options: argparse.Namespace) -> int:
    from benchmarks._memory_gate import UPDATES, N, judge, key, measure, record, recorded_peak
    from benchmarks._results import FOLDER

    folder = options.results or FOLDER
    n, updates = (options.n, options.n // 2) if options.n else (N, UPDATES)
    line = asyncio.run(measure(n, updates))
    _tell(line.text())
    peak, name = line.number("peak_mb"), key(n, updates)
    if options.record:
        record(name, peak, folder)
        _tell(f"memory gate: recorded: {peak:.1f} MiB for {name}")
        return 0
    judgement = judge(peak, recorded_peak(name, folder), name)
    _tell(judgement.text)
    return judgement.code


def _tell(line: str) -> None:
    print(line, flush=True)


def _mode(options: argparse.Namespace) -> int:
    from benchmarks._modes import run_mode

    n = options.n or 1000
    if os.environ.get("KUBECONFIG"):
        return run_mode(options.mode, n, options.workers)
    from benchmarks._short import short_run

    part = "sync" if options.mode == "noop" else options.mode
    for line in asyncio.run(short_run(n, options.workers, (part,))).lines(options.mode):
        _tell(line.text())
    return 0


async def _drive(options: argparse.Namespace) -> None:
    from benchmarks import _load

    async with _load.open_client() as client:
        await _load.define(client)
        if options.seed is not None:
            await _load.seed(client, options.seed, first=options.first, bare=options.bare)
        elif options.bump is not None:
            await _load.bump(client, options.bump, f"bumped-{time.time_ns()}")
        elif options.churn is not None:
            await _load.churn(client, int(options.churn[0]), float(options.churn[1]))
        else:
            await _load.wipe(client)


async def _serve_a_run(options: argparse.Namespace) -> None:
    """Be one of the programs that a run starts."""
    if options.gate_server:
        from benchmarks._gate_server import serve

        await serve(options.gate_server, options.n)
    elif options.gate_cache is not None:
        from benchmarks._memory_gate import cache

        _tell(await cache(options.n, options.gate_cache))
    else:
        from benchmarks._driver import in_process, over_https

        writes, watchers, events = options.amounts
        if options.drive_server == "https":
            figures = await over_https(os.environ["KUBECONFIG"], writes, watchers, events)
        else:
            figures = await in_process(writes, watchers, events)
        _tell(figures.text(options.peer, options.drive_server))


if __name__ == "__main__":
    sys.exit(main())
