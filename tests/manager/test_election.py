"""A hosted election whose host hangs, as when the supervisor's loop is blocked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from pyoperator.clock import LoopClock, Randomness
from pyoperator.leaderelection import ElectionConfig, StallGuard
from pyoperator.manager import Supervisor
from pyoperator.manager._election import HostedElection
from tests.manager.support import InProcessLeaseTransport, LeaseServer
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

CONFIG = ElectionConfig(name="op", namespace="default", identity="me")


class HangingHost:
    """Neither gives the lease back nor ends."""

    async def release(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def aclose(self) -> None:
        await asyncio.get_running_loop().create_future()


async def nothing() -> None: ...


def make(server: LeaseServer, while_waiting: Callable[[], Coroutine[Any, Any, None]] = nothing) -> HostedElection:
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(threaded=False)
    clock = LoopClock(loop)
    guard = StallGuard(
        supervisor,
        limit=10,
        election=CONFIG,
        elapsed=clock.elapsed,
        leads=lambda: True,
        end_process=lambda code: None,
        logger=structlog.get_logger(),
    )
    return HostedElection(
        CONFIG,
        lambda gate: InProcessLeaseTransport(server, gate),
        supervisor=supervisor,
        guard=guard,
        clock=clock,
        random=Randomness(1),
        on_transition=lambda transition: None,
        while_waiting=while_waiting,
    )


def test_it_acquires_and_releases() -> None:
    async def main() -> None:
        server = LeaseServer()
        election = make(server)
        await election.acquire()
        assert server.holder == "me"
        assert election.leadership.is_leader
        election.close_fence()
        assert not election.leadership.is_leader
        await election.release()
        assert server.holder == ""
        await election.stop()

    run_virtual(main)


def test_what_is_done_while_it_waits_ends_when_it_leads_or_gives_up() -> None:
    async def main() -> None:
        waiting: list[str] = []

        async def wait() -> None:
            waiting.append("began")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                waiting.append("ended")

        server = LeaseServer()
        first, second = make(server, wait), make(server, wait)
        await first.acquire()
        assert waiting == ["began", "ended"]
        server.take_away()
        campaign = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        assert waiting[2:] == ["began"]
        campaign.cancel()
        await asyncio.wait((campaign,))
        assert waiting[2:] == ["began", "ended"]
        await first.stop()
        await second.stop()

    run_virtual(main)


@pytest.mark.parametrize(
    ("step", "limit"),
    # The release may take renew_deadline / 2 by itself; 2 s more say that nobody is there.
    [(lambda election: election.release(), 7), (lambda election: election.stop(), 2)],
)
def test_leaving_an_election_whose_loop_hangs_is_bounded(
    step: Callable[[HostedElection], Awaitable[None]], limit: float
) -> None:
    async def main() -> None:
        election = make(LeaseServer())
        election._host = HangingHost()  # type: ignore[assignment]
        with pytest.raises(TimeoutError, match="does not answer"):
            await step(election)
        assert asyncio.get_running_loop().time() == pytest.approx(limit)

    run_virtual(main)
