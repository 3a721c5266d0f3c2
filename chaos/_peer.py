"""controller-runtime on the same definitions: its program elects against a real server, the audit log is read."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks._load import define
from chaos._result import Peer
from pyoperator.client import AiohttpTransport, Client, Configuration
from pyoperator.clock import SystemClock
from pyoperator.testing._audit_lines import lease_writes_in, read_audit
from pyoperator.testing._lease_history import LeaseHistory
from pyoperator.testing.lab._errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyoperator.testing._audit_lines import LeaseWrite

_LEASE = ("default", "bench.example.com")
_TERMS = (15.0, 10.0, 2.0)
"""The program takes no other durations than controller-runtime's own defaults."""
_ELECTED_WITHIN = 60.0
_FOLLOWS_AFTER = 4.0
"""Seconds after which a follower has surely seen the Lease, and its retries have come out of step with the start."""


class _Candidate:
    """A running candidate; ``elected`` is set when it says so."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.elected = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        if self.process.stdout is not None:
            async for line in self.process.stdout:
                if line.startswith(b"elected"):
                    self.elected.set()

    async def end(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()
        await self._reader


async def measure(
    program: Path,
    kubeconfig: Path,
    audit_log: Path,
    tell: Callable[[str], None],
    *,
    hand_overs: int = 20,
    crashes: int = 2,
) -> Peer:
    """Let three candidates hand over ``hand_overs`` times and crash ``crashes`` times. Raises LabError."""
    clock = SystemClock()
    await _define_its_kind(kubeconfig)
    start = (await asyncio.to_thread(audit_log.stat)).st_size
    candidates: list[_Candidate] = []
    told: list[float] = []
    killed: list[float] = []

    async def launch() -> None:
        process = await asyncio.create_subprocess_exec(
            str(program),
            "-mode",
            "elect",
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        candidates.append(_Candidate(process))

    try:
        for _ in range(3):
            await launch()
        for number in range(hand_overs + crashes):
            leader = await _leader(candidates)
            await asyncio.sleep(_FOLLOWS_AFTER)
            crash = number >= hand_overs
            (killed if crash else told).append(clock.wall())
            candidates.remove(leader)
            await leader.end(signal.SIGKILL if crash else signal.SIGTERM)
            await _leader(candidates)
            await launch()
            tell(f"peer: {number + 1}/{hand_overs + crashes}")
    finally:
        for candidate in candidates:
            await candidate.end(signal.SIGKILL)
    writes = [write for event in read_audit(audit_log, start=start) for write in lease_writes_in((event,), *_LEASE)]
    history = LeaseHistory(by_holder(writes), frozenset(write.holder for write in writes))
    acquired = [one.start for one in history.tenures()]
    expired = [one.leaderless for one in history.tenures() if one.how == "expired" and one.leaderless is not None]
    released = [one.leaderless for one in history.tenures() if one.how == "released" and one.leaderless is not None]
    return Peer(
        _TERMS,
        gap_ms=[1000 * gap for gap in released],
        sigterm_ms=[1000 * (min(at for at in acquired if at > moment) - moment) for moment in told],
        crash_after_renewal_s=expired,
    )


async def _define_its_kind(kubeconfig: Path) -> None:
    """Install the CRD that the program's controller watches: without it a leader ends by itself."""
    transport = AiohttpTransport(Configuration.load(kubeconfig=kubeconfig, environ={}))
    try:
        await define(Client(transport))
    finally:
        await transport.aclose()


def by_holder(writes: Sequence[LeaseWrite]) -> list[LeaseWrite]:
    """Give each write to the holder that made it: all candidates are one user here, and a release names nobody."""
    told_apart: list[LeaseWrite] = []
    holder = ""
    for write in sorted(writes, key=lambda write: write.version):
        holder = write.holder or holder
        told_apart.append(replace(write, user=holder))
    return told_apart


async def _leader(candidates: list[_Candidate]) -> _Candidate:
    waits = {asyncio.create_task(candidate.elected.wait()): candidate for candidate in candidates}
    done, rest = await asyncio.wait(waits, timeout=_ELECTED_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    for wait in rest:
        wait.cancel()
    if not done:
        raise LabError(f"none of the peer's candidates was elected within {_ELECTED_WITHIN:.0f} s")
    return waits[done.pop()]
