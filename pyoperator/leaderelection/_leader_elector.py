"""Leader election without a manager: one context manager and one function."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog

from pyoperator.client import LeadershipLost
from pyoperator.clock import SystemClock
from pyoperator.leaderelection._announce import announce
from pyoperator.leaderelection._config import ElectionConfigError
from pyoperator.leaderelection._dead_mans_switch import PROCESS_SWITCH
from pyoperator.leaderelection._hosts import LoopHost, ThreadHost
from pyoperator.leaderelection._stall_guard import StallGuard, stall_limit_of
from pyoperator.leaderelection._supervisor import SupervisorThread

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
    caller's loop. The thread also watches that loop, as a manager's does: if it stands still for longer than
    ``stall_limit`` seconds (default ``renew_deadline``), the Lease is renewed no more, and if it still does when
    leadership is about to end, ``exit_process(1)`` is called, because nothing on that loop can be cancelled.
    ``dead_mans_switch`` does so when a native call keeps the GIL, by a timer of the kernel; for programs that have the
    process to themselves. On the caller's loop a stall delays the renewals with everything else, and both are refused.

    The callbacks are called on the caller's loop and must not block: ``on_started_leading(leadership)``,
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
        stall_limit: float | None = None,
        dead_mans_switch: bool = False,
        exit_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._recorder = recorder
        self._logger: FilteringBoundLogger = logger or structlog.get_logger()
        self._started = on_started_leading
        self._stopped = on_stopped_leading
        self._new_leader = on_new_leader
        self._listener = on_transition
        self._working = False
        self._guard: StallGuard | None = None
        self._switched = dead_mans_switch
        self._owned: AsyncExitStack | None = None  # what runs beside the work, from the first campaign on
        self.host: ElectionHost
        if not callable(transport):
            if stall_limit is not None or dead_mans_switch:
                raise ElectionConfigError(
                    "stall_limit and dead_mans_switch need an election on a thread of its own: give a factory of transports"
                )
            self.host = LoopHost(config, transport, clock=clock, random=random, on_transition=self._heard)
            return
        clock = clock or SystemClock()
        self._thread = SupervisorThread(f"election-{config.name}")
        self._guard = StallGuard(
            self._thread,
            limit=stall_limit_of(stall_limit, config.renew_deadline),
            election=config,
            elapsed=clock.elapsed,
            leads=lambda: self._working,
            end_process=exit_process,
            logger=self._logger,
        )
        self.host = ThreadHost(
            config,
            transport,
            supervisor=self._thread,
            clock=clock,
            random=random,
            on_transition=self._heard,
            may_renew=self._guard.may_renew,
            on_renewed=self._guard.renewed,
        )

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
        owned, self._owned = self._owned, None
        if owned is not None:
            await owned.aclose()

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Leadership]:
        """Wait until leading, run the block, and release the Lease when it has ended, however it ended.

        The block is cancelled when leadership is lost, and the context raises LeadershipLost. Threads that the block
        started must have ended when it ends: the Lease is free from then on.
        """
        host = self.host
        await self._watch_the_work()
        try:
            await host.acquire()
        except asyncio.CancelledError:
            await host.release()  # it may have been won in the same moment
            raise
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 - a coroutine always runs in a task
        self._working = True
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
            self._working = False
            await host.release()
            if self._stopped is not None:
                self._stopped()

    async def run(self, body: Callable[[Leadership], Awaitable[T]]) -> T:
        """Wait until leading and run ``body(leadership)`` to its end; raises LeadershipLost if leadership ends first."""
        async with self.lead() as leadership:
            return await body(leadership)

    async def _watch_the_work(self) -> None:
        """Start the thread and the guard, at the first campaign: they are for the loop that the work runs on."""
        guard = self._guard
        if guard is None or self._owned is not None:
            return
        owned = self._owned = AsyncExitStack()
        self._thread.start()
        owned.push_async_callback(self._thread.stop)
        if self._switched:
            owned.enter_context(guard.armed(PROCESS_SWITCH))
        await guard.start()
        owned.push_async_callback(guard.stop)

    def _heard(self, transition: Transition) -> None:
        announce(transition, self._logger, self._recorder)
        if transition.kind == "new_leader" and self._new_leader is not None:
            self._new_leader(transition.holder)
        if self._listener is not None:
            self._listener(transition)

    def __repr__(self) -> str:
        return f"<LeaderElector {self.host!r}>"
