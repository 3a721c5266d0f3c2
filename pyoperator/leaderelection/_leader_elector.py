"""Leader election without a manager: one context manager and one function."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog

from pyoperator.client import LeadershipLost
from pyoperator.leaderelection._announce import announce
from pyoperator.leaderelection._hosts import LoopHost, ThreadHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from pyoperator.client import Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.leaderelection._actions import ElectionStatus, Transition
    from pyoperator.leaderelection._announce import Recorder
    from pyoperator.leaderelection._config import ElectionConfig
    from pyoperator.leaderelection._hosts import ElectionHost
    from pyoperator.leaderelection._leadership import Leadership

T = TypeVar("T")


class LeaderElector:
    """Run work on one leader at a time.

    For example::

        async with LeaderElector(config, make_transport) as elector:
            await elector.run(body)          # body(leadership), at most once at a time among all candidates

    Given a factory of transports, the election runs on a thread of its own (production); given a transport, on the
    caller's loop. The callbacks are called on the caller's loop and must not block: ``on_started_leading(leadership)``,
    ``on_stopped_leading()``, ``on_new_leader(identity)`` and ``on_transition(transition)`` for everything. Changes are
    logged, and recorded on the Lease if there is a ``recorder``. For metrics there is ``status()``, for liveness
    ``pyoperator.health.leadership_check``. Several electors, one for each Lease, may live in one process.

    The work's own requests must pass the fence: give ``leadership`` as the gate to the transport that they use.
    """

    def __init__(
        self,
        config: ElectionConfig,
        transport: Transport | Callable[[], Transport],
        *,
        clock: Clock | None = None,
        random: Randomness | None = None,
        on_started_leading: Callable[[Leadership], None] | None = None,
        on_stopped_leading: Callable[[], None] | None = None,
        on_new_leader: Callable[[str], None] | None = None,
        on_transition: Callable[[Transition], None] | None = None,
        recorder: Recorder | None = None,
        logger: FilteringBoundLogger | None = None,
    ) -> None:
        self._recorder = recorder
        self._logger: FilteringBoundLogger = logger or structlog.get_logger()
        self._started = on_started_leading
        self._stopped = on_stopped_leading
        self._new_leader = on_new_leader
        self._listener = on_transition
        self.host: ElectionHost
        if callable(transport):
            self.host = ThreadHost(config, transport, clock=clock, random=random, on_transition=self._heard)
        else:
            self.host = LoopHost(config, transport, clock=clock, random=random, on_transition=self._heard)

    @property
    def leadership(self) -> Leadership:
        return self.host.leadership

    def status(self) -> ElectionStatus:
        return self.host.status()

    async def __aenter__(self) -> LeaderElector:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the election; a Lease still held runs out."""
        await self.host.aclose()

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Leadership]:
        """Wait until leading, run the block, and release the Lease when it has ended, however it ended.

        The block is cancelled when leadership is lost, and the context raises LeadershipLost. Threads that the block
        started must have ended when it ends: the Lease is free from then on.
        """
        host = self.host
        try:
            await host.acquire()
        except asyncio.CancelledError:
            await host.release()  # it may have been won in the same moment
            raise
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 - a coroutine always runs in a task
        fired = False

        async def cancel_when_lost() -> None:
            nonlocal fired
            await host.lost.wait()
            fired = True
            body.cancel()

        guard = asyncio.create_task(cancel_when_lost(), name="cancel the work when leadership is lost")
        try:
            if self._started is not None:
                self._started(host.leadership)
            yield host.leadership
        except asyncio.CancelledError:
            if fired and body.uncancel() == 0:
                raise LeadershipLost(f"{host.leadership.identity} stopped leading: {host.lost_reason}") from None
            raise
        finally:
            guard.cancel()
            await asyncio.wait([guard])
            # The block is over, so nothing of it can write any more. After a loss there is nothing to give back.
            await host.release()
            if self._stopped is not None:
                self._stopped()

    async def run(self, body: Callable[[Leadership], Awaitable[T]]) -> T:
        """Wait until leading and run ``body(leadership)`` to its end; raises LeadershipLost if leadership ends first."""
        async with self.lead() as leadership:
            return await body(leadership)

    def _heard(self, transition: Transition) -> None:
        announce(transition, self._logger, self._recorder)
        if transition.kind == "new_leader" and self._new_leader is not None:
            self._new_leader(transition.holder)
        if self._listener is not None:
            self._listener(transition)

    def __repr__(self) -> str:
        return f"<LeaderElector {self.host!r}>"
