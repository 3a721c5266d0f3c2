"""From the manager's settings to an election that the life cycle can drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.client import OpenGate
from pyoperator.leaderelection import LoopHost, ThreadHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.client import Gate, Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.leaderelection import (
        ElectionConfig,
        ElectionHost,
        ElectionStatus,
        Leadership,
        LeadershipStatistics,
        Transition,
    )
    from pyoperator.manager._supervisor import Supervisor


class HostedElection:
    """Drive one election through its host: on the supervisor thread, or on the work loop in simulation."""

    def __init__(
        self,
        config: ElectionConfig,
        transport_factory: Callable[[Gate], Transport],
        *,
        supervisor: Supervisor,
        clock: Clock,
        random: Randomness,
        on_transition: Callable[[Transition], None],
    ) -> None:
        self.config = config
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
            )
        else:
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
        await self._host.acquire()

    async def wait_lost(self) -> str:
        await self._host.lost.wait()
        return self._host.lost_reason

    def close_fence(self) -> None:
        leadership = self._host.leadership
        leadership.publish(None, leadership.token)

    async def release(self) -> None:
        await self._host.release()

    async def stop(self) -> None:
        await self._host.aclose()
