"""The five modes, each a whole process; they mirror the peers' programs step by step."""

from __future__ import annotations

import asyncio

MODES = ("sync", "noop", "status", "latency", "elect")


def run_mode(mode: str, n: int, workers: int) -> int:
    """Run one mode in this process against the API server of the environment; return the exit code; sync takes what is there."""
    if mode == "sync":
        from benchmarks._sync import sync

        print(asyncio.run(sync()), flush=True)
        return 0
    from benchmarks._operator import elect, reconcile
    from pyoperator.manager import configure_logging

    configure_logging("warning")
    if mode == "elect":
        return elect()
    print(asyncio.run(reconcile(mode, n, workers)), flush=True)
    return 0
