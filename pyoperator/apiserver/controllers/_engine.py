"""One task that runs all controllers: events fill queues, queues are worked off, timers put keys back."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._status import StatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from pyoperator.apiserver.controllers._client import ControllerClient, StoreEvent
    from pyoperator.apiserver.controllers._view import ObjectView
    from pyoperator.clock import Clock, Randomness

_FIRST_RETRY = 0.05  # seconds; doubled with each failure in a row
_LONGEST_RETRY = 30.0


@dataclass(frozen=True, slots=True)
class ControllersStatistics:
    """What the controllers have done so far; ``waiting`` keys are queued, ``timers`` are due later."""

    syncs: int
    conflicts: int
    failures: int
    waiting: int
    timers: int


class Context:
    """What every controller is given: the client, the view of simulated kinds, the clock, randomness, and its queue."""

    def __init__(self, client: ControllerClient, view: ObjectView, clock: Clock, random: Randomness) -> None:
        self.client = client
        self.view = view
        self.clock = clock
        self.random = random
        self.loop_time = 0.0
        self._ready: dict[tuple[Controller, Hashable], None] = {}
        self._timers: list[tuple[float, int, Controller, Hashable]] = []
        self._due: dict[tuple[Controller, Hashable], float] = {}
        self._sequence = 0
        self._wake = asyncio.Event()

    def add(self, controller: Controller, key: Hashable) -> None:
        """Queue a key, once, at the end."""
        self._ready[controller, key] = None
        self._wake.set()

    def add_after(self, controller: Controller, key: Hashable, seconds: float) -> None:
        """Queue a key later; an earlier timer of the same key stands, a later one is moved forward."""
        due = asyncio.get_running_loop().time() + max(seconds, 0.0)
        pending = self._due.get((controller, key))
        if pending is not None and pending <= due:
            return
        self._due[controller, key] = due
        self._sequence += 1
        heapq.heappush(self._timers, (due, self._sequence, controller, key))
        self._wake.set()

    def take(self) -> tuple[Controller, Hashable] | None:
        """Return the next key to work on, None when nothing is due."""
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= now + 1e-9:
            due, _, controller, key = heapq.heappop(self._timers)
            if self._due.get((controller, key)) == due:
                del self._due[controller, key]
                self._ready[controller, key] = None
        for item in self._ready:
            del self._ready[item]
            return item
        return None

    async def wait(self) -> None:
        """Sleep until something is queued or due."""
        self._wake.clear()
        if self._ready:
            return
        if not self._timers:
            await self._wake.wait()
            return
        delay = self._timers[0][0] - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(delay, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self._ready), len(self._due)


class Controller:
    """Watch events, name keys, bring one key's object to what it should be.

    ``sync`` reads the current state, changes at most what differs, and may return the seconds after which it wants to
    look again. It is called again after an error (StatusError: a conflict means that the state has moved on).
    """

    name = ""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client
        self.view = context.view

    def begin(self) -> None:
        """Queue what exists at the start."""

    def observe(self, event: StoreEvent) -> None:
        """Queue what an event concerns. Must not write: the commit is still being told to others."""
        raise NotImplementedError

    def sync(self, key: Any) -> float | None:
        raise NotImplementedError

    def enqueue(self, key: Hashable) -> None:
        self.context.add(self, key)

    def enqueue_after(self, key: Hashable, seconds: float) -> None:
        self.context.add_after(self, key, seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Delays:
    """Steps that take time: each is carried out so many seconds after it was first wanted."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._due: dict[str, dict[str, float]] = {}

    def after(self, uid: str, step: str, seconds: float, action: Callable[[], None]) -> float | None:
        """Do a step of an object if its time has come; else return the seconds that are left."""
        now = self._clock.elapsed()
        steps = self._due.setdefault(uid, {})
        due = steps.setdefault(step, now + seconds)
        if now < due - 1e-9:
            return due - now
        action()
        # Only once it is done: after an error the step is due at once, and the engine's backoff holds.
        steps.pop(step, None)
        return None

    def forget(self, uid: str) -> None:
        self._due.pop(uid, None)


class Engine:
    """Run controllers, in one task, one key at a time: the order of writes depends on events and timers alone."""

    def __init__(self, context: Context, controllers: Sequence[Controller]) -> None:
        self._context = context
        self._controllers = tuple(controllers)
        self._failures: dict[tuple[Controller, Hashable], int] = {}
        self._syncs = self._conflicts = self._failed = 0

    async def run(self) -> None:
        """Work until cancelled."""
        context = self._context
        unsubscribe = context.client.subscribe(self._observe)
        try:
            context.view.fill(context.client)
            for controller in self._controllers:
                controller.begin()
            while True:
                item = context.take()
                if item is None:
                    await context.wait()
                    continue
                self._sync(*item)
                # Requests are served between two keys; a burst of events must not make the server deaf.
                await asyncio.sleep(0)
        finally:
            unsubscribe()

    def _observe(self, event: StoreEvent) -> None:
        self._context.view.observe(event)
        for controller in self._controllers:
            controller.observe(event)

    def _sync(self, controller: Controller, key: Hashable) -> None:
        self._syncs += 1
        try:
            again = controller.sync(key)
        except StatusError as error:
            if error.code == 404:
                # Gone between the event and now: its own event follows, or has been.
                self._failures.pop((controller, key), None)
                return
            if error.code == 409:
                self._conflicts += 1
            self._retry(controller, key, error)
        except Exception as error:  # one object that a controller can't handle must not stop all others
            self._retry(controller, key, error)
        else:
            self._failures.pop((controller, key), None)
            if again is not None:
                self._context.add_after(controller, key, again)

    def _retry(self, controller: Controller, key: Hashable, error: Exception) -> None:
        count = self._failures.get((controller, key), 0)
        self._failures[controller, key] = count + 1
        if count or not (isinstance(error, StatusError) and error.code == 409):
            self._failed += 1
            import structlog  # slow to import, and seldom needed

            structlog.get_logger("pyoperator.apiserver.controllers").warning(
                "a controller of the embedded API server failed and will try again",
                controller=controller.name,
                key=key,
                error=f"{type(error).__name__}: {error}",
            )
        self._context.add_after(controller, key, min(_FIRST_RETRY * 2.0**count, _LONGEST_RETRY))

    def statistics(self) -> ControllersStatistics:
        waiting, timers = self._context.sizes
        return ControllersStatistics(self._syncs, self._conflicts, self._failed, waiting, timers)
