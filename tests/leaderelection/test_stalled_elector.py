"""LeaderElector without a manager, on a work loop that stands still; see test_stall_guard for the rules."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import AiohttpTransport, Configuration, LeadershipLost
from pyoperator.leaderelection import ElectionConfig, ElectionConfigError, LeaderElector, Leadership
from tests.leaderelection.http_lease_server import HTTPLeaseServer, http_lease_server
from tests.leaderelection.lease_server import LeaseServer, LeaseTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.client import Transport

ROOT = Path(__file__).parents[2]
CONFIG = ElectionConfig(
    name="op", namespace="default", identity="a", lease_duration=3, renew_deadline=2, retry_period=1.2
)


@pytest.fixture
def servers() -> Iterator[dict[str, HTTPLeaseServer]]:
    with ExitStack() as stack:
        yield {how: stack.enter_context(http_lease_server()) for how in ("released", "held")}


@pytest.fixture
def server() -> Iterator[HTTPLeaseServer]:
    with http_lease_server() as running:
        yield running


async def test_beyond_the_limit_renewals_stop_and_the_process_is_ended(server: HTTPLeaseServer) -> None:
    ended = threading.Event()
    codes: list[tuple[int, bool]] = []

    def factory() -> Transport:
        return AiohttpTransport(Configuration(server=server.address))

    def exit_process(code: int) -> None:
        codes.append((code, elector.leadership.is_leader))
        ended.set()

    async def body(leadership: Leadership) -> None:
        # Nothing runs on this loop from here on, as if a library blocked it.
        assert ended.wait(30)
        while leadership.is_leader:
            threading.Event().wait(0.01)
        await asyncio.get_running_loop().create_future()

    elector = LeaderElector(CONFIG, factory, stall_limit=0.5, exit_process=exit_process)
    async with elector:
        with pytest.raises(LeadershipLost, match="held back, because the work loop stands still"):
            await elector.run(body)
    assert codes[0] == (1, True), "before the lease was over"
    assert server.core.holder == "a"
    assert "election-op" not in [thread.name for thread in threading.enumerate()]


async def test_real_processes_end_with_code_1(servers: dict[str, HTTPLeaseServer]) -> None:
    async def stalled(how: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.leaderelection.stalling_elector", servers[how].address, how),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(50):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, servers[how].core.holder, (output + errors).decode()

    released, held = await asyncio.gather(stalled("released"), stalled("held"))
    assert released[:2] == (1, "released")
    assert "ending the process: the work loop stands still" in released[2]
    assert held[:2] == (1, "held")
    assert "dead man's switch" in held[2]
    # The words come from a thread of their own: on a starved machine they may stand in the middle of one line.
    assert "in body" in held[2] or "in main" in held[2], held[2]


async def test_an_election_on_the_works_own_loop_refuses_what_it_cannot_do() -> None:
    transport = LeaseTransport(LeaseServer())
    with pytest.raises(ElectionConfigError, match="give a factory of transports"):
        LeaderElector(CONFIG, transport, dead_mans_switch=True)
    with pytest.raises(ElectionConfigError, match="give a factory of transports"):
        LeaderElector(CONFIG, transport, stall_limit=3)
    with pytest.raises(ElectionConfigError, match=r"at least 0\.5 seconds"):
        LeaderElector(CONFIG, lambda: transport, stall_limit=0.1)
