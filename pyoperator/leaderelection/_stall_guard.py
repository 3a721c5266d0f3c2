"""What a stall of the work loop costs: nothing up to the limit, then leadership, and with it the process."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

from pyoperator.leaderelection._config import ElectionConfigError
from pyoperator.leaderelection._heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from structlog.typing import FilteringBoundLogger

    from pyoperator.leaderelection._config import ElectionConfig
    from pyoperator.leaderelection._dead_mans_switch import DeadMansSwitch, SwitchOwner
    from pyoperator.leaderelection._supervisor import Supervisor

_FAILURE = 1
_SHORTEST = 0.5  # seconds


def stall_limit_of(given: float | None, renew_deadline: float) -> float:
    """Return for how long the work loop may stand still, in seconds; raises ElectionConfigError if that can't be kept."""
    limit = renew_deadline if given is None else given
    if not isfinite(limit) or limit < _SHORTEST:
        raise ElectionConfigError(
            f"stall_limit={limit!r} can't be kept: give at least {_SHORTEST:g} seconds (default: renew_deadline), or a "
            "garbage collection would cost leadership"
        )
    return limit


class StallGuard:
    """Watch the work loop from the supervisor's, and answer the election's ``may_renew``.

    Up to ``limit`` seconds of standing still change nothing. Beyond it renewals are held back; if the loop does not
    turn again, ``end_process(1)`` is called when the last moment before valid-until comes, because nothing that runs on
    a stalled loop can be cancelled, and whoever leads next must not meet it. A loop that turns again is renewed again.

    ``leads`` says whether leader-only work may still run, also after the Lease is lost. Without ``election`` a stall is
    only logged. With a switch (``armed``) calls that keep the GIL, and with it this guard, are covered too: it is armed
    to each valid-until. When this guard comes to run in the last moment before it, the GIL is evidently free, and the
    elector will step down by itself: then the switch waits until the Lease may be taken.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        limit: float,
        election: ElectionConfig | None,
        elapsed: Callable[[], float],
        leads: Callable[[], bool],
        end_process: Callable[[int], None],
        logger: FilteringBoundLogger,
    ) -> None:
        self.heartbeat: Heartbeat = Heartbeat(limit, logger)
        self._supervisor = supervisor
        self._elapsed = elapsed
        self._leads = leads
        self._end_process = end_process
        self._logger = logger
        self._valid_until: float | None = None
        # The fence refuses all writes from its margin on, so nothing is lost by acting then.
        self._last_moment = 0.0 if election is None else election.write_margin
        self._overtime = 0.0 if election is None else election.lease_duration - election.renew_deadline
        self._in_overtime = False
        self._switch: DeadMansSwitch | None = None
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def armed(self, owner: SwitchOwner) -> Iterator[None]:
        """Inside the block, arm the owner's switch at each renewal."""
        with owner.acquired() as switch:
            self._switch = switch
            try:
                yield
            finally:
                self._switch = None
                switch.disarm(self)

    def may_renew(self) -> bool:
        """Tell the election whether the work it renews for is alive; no if nobody can tell, because the watch broke."""
        return not self.heartbeat.beyond_limit and not (self._watch is not None and self._watch.done())

    def renewed(self, valid_until: float | None) -> None:
        """Hear from the election until when it leads (a reading of ``elapsed``), None that it has stepped down."""
        self._valid_until, self._in_overtime = valid_until, False
        if self._switch is None:
            return
        if valid_until is None:
            self._switch.disarm(self)
        else:
            self._switch.arm(self, valid_until - self._elapsed())

    async def start(self) -> None:
        """Begin to watch the loop that this is called on."""
        self.heartbeat.attach(asyncio.get_running_loop(), threading.get_ident())
        await self._there(self._begin())

    async def stop(self) -> None:
        """End the watch and disarm the switch. Idempotent; raises what the watch failed with."""
        if self._switch is not None:
            self._switch.disarm(self)
        await self._there(self._end())

    async def watch(self) -> None:
        """Look and act until cancelled; on the supervisor's loop."""
        loop = asyncio.get_running_loop()
        while True:
            self.heartbeat.look(loop.time())
            await asyncio.sleep(self._act())

    def _act(self) -> float:
        """Do what the moment asks for; return the seconds until the next."""
        pause = self.heartbeat.pause
        until, now = self._valid_until, self._elapsed()
        left = None if until is None else until - self._last_moment - now
        if self.heartbeat.beyond_limit and (self._leads() or until is not None):
            if left is None or left <= 0:
                self._logger.error(
                    "ending the process: the work loop stands still and leadership is over",
                    seconds=round(self.heartbeat.stalled_for, 1),
                    frames=self.heartbeat.stack(),
                )
                self._end_process(_FAILURE)
                return pause
        elif until is not None and left is not None and left <= 0 and self._switch is not None:
            if not self._in_overtime:
                self._in_overtime = True
                self._switch.arm(self, until + self._overtime - now)
            return pause
        return pause if left is None or left <= 0 else min(pause, left)

    async def _there(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(self._supervisor.submit(work))

    async def _begin(self) -> None:
        self._watch = asyncio.create_task(self.watch(), name="stall guard")

    async def _end(self) -> None:
        task, self._watch = self._watch, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def __repr__(self) -> str:
        return f"<StallGuard {self.heartbeat!r}>"
