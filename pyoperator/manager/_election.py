"""From the manager's settings to an election that the life cycle can drive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pyoperator.client import OpenGate
from pyoperator.leaderelection import LoopHost, ThreadHost

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.client import Gate, Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.leaderelection import (
        ElectionConfig,
        ElectionHost,
        ElectionStatus,
        Leadership,
        LeadershipStatistics,
        StallGuard,
        Transition,
    )
    from pyoperator.manager._supervisor import Supervisor

_HANGS_AFTER = 2.0  # seconds beyond what a step may take by itself: then the supervisor's loop hangs


class HostedElection:
    """Drive one election through its host: on the supervisor thread, or on the work loop in simulation."""

    def __init__(
        self,
        config: ElectionConfig,
        transport_factory: Callable[[Gate], Transport],
        *,
        supervisor: Supervisor,
        guard: StallGuard,
        clock: Clock,
        random: Randomness,
        on_transition: Callable[[Transition], None],
        while_waiting: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.config = config
        self._while_waiting = while_waiting
        self._host: ElectionHost
        if supervisor.threaded:
            # A connection of its own: the work's requests must never hold up a renewal.
            self._host = ThreadHost(
                config,
                lambda: transport_factory(OpenGate()),
                supervisor=supervisor,
                clock=clock,
                random=random,
                on_transition=on_transition,
                may_renew=guard.may_renew,
                on_renewed=guard.renewed,
            )
        else:
            # One loop for all: it can't watch itself.
            self._host = LoopHost(
                config,
                transport_factory(OpenGate()),
                clock=clock,
                random=random,
                on_transition=on_transition,
                owns_transport=True,
            )

    @property
    def leadership(self) -> Leadership:
        return self._host.leadership

    def status(self) -> ElectionStatus:
        return self._host.status()

    def statistics(self) -> LeadershipStatistics:
        return self._host.leadership.statistics()

    async def acquire(self) -> None:
        waiting = asyncio.create_task(self._while_waiting(), name="manager: standing by")
        try:
            await self._host.acquire()
        finally:
            waiting.cancel()
            await asyncio.wait((waiting,))

    async def wait_lost(self) -> str:
        await self._host.lost.wait()
        return self._host.lost_reason

    def close_fence(self) -> None:
        self._host.leadership.close()

    async def release(self) -> None:
        """Give the lease back; bounded by what the elector gives itself, even if its loop hangs. Raises TimeoutError."""
        await self._bounded(self._host.release(), self.config.renew_deadline / 2)

    async def stop(self) -> None:
        """End the election; bounded as well. Raises TimeoutError."""
        await self._bounded(self._host.aclose(), 0.0)

    async def _bounded(self, step: Coroutine[Any, Any, None], limit: float) -> None:
        try:
            async with asyncio.timeout(limit + _HANGS_AFTER):
                await step
        except TimeoutError:
            raise TimeoutError("the election's loop does not answer") from None
