"""A group of runnables that start together and stop together."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from pyoperator._standing import coroutine_stack, users_place
from pyoperator.manager._runnable import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from pyoperator.manager._runnable import Runnable

_COMPLAIN_AFTER = 5.0  # seconds without a word before a slow stop names who it waits for
_COMPLAIN_EVERY = 10.0
_PASSES = 32  # turns of the loop that a cancelled task gets when there is no time to wait at all
_BLOCKER_POLL = 0.05  # threads can't be awaited: how often to look whether they are gone, in seconds


class _Member:
    """One runnable and the tasks that belong to it."""

    def __init__(self, runnable: Runnable) -> None:
        self.runnable = runnable
        self.name = name_of(runnable)
        self.task: asyncio.Task[None] | None = None
        self.draining: asyncio.Future[Any] | None = None

    def blockers(self) -> list[str]:
        """Tell what has not stopped: in the runnable's own words, if it has some, else where its task stands."""
        if self.task is None:
            return []
        told: Callable[[], Any] | None = getattr(self.runnable, "blockers", None)
        found = [f"{self.name}: {what}" for what in told()] if told is not None else []
        if not self.task.done() and not found:
            place = users_place(coroutine_stack(self.task.get_coro()))
            return [f"{self.name} ({f'at {place}' if place is not None else 'running'})"]
        if self.task.done() and self.draining is not None and not self.draining.done():
            return [f"{self.name} (its drain() ignores cancellation)"]
        return found


class RunnableGroup:
    """Own the tasks of its runnables: whatever starts here is cancelled and awaited here.

    ``on_failure`` is called with the name and the error of a runnable that fails. The group can be started again after
    a stop, if everything in it has stopped.
    """

    def __init__(
        self, name: str, on_failure: Callable[[str, BaseException], None], logger: FilteringBoundLogger
    ) -> None:
        self.name = name
        self._on_failure = on_failure
        self._logger = logger
        self._members: list[_Member] = []
        self._running = False
        self._stopping = False
        self._cut_short = asyncio.Event()

    @property
    def runnables(self) -> list[Runnable]:
        return [member.runnable for member in self._members]

    @property
    def running(self) -> bool:
        return self._running

    def add(self, runnable: Runnable) -> None:
        """Add a runnable; in a group that runs it starts at once."""
        member = _Member(runnable)
        self._members.append(member)
        if self._running and not self._stopping:
            self._launch(member)

    async def start(self) -> None:
        """Start all, in the order they were added; returns when each has taken its first step."""
        self._running, self._stopping = True, False
        self._cut_short.clear()
        for member in self._members:
            self._launch(member)
        await asyncio.sleep(0)

    async def ready(self) -> None:
        """Wait until every member that has a ``ready()`` says so."""
        waits = [member.runnable.ready() for member in self._members if hasattr(member.runnable, "ready")]
        if waits:
            async with asyncio.TaskGroup() as group:
                for wait in waits:
                    group.create_task(wait)

    def cut_short(self) -> None:
        """End the draining of a stop under way: cancel now (leadership is lost, nothing may be finished)."""
        self._cut_short.set()

    async def stop(self, *, drain_until: float | None, give_up_at: float | None, drain: bool = True) -> tuple[str, ...]:
        """Drain until one instant, cancel, wait until the other; return who has not stopped (blockers).

        Instants are loop times, None is for ever. Without ``drain`` everything is cancelled at once.
        """
        if not self._running:
            return ()
        self._stopping = True
        if not drain:
            self._cut_short.set()
        stoppers = [
            asyncio.create_task(self._stop(member, drain_until), name=f"stop {member.name}")
            for member in self._members
            if member.task is not None
        ]
        try:
            await self._settle(stoppers, give_up_at)
        finally:
            for stopper in stoppers:
                stopper.cancel()
            if stoppers:
                # Bounded: a stopper can hang only on a drain that swallows its cancellation, and blockers() names that.
                await asyncio.wait(stoppers, timeout=0.1)
        left = self.blockers()
        if not left:
            self._running = False
        return left

    def blockers(self) -> tuple[str, ...]:
        return tuple(text for member in self._members for text in member.blockers())

    def _launch(self, member: _Member) -> None:
        # Eagerly named tasks: a hang, a traceback and the debugger all tell whose it is.
        member.task = asyncio.create_task(_awaited(member), name=f"{self.name}: {member.name}")
        member.task.add_done_callback(lambda task: self._ended(member, task))

    def _ended(self, member: _Member, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if not self._stopping:
                self._on_failure(member.name, RuntimeError(f"{member.name} was cancelled by someone else"))
        elif (error := task.exception()) is not None:
            self._on_failure(member.name, error)
        elif not self._stopping:
            self._logger.debug("runnable finished", runnable=member.name, group=self.name)

    async def _stop(self, member: _Member, drain_until: float | None) -> None:
        """Drain and cancel one member, and wait for its end without a limit; the caller has the limit."""
        task = member.task
        assert task is not None  # noqa: S101 - chosen by the caller
        drain: Callable[[], Any] | None = getattr(member.runnable, "drain", None)
        if drain is not None and not task.done() and not self._cut_short.is_set():
            await self._drain(member, drain, drain_until)
        task.cancel()
        await asyncio.wait([task])
        while member.blockers():  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(_BLOCKER_POLL)

    async def _drain(self, member: _Member, drain: Callable[[], Any], until: float | None) -> None:
        draining = member.draining = asyncio.ensure_future(drain())
        cut = asyncio.ensure_future(self._cut_short.wait())
        watched: set[asyncio.Future[Any]] = {draining, cut}
        if member.task is not None:
            watched.add(member.task)  # a runnable that ends by itself has drained
        try:
            loop = asyncio.get_running_loop()
            timeout = None if until is None else max(0.0, until - loop.time())
            done, _ = await asyncio.wait(watched, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._logger.warning("work in flight is cancelled: the deadline has passed", runnable=member.name)
            elif draining in done and not draining.cancelled() and (error := draining.exception()) is not None:
                self._logger.error("drain failed, cancelling", runnable=member.name, error=repr(error))
        finally:
            draining.cancel()
            cut.cancel()
            await asyncio.wait([draining, cut])

    async def _settle(self, stoppers: list[asyncio.Task[None]], give_up_at: float | None) -> None:
        loop = asyncio.get_running_loop()
        complain_at = loop.time() + _COMPLAIN_AFTER
        pending = set(stoppers)
        passes = 0
        while pending:
            now = loop.time()
            if give_up_at is not None and now >= give_up_at:
                # Out of time: what has been cancelled may still unwind if that takes no waiting.
                if passes >= _PASSES:
                    return
                self._cut_short.set()
                passes += 1
                await asyncio.sleep(0)
                pending = {stopper for stopper in pending if not stopper.done()}
                continue
            limit = complain_at if give_up_at is None else min(complain_at, give_up_at)
            _, pending = await asyncio.wait(pending, timeout=max(0.0, limit - now))
            if pending and loop.time() >= complain_at:
                complain_at = loop.time() + _COMPLAIN_EVERY
                self._logger.warning("still waiting to stop", group=self.name, blockers=list(self.blockers()))

    def __repr__(self) -> str:
        names = ", ".join(member.name for member in self._members)
        return f"<RunnableGroup {self.name} {'running' if self._running else 'not running'}: {names}>"


async def _awaited(member: _Member) -> None:
    running: Any = member.runnable.run()
    if not inspect.isawaitable(running):
        raise TypeError(f"{member.name}: run() returned {running!r}, not a coroutine: it must be `async def run(self)`")
    await running
