"""In which order everything starts and stops, and why a stop took so long.

Nothing here knows a client, a cache or a server by type: groups of runnables, one election, and servers that are
started first and stopped last. That makes the order a small data structure that is tested on virtual time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol

from pyoperator.client import LeadershipLost
from pyoperator.manager._errors import ManagerError, StopTimedOut
from pyoperator.manager._group import RunnableGroup
from pyoperator.manager._runnable import name_of
from pyoperator.manager._service_stack import ServiceStack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from pyoperator.manager._runnable import GroupName, Runnable
    from pyoperator.manager._service_stack import Service

_UNWIND = 2.0  # seconds that cancelled work gets to unwind after the deadline, shared by all groups
_UNWIND_EACH = 0.5  # what a group gets at least, even if those before it have used all of that


class Phase(Enum):
    """Where a manager is in its life."""

    NEW = "new"
    STARTING = "starting"
    SYNCING = "syncing caches"
    STANDING_BY = "standing by"
    LEADING = "leading"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Election(Protocol):
    """What the life cycle needs of a leader election."""

    async def acquire(self) -> None:
        """Campaign; return once this process leads."""
        ...

    async def wait_lost(self) -> str:
        """Return, with the reason, once leadership has been lost."""
        ...

    def close_fence(self) -> None:
        """Let no further write through; the lease is still held."""
        ...

    async def release(self) -> None:
        """Give the lease back, if it is held; called only when all leader-only work has stopped."""
        ...

    async def stop(self) -> None:
        """End campaigning or renewing without giving the lease back, and free everything. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Why the manager ends: the first reason wins."""

    kind: Literal["requested", "failed", "lost"]
    reason: str
    error: BaseException | None = None


async def _nothing() -> None:
    """Wait for nothing before the caches start."""


class LifeCycle:
    """Start: services, webhooks, ``preflight``, caches (waited for), others, election, leader-only runnables.

    Stop, under one deadline: not ready any more, ``drain_delay`` while work goes on, leader-only runnables, fence,
    lease, others, caches, webhooks, recorders, services in reverse. ``graceful_shutdown_timeout`` in seconds, 0 does
    not wait, None waits for ever. The lease is released only if every leader-only runnable has stopped.
    """

    def __init__(
        self,
        *,
        election: Election | None,
        services: Sequence[Service] = (),
        preflight: Callable[[], Awaitable[None]] = _nothing,
        graceful_shutdown_timeout: float | None,
        drain_delay: float,
        on_lost: Literal["exit", "recampaign"],
        logger: FilteringBoundLogger,
    ) -> None:
        self._election = election
        self._services = ServiceStack(services, logger)
        self._preflight = preflight
        self._timeout = graceful_shutdown_timeout
        self._drain_delay = drain_delay
        self._on_lost = on_lost
        self._logger = logger
        self._phase = Phase.NEW
        self._leads = False
        self._outcome: _Outcome | None = None
        self._ended = asyncio.Event()
        self._hurry = asyncio.Event()
        self._warm_ups: dict[str, asyncio.Task[None]] = {}
        self.elected: asyncio.Event = asyncio.Event()
        self._groups: dict[str, RunnableGroup] = {
            name: RunnableGroup(name, self._failed, logger)
            for name in ("webhooks", "caches", "others", "leader", "recorders")
        }

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def leads(self) -> bool:
        """Whether leader-only runnables may run now (always, once started, without election)."""
        return self._leads

    @property
    def warming_up(self) -> tuple[str, ...]:
        """Who has not warmed up yet."""
        return tuple(name for name, task in self._warm_ups.items() if not task.done())

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return who is in which group."""
        return {name: tuple(name_of(runnable) for runnable in group.runnables) for name, group in self._groups.items()}

    def runnables(self) -> list[Runnable]:
        return [runnable for group in self._groups.values() for runnable in group.runnables]

    def add(self, runnable: Runnable, group: GroupName | Literal["recorders"]) -> None:
        """Add a runnable; while the manager runs it starts at once if its group does. Raises ManagerError after stop."""
        if self._outcome is not None or self._phase in {Phase.DRAINING, Phase.STOPPING, Phase.STOPPED}:
            raise ManagerError(
                f"{name_of(runnable)} was added to a manager that is stopping: add it before, or use a new Manager"
            )
        self._groups[group].add(runnable)
        if self._phase not in {Phase.NEW, Phase.STARTING}:
            self._warm_up(runnable)

    def request_stop(self, reason: str) -> None:
        """Begin the graceful stop; later calls change nothing. Must be called on the manager's loop."""
        self._end(_Outcome("requested", reason))

    def hurry(self) -> None:
        """Give up all waiting of a stop under way: everything is cancelled now."""
        self._hurry.set()
        for group in self._groups.values():
            group.cut_short()
        self._services.hurry()

    async def run(self) -> None:
        """Live from start to stop.

        Returns after a clean stop. Raises what a runnable or a start failed with, LeadershipLost, or StopTimedOut.
        """
        if self._phase is not Phase.NEW:
            raise ManagerError("this manager has been started before: a manager lives once, make a new Manager")
        self._phase = Phase.STARTING
        director = asyncio.create_task(self._direct(), name="manager: start and campaign")
        director.add_done_callback(self._direction_ended)
        await self._ended.wait()
        director.cancel()
        await asyncio.wait([director])
        outcome = self._outcome
        assert outcome is not None  # noqa: S101 - _ended is set with it
        blockers = await self._stop(outcome)
        self._phase = Phase.STOPPED
        self._conclude(outcome, blockers)

    # Start.

    async def _direct(self) -> None:
        await self._services.start()
        # Recorders first: every later step may have something to record.
        await self._groups["recorders"].start()
        # Conversion webhooks must serve before the first list, which may need them.
        await self._groups["webhooks"].start()
        await self._groups["webhooks"].ready()
        await self._preflight()
        self._phase = Phase.SYNCING
        await self._groups["caches"].start()
        for runnable in self.runnables():
            self._warm_up(runnable)
        # Warm-ups first: they ask for the informers whose sync the caches then wait for.
        while pending := [task for task in self._warm_ups.values() if not task.done()]:
            await asyncio.wait(pending)
        await self._groups["caches"].ready()
        await self._groups["others"].start()
        if self._election is None:
            await self._lead(Phase.RUNNING)
            return
        while True:
            self._phase = Phase.STANDING_BY
            await self._election.acquire()
            await self._lead(Phase.LEADING)
            reason = await self._election.wait_lost()
            if not await self._step_down(reason):
                self._end(_Outcome("lost", reason))
                return

    def _warm_up(self, runnable: Runnable) -> None:
        warm_up = getattr(runnable, "warm_up", None)
        if warm_up is None:
            return
        name = name_of(runnable)
        task = asyncio.create_task(warm_up(), name=f"warm up: {name}")
        self._warm_ups[f"{name} #{len(self._warm_ups)}"] = task

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                self._failed(name, error)

        task.add_done_callback(ended)

    async def _lead(self, phase: Phase) -> None:
        self._phase = phase
        self._leads = True
        self.elected.set()
        await self._groups["leader"].start()

    async def _step_down(self, reason: str) -> bool:
        """Stop leader-only work after a loss; True if it is safe and wanted to campaign again."""
        self._leads = False
        self.elected.clear()
        if self._on_lost == "exit":
            return False
        self._logger.warning("leadership lost, stopping leader-only work to campaign again", reason=reason)
        deadline = self._deadline()
        left = await self._groups["leader"].stop(drain_until=deadline, give_up_at=self._give_up(deadline), drain=False)
        if left:
            self._logger.error("not campaigning again: leader-only work did not stop", blockers=list(left))
        return not left

    # Ends.

    def _failed(self, name: str, error: BaseException) -> None:
        self._logger.error("runnable failed, stopping", runnable=name, error=repr(error))
        self._end(_Outcome("failed", name, error))

    def _direction_ended(self, director: asyncio.Task[None]) -> None:
        if not director.cancelled() and (error := director.exception()) is not None:
            self._end(_Outcome("failed", "starting", error))

    def _end(self, outcome: _Outcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
        elif outcome.kind != "requested" and self._outcome.kind == "requested":
            # A failure while stopping cleanly is news; the stop itself goes on as it is.
            self._outcome = outcome
            self._hurry.set()
        self._ended.set()

    def _conclude(self, outcome: _Outcome, blockers: tuple[str, ...]) -> None:
        final = self._outcome or outcome
        timed_out = StopTimedOut(blockers, self._timeout) if blockers else None
        if final.kind == "failed" and final.error is not None:
            if timed_out is not None:
                final.error.add_note(str(timed_out))
            raise final.error
        if final.kind == "lost":
            lost = LeadershipLost(f"this process no longer leads: {final.reason}")
            if timed_out is not None:
                lost.add_note(str(timed_out))
            raise lost
        if timed_out is not None:
            raise timed_out

    # Stop.

    async def _stop(self, outcome: _Outcome) -> tuple[str, ...]:
        self._phase = Phase.DRAINING  # from here readyz fails: no new traffic
        self._logger.info("stopping", reason=outcome.reason, cause=outcome.kind)
        watcher: asyncio.Task[None] | None = None
        if self._leads and self._election is not None:
            watcher = asyncio.create_task(self._watch_for_loss(self._election), name="manager: watch for a loss")
        try:
            if outcome.kind == "requested" and self._drain_delay > 0:
                await self._pause(self._drain_delay)
            self._phase = Phase.STOPPING
            deadline = self._deadline()
            blockers = await self._stop_group("leader", deadline, drain=self._leads or self._election is None)
        finally:
            if watcher is not None:
                watcher.cancel()
                await asyncio.wait([watcher])
        await self._leave_election(blockers)
        self._leads = False
        self.elected.clear()
        blockers += await self._stop_group("others", deadline)
        blockers += await self._stop_warm_ups(deadline)
        for name in ("caches", "webhooks", "recorders"):
            blockers += await self._stop_group(name, deadline)
        blockers += await self._services.stop(deadline)
        if blockers:
            self._logger.error("not everything stopped", blockers=list(blockers))
        else:
            self._logger.info("stopped")
        return blockers

    async def _watch_for_loss(self, election: Election) -> None:
        reason = await election.wait_lost()
        self._leads = False
        self._logger.warning("leadership lost while stopping, cancelling leader-only work", reason=reason)
        self._end(_Outcome("lost", reason))
        self._groups["leader"].cut_short()

    async def _leave_election(self, blockers: tuple[str, ...]) -> None:
        election = self._election
        if election is None:
            return
        election.close_fence()
        try:
            if not blockers:
                # Also when standing by: the lease may have been won in the moment in which the stop began.
                await election.release()
            elif self._leads:
                # Whoever might still write keeps the lease until it expires.
                self._logger.error("the lease is not released: leader-only work still runs", blockers=list(blockers))
        except Exception as error:
            self._logger.warning("the lease could not be released and will expire", error=repr(error))
        finally:
            await self._end_election(election)

    async def _end_election(self, election: Election) -> None:
        try:
            await election.stop()
        except Exception as error:
            self._logger.warning("the election could not be ended", error=repr(error))

    async def _stop_group(self, name: str, deadline: float | None, *, drain: bool = True) -> tuple[str, ...]:
        return await self._groups[name].stop(
            drain_until=deadline, give_up_at=self._give_up(deadline), drain=drain and not self._hurry_now()
        )

    async def _stop_warm_ups(self, deadline: float | None) -> tuple[str, ...]:
        tasks = {name: task for name, task in self._warm_ups.items() if not task.done()}
        for task in tasks.values():
            task.cancel()
        if tasks:
            give_up_at = self._give_up(deadline)
            now = asyncio.get_running_loop().time()
            await asyncio.wait(tasks.values(), timeout=None if give_up_at is None else max(0.0, give_up_at - now))
        return tuple(f"{name} (warming up)" for name, task in tasks.items() if not task.done())

    async def _pause(self, seconds: float) -> None:
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait([hurry], timeout=seconds)
        finally:
            hurry.cancel()

    def _hurry_now(self) -> bool:
        return self._hurry.is_set() and self._outcome is not None and self._outcome.kind == "requested"

    def _deadline(self) -> float | None:
        return None if self._timeout is None else asyncio.get_running_loop().time() + self._timeout

    def _give_up(self, deadline: float | None) -> float | None:
        if deadline is None:
            return None
        if self._timeout == 0:
            return deadline
        return max(deadline + _UNWIND, asyncio.get_running_loop().time() + _UNWIND_EACH)
