"""The whole run: every part, beside the peers that are at hand, on one real server; results are written as they come."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import aiohttp

from benchmarks._bench import Bench, Budget
from benchmarks._load import define, open_client
from benchmarks._peers import PEERS, Sides, find_sides, ours
from benchmarks._processes import BenchmarkError, embedded_server
from benchmarks._real_server import find_program, real_server
from benchmarks._results import Recorder
from benchmarks.parts import PARTS
from pyoperator.client import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path
    from typing import Any

    from benchmarks._plan import Plan


def real_server_at_hand() -> bool:
    """Whether there is a real server to measure on, or a program that starts one."""
    return bool(os.environ.get("KUBECONFIG")) or find_program() is not None


async def whole_run(
    plan: Plan,
    parts: Sequence[str],
    *,
    folder: Path,
    peers: Path = PEERS,
    budget: float = 1800.0,
    tell: Callable[[str], Any],
    embedded: bool = False,
    alone: bool = False,
) -> None:
    """Measure ``parts`` and keep the lines in ``folder``; a part that fails is remarked, the others go on.

    ``embedded``: on the embedded server; else on that of $KUBECONFIG, or on one started for the run. ``alone``: without
    the peers.
    """
    wanted = list(PARTS) if not parts else [part for part in PARTS if part in parts]
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise BenchmarkError(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    sides = Sides([ours()]) if alone else await find_sides(peers)
    async with _server(embedded=embedded) as kubeconfig:
        recorder = Recorder(
            folder,
            server=await _version(kubeconfig),
            plan={name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan).items()},
            parts=wanted,
            budget=budget,
            versions={side.name: side.version for side in sides.present},
        )
        bench = Bench(kubeconfig, sides, plan, recorder, tell, Budget(budget))
        for text in sides.absent:
            bench.remark(text)
        for part in wanted:
            begun = time.perf_counter()
            if not bench.enough_for(part, 1.0):
                continue
            try:
                await PARTS[part](bench)
            except (BenchmarkError, ApiError, TransportError, OSError) as error:
                bench.remark(f"{part}: ended early: {type(error).__name__}: {error}")
            bench.remark(f"{part}: {time.perf_counter() - begun:.0f} s")


@asynccontextmanager
async def _server(*, embedded: bool) -> AsyncGenerator[Path | str]:
    """Yield a kubeconfig; a server that is not ours is left without objects of ours, one of our own is thrown away."""
    kubeconfig = "" if embedded else os.environ.get("KUBECONFIG", "")
    if kubeconfig:
        yield kubeconfig
        from benchmarks._load import wipe

        async with open_client(kubeconfig) as client:
            await wipe(client)
        return
    program = None if embedded else find_program()
    if program is not None:
        async with real_server(program) as server:
            yield server.kubeconfig
        return
    async with embedded_server() as found:
        yield found


async def _version(kubeconfig: Path | str) -> str:
    """Return what the server calls itself, and see to it that it serves the kind."""
    try:
        async with open_client(kubeconfig) as client:
            await define(client)
            answer = await client.raw("GET", "/version")
    except (ApiError, TransportError, aiohttp.ClientError) as error:
        raise BenchmarkError(f"the server of {kubeconfig} can't be used: {error}") from error
    import msgspec

    found: dict[str, str] = msgspec.json.decode(answer.body)
    return f"kube-apiserver {found.get('gitVersion', '')}"
