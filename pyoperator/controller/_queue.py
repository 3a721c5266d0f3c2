"""The work queue: what is to be reconciled, each key once, the important first, failures later."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from pyoperator.controller._histogram import QUEUE_TIME_BOUNDS, DurationHistogram, Histogram
from pyoperator.controller._levels import Aging, Entry, Item, Levels
from pyoperator.controller._rate_limit import Backoff, TokenBucket
from pyoperator.controller._timers import Timer, Timers

if TYPE_CHECKING:
    from collections.abc import Mapping


class QueueClosed(Exception):
    """The queue was shut down: there is nothing more to get."""


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """What a queue has done since it was made and what it holds now; the source of the ``workqueue_*`` metrics.

    ``depth`` counts the items that are ready, by priority; items waiting for their time are in ``delayed``, those
    handed out in ``in_flight``. ``adds`` counts entries into readiness (a repeated add is none), ``retries`` the
    calls of ``add_rate_limited`` that were not refused, ``dead_letters`` those that were; ``dropped`` what
    ``collect`` let go. Durations are seconds of the loop's time.
    """

    name: str
    depth: Mapping[int, int]
    delayed: int
    in_flight: int
    adds: int
    retries: int
    dead_letters: int
    dropped: int
    queue_duration: Histogram
    work_duration: Histogram
    unfinished_work_seconds: float
    longest_running_processor_seconds: float


class WorkQueue(Generic[Item]):
    """Hold keys until a worker takes them. Used from one event loop; nothing here blocks but ``get``.

    - A key is ready at most once; adding it again keeps the higher priority. A key raised to a higher level joins it at
      its end; within a level keys come out in the order in which they came in (a standby's backlog: see ``collect``). ``aging`` keeps the lower levels from
      starving; None: the highest always goes first.
    - A key handed out is not handed out again before ``done``; if it was added meanwhile it is ready again after that.
    - ``add(after=...)`` and ``add_rate_limited`` put a key off; of several such adds of one sort the earliest time and
      the highest priority count. An immediate add neither cancels nor hastens them: the key runs now, *and* again when
      its time comes, so that no ``requeue_after`` is lost to an event in between (controller-runtime loses it).
      A pending retry, in contrast, ends with ``forget``: its reason is gone.
    - Costs are O(1) for ready keys, O(log n) for delayed ones and for distinct priorities.

    ``max_retries`` bounds consecutive failures of a key; the add beyond it is refused (a dead letter).
    ``bucket`` limits retries of all keys together. The clock is the loop's own, so the queue runs on virtual time.
    """

    def __init__(
        self,
        name: str = "",
        *,
        backoff: Backoff | None = None,
        bucket: TokenBucket | None = None,
        max_retries: int | None = None,
        aging: Aging | None = Aging(),  # noqa: B008 - it is frozen
    ) -> None:
        self.name = name
        self._backoff = backoff or Backoff()
        self._bucket = bucket
        self._max_retries = max_retries
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: dict[Item, Entry[Item]] = {}
        self._running: dict[Entry[Item], None] = {}  # ordered, as a set's order differs from process to process
        self._levels: Levels[Item] = Levels(aging)
        self._timers: Timers[Item] = Timers(self._on_due)
        self._collecting = False
        self._limit = sys.maxsize
        self._dropped_before = 0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._paused = False
        self._closed = False
        self._draining = False
        self._adds = 0
        self._retries = 0
        self._dead_letters = 0
        self._dropped = 0
        self._queue_duration = DurationHistogram(QUEUE_TIME_BOUNDS)
        self._work_duration = DurationHistogram(QUEUE_TIME_BOUNDS)

    # ---- putting in

    def add(self, item: Item, *, priority: int = 0, after: float = 0.0) -> None:
        """Make ``item`` ready, now or ``after`` so many seconds. Ignored once the queue is shut down."""
        entry = self._entries.get(item)
        if entry is None:
            if self._closed:
                return
            entry = self._entries[item] = Entry(item)
        elif (entry.ready and after <= 0.0 and priority <= entry.priority and not self._collecting) or self._closed:
            return
        if after > 0.0:
            entry.timer = self._timers.put_off(entry, entry.timer, self._now() + after, priority)
        else:
            self._make_ready(entry, priority)

    def add_rate_limited(self, item: Item, *, priority: int = 0) -> bool:
        """Count a failure of ``item`` and make it ready after its backoff.

        Returns False if the key has used up its retries: nothing is added, its failures are forgotten, and what is to
        become of the dead letter is the caller's business.
        """
        if self._closed:
            return True
        entry = self._entries.get(item)
        if entry is None:
            entry = self._entries[item] = Entry(item)
        if self._max_retries is not None and entry.failures >= self._max_retries:
            self._dead_letters += 1
            self.forget(item)
            return False
        delay = self._backoff.delay(entry.failures)
        entry.failures += 1
        self._retries += 1
        now = self._now()
        if self._bucket is not None:
            delay = max(delay, self._bucket.reserve(now))
        entry.retry = self._timers.put_off(entry, entry.retry, now + delay, priority)
        return True

    def forget(self, item: Item) -> None:
        """Forget the failures of ``item`` and drop its pending retry; other pending adds stay."""
        entry = self._entries.get(item)
        if entry is not None:
            entry.failures = 0
            if entry.retry is not None:
                self._timers.cancel(entry.retry)
                entry.retry = None
            self._drop_if_empty(entry)

    # ---- terms

    def collect(self, most: int | None = None) -> None:
        """Hold keys for a term to come, as a standby's queue does: those heard of last count most.

        Adding a ready key again moves it to the end of its level, and at most ``most`` keys are held ready (None: as
        many as come); more push out the least important, of those the one not heard of for longest. Give a bound only
        to a queue that can be filled again from elsewhere.
        """
        if most is not None and most < 1:
            raise ValueError(f"the limit of work queue {self.name!r} is {most}: give at least 1, or None for no limit")
        self._collecting = True
        self._limit = sys.maxsize if most is None else most
        self._keep_limit()

    def begin_term(self, priority: int) -> int:
        """End ``collect``: make a backlog of what was collected and forget all failures.

        Everything pending, ready or put off, has at most ``priority`` now, so that events from here on go before it.
        Ready keys of higher priorities come out in the reverse order of their last adds: what changed a moment ago is
        what the former leader has not got to, what changed before that it most likely has. Keys that wait for a retry are ready (dropping them could lose work); waiting times count from now. Returns how
        many keys were dropped since the last term began: whether there is something to fill in again.
        """
        self._collecting = False
        self._limit = sys.maxsize
        self._levels.turn_over(priority, self._now())
        for entry in list(self._entries.values()):
            if entry.again is not None:
                entry.again = min(entry.again, priority)
            if entry.timer is not None:
                entry.timer.priority = min(entry.timer.priority, priority)
            entry.failures = 0
            retry, entry.retry = entry.retry, None
            if retry is not None:
                self._timers.cancel(retry)
                self._make_ready(entry, min(retry.priority, priority))
            self._drop_if_empty(entry)
        dropped = self._dropped - self._dropped_before
        self._dropped_before = self._dropped
        return dropped

    # ---- taking out

    async def get(self) -> Item:
        """Wait for the most important ready key and take it; every get needs its ``done``.

        Does not yield to the loop when a key is ready. Raises QueueClosed after a shutdown. Cancelling a waiting get
        loses nothing: a key is taken only in the step that returns it.
        """
        loop = self._loop or self._bind()
        levels = self._levels
        while True:
            if self._closed and not (self._draining and levels.count):
                raise QueueClosed(f"work queue {self.name!r} was shut down")
            if not self._paused:
                now = loop.time()
                if self._timers.heap:
                    self._timers.fire_due(now)
                if levels.count:
                    entry = levels.pop(now)
                    entry.ready = False
                    entry.running = True
                    self._queue_duration.observe(now - entry.since)
                    entry.since = now
                    self._running[entry] = None
                    return entry.item
            getter = loop.create_future()
            self._getters.append(getter)
            try:
                await getter
            except BaseException:
                with suppress(ValueError):
                    self._getters.remove(getter)
                if not getter.cancelled():
                    self._wake()  # it had been told of a key that it will not take: tell another
                raise

    def done(self, item: Item) -> None:
        """Tell that the work on ``item`` ended, in whatever way. Raises ValueError for a key that was not handed out."""
        entry = self._entries.get(item)
        if entry is None or not entry.running:
            raise ValueError(f"done({item!r}): this key is not being processed; call done once for each get")
        entry.running = False
        del self._running[entry]
        self._work_duration.observe(self._now() - entry.since)
        if entry.again is not None:
            again, entry.again = entry.again, None
            self._make_ready(entry, again)
        elif not (entry.failures or entry.timer or entry.retry):
            del self._entries[item]  # as _drop_if_empty does, without a call for each reconcile
        if not self._running and self._idle_waiters:
            self._release_idle_waiters()

    def priority(self, item: Item) -> int | None:
        """Return the priority of ``item`` as it is ready or was handed out; None if it is neither."""
        entry = self._entries.get(item)
        return entry.priority if entry is not None and (entry.ready or entry.running) else None

    def retries(self, item: Item) -> int:
        """Return how often ``item`` has failed since it was last forgotten."""
        entry = self._entries.get(item)
        return entry.failures if entry is not None else 0

    def __len__(self) -> int:
        """Count the ready keys."""
        return self._levels.count

    # ---- life

    @property
    def paused(self) -> bool:
        """Whether nothing is handed out for now."""
        return self._paused

    def pause(self) -> None:
        """Hand out nothing until ``resume``; adds go on being collected. Ignored once the queue is shut down."""
        self._paused = not self._closed

    def resume(self) -> None:
        """Hand out keys again."""
        self._paused = False
        for _ in range(self._levels.count):
            if not self._getters:
                break
            self._wake()

    def shut_down(self, *, drain: bool = False) -> None:
        """Take no more adds and end every ``get`` with QueueClosed: at once, or with ``drain`` once none is ready.

        With ``drain`` a key that was added while it was handed out still runs again. What is put off is dropped in both
        cases. For good: a controller that may lead again pauses instead.
        """
        self._closed = True
        self._draining = drain
        self._paused = False
        self._timers.clear()
        for entry in list(self._entries.values()):
            entry.timer = entry.retry = None
            if not drain:
                entry.again = None
                if entry.ready:
                    self._take_back(entry)
            self._drop_if_empty(entry)
        while self._getters:
            self._wake()

    async def wait_idle(self) -> None:
        """Return when no key is handed out."""
        while self._running:
            waiter = (self._loop or self._bind()).create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def statistics(self) -> QueueStatistics:
        """Return what was counted and what is held; O(levels + keys in flight)."""
        ages = [self._now() - entry.since for entry in self._running]
        return QueueStatistics(
            name=self.name,
            depth=self._levels.depth(),
            delayed=len(self._timers),
            in_flight=len(self._running),
            adds=self._adds,
            retries=self._retries,
            dead_letters=self._dead_letters,
            dropped=self._dropped,
            queue_duration=self._queue_duration.record(),
            work_duration=self._work_duration.record(),
            unfinished_work_seconds=sum(ages),
            longest_running_processor_seconds=max(ages, default=0.0),
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "paused" if self._paused else "open"
        return (
            f"WorkQueue({self.name!r}, {state}, ready={len(self)}, delayed={len(self._timers)}, "
            f"in_flight={len(self._running)})"
        )

    # ---- inside

    def _bind(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _now(self) -> float:
        return (self._loop or self._bind()).time()

    def _make_ready(self, entry: Entry[Item], priority: int) -> None:
        if entry.running:
            entry.again = priority if entry.again is None else max(entry.again, priority)
            return
        levels = self._levels
        if entry.ready:
            if priority < entry.priority:
                return
            if priority == entry.priority:
                if self._collecting:
                    levels.renew(entry)
                return
            levels.remove(entry)
        else:
            entry.ready = True
            entry.since = (self._loop or self._bind()).time()
            self._adds += 1
        levels.push(entry, priority)
        if levels.count > self._limit:
            self._keep_limit()
        if self._getters and not self._paused:
            self._wake()

    def _on_due(self, entry: Entry[Item], timer: Timer[Item]) -> None:
        if entry.timer is timer:
            entry.timer = None
        else:
            entry.retry = None
        self._make_ready(entry, timer.priority)

    def _keep_limit(self) -> None:
        while self._levels.count > self._limit:
            entry = self._levels.pop_least()
            entry.ready = False
            self._dropped += 1
            self._drop_if_empty(entry)

    def _take_back(self, entry: Entry[Item]) -> None:
        self._levels.remove(entry)
        entry.ready = False

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _release_idle_waiters(self) -> None:
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _drop_if_empty(self, entry: Entry[Item]) -> None:
        if not (entry.ready or entry.running or entry.failures or entry.timer or entry.retry):
            self._entries.pop(entry.item, None)
