"""The work queue: what is to be reconciled, each key once, the important first, failures later."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic, TypeVar

from pyoperator.controller._histogram import QUEUE_TIME_BOUNDS, DurationHistogram, Histogram
from pyoperator.controller._rate_limit import Backoff, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping


Item = TypeVar("Item", bound="Hashable")

_COMPACT_ABOVE = 64  # cancelled timers tolerated before the heap is rebuilt


class QueueClosed(Exception):
    """The queue was shut down: there is nothing more to get."""


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """What a queue has done since it was made and what it holds now; the source of the ``workqueue_*`` metrics.

    ``depth`` counts the items that are ready, by priority; items waiting for their time are in ``delayed``, those
    handed out in ``in_flight``. ``adds`` counts entries into readiness (a repeated add is none), ``retries`` the
    calls of ``add_rate_limited``. Durations are seconds of the loop's time.
    """

    name: str
    depth: Mapping[int, int]
    delayed: int
    in_flight: int
    adds: int
    retries: int
    dead_letters: int
    queue_duration: Histogram
    work_duration: Histogram
    unfinished_work_seconds: float
    longest_running_processor_seconds: float


class _Timer(Generic[Item]):
    """An add that is put off; ``entry`` becomes None when it is cancelled or fired (its heap place is left behind)."""

    __slots__ = ("due", "entry", "priority")

    def __init__(self, entry: _Entry[Item], due: float, priority: int) -> None:
        self.entry: _Entry[Item] | None = entry
        self.due = due
        self.priority = priority


class _Entry(Generic[Item]):
    """All that is known of one key. It is forgotten when nothing is pending, running or counted."""

    __slots__ = ("again", "failures", "item", "priority", "ready", "retry", "running", "since", "timer")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.ready = False  # in a level, waiting for a worker
        self.running = False  # handed out, not done yet
        self.priority = 0  # of readiness, or while running that with which it was handed out
        self.since = 0.0  # loop time at which it became ready, or was handed out
        self.again: int | None = None  # priority of an add that came while running
        self.timer: _Timer[Item] | None = None  # add(after=...)
        self.retry: _Timer[Item] | None = None  # add_rate_limited
        self.failures = 0


class WorkQueue(Generic[Item]):
    """Hold keys until a worker takes them. Used from one event loop; nothing here blocks but ``get``.

    - A key is ready at most once; adding it again keeps the higher priority. A key raised to a higher level joins it at
      its end; within a level keys come out in the order in which they came in.
    - A key handed out is not handed out again before ``done``; if it was added meanwhile it is ready again after that.
    - ``add(after=...)`` and ``add_rate_limited`` put a key off; of several such adds of one sort the earliest time and
      the highest priority count. An immediate add neither cancels nor hastens them: the key runs now, *and* again when
      its time comes, so that no ``requeue_after`` is lost to an event in between (controller-runtime loses it).
      A pending retry, in contrast, ends with ``forget``: its reason is gone.
    - Costs are O(1) for ready keys, O(log n) for delayed ones and for distinct priorities.

    ``max_retries`` bounds consecutive failures of a key; the add beyond it calls ``on_dead_letter(item)`` instead.
    ``bucket`` limits retries of all keys together. The clock is the loop's own, so the queue runs on virtual time.
    """

    def __init__(
        self,
        name: str = "",
        *,
        backoff: Backoff | None = None,
        bucket: TokenBucket | None = None,
        max_retries: int | None = None,
        on_dead_letter: Callable[[Item], None] | None = None,
    ) -> None:
        self.name = name
        self._backoff = backoff or Backoff()
        self._bucket = bucket
        self._max_retries = max_retries
        self._on_dead_letter = on_dead_letter
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: dict[Item, _Entry[Item]] = {}
        self._running: dict[Item, _Entry[Item]] = {}
        self._levels: dict[int, OrderedDict[Item, _Entry[Item]]] = {}
        self._order: list[int] = []  # heap of negated priorities, one for each level
        self._ready = 0
        self._timers: list[tuple[float, int, _Timer[Item]]] = []  # heap
        self._cancelled_timers = 0
        self._sequence = 0  # makes heap entries with equal times come out in order of their making
        self._alarm: asyncio.TimerHandle | None = None
        self._getters: deque[asyncio.Future[None]] = deque()
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._paused = False
        self._closed = False
        self._draining = False
        self._adds = 0
        self._retries = 0
        self._dead_letters = 0
        self._queue_duration = DurationHistogram(QUEUE_TIME_BOUNDS)
        self._work_duration = DurationHistogram(QUEUE_TIME_BOUNDS)

    # ---- putting in

    def add(self, item: Item, *, priority: int = 0, after: float = 0.0) -> None:
        """Make ``item`` ready, now or ``after`` so many seconds. Ignored once the queue is shut down."""
        entry = self._entries.get(item)
        if entry is None:
            if self._closed:
                return
            entry = self._entries[item] = _Entry(item)
        elif (entry.ready and after <= 0.0 and priority <= entry.priority) or self._closed:
            return
        if after > 0.0:
            entry.timer = self._put_off(entry, entry.timer, after, priority)
        else:
            self._make_ready(entry, priority)

    def add_rate_limited(self, item: Item, *, priority: int = 0) -> bool:
        """Count a failure of ``item`` and make it ready after its backoff.

        Returns False, and calls the dead-letter hook, if the key has used up its retries; it is forgotten then.
        """
        if self._closed:
            return True
        entry = self._entries.get(item)
        if entry is None:
            entry = self._entries[item] = _Entry(item)
        if self._max_retries is not None and entry.failures >= self._max_retries:
            self._dead_letters += 1
            self.forget(item)
            if self._on_dead_letter is not None:
                self._on_dead_letter(item)
            return False
        delay = self._backoff.delay(entry.failures)
        entry.failures += 1
        self._retries += 1
        if self._bucket is not None:
            delay = max(delay, self._bucket.reserve(self._now()))
        entry.retry = self._put_off(entry, entry.retry, delay, priority)
        return True

    def forget(self, item: Item) -> None:
        """Forget the failures of ``item`` and drop its pending retry; other pending adds stay."""
        entry = self._entries.get(item)
        if entry is not None:
            entry.failures = 0
            self._cancel(entry.retry)
            entry.retry = None
            self._drop_if_empty(entry)

    def forget_all(self) -> None:
        """Forget all failures; keys that wait for a retry become ready now (dropping them could lose work)."""
        for entry in list(self._entries.values()):
            entry.failures = 0
            retry, entry.retry = entry.retry, None
            if retry is not None:
                self._cancel(retry)
                self._make_ready(entry, retry.priority)
            self._drop_if_empty(entry)

    def demote_all(self, priority: int) -> None:
        """Lower everything that is pending, ready or put off, to at most ``priority``; their order is kept."""
        merged: OrderedDict[Item, _Entry[Item]] = OrderedDict()
        for level in sorted((level for level in self._levels if level >= priority), reverse=True):
            for item, entry in self._levels.pop(level).items():
                entry.priority = priority
                merged[item] = entry
        self._levels[priority] = merged
        self._order = [-level for level in self._levels]
        heapify(self._order)
        for entry in self._entries.values():
            if entry.again is not None:
                entry.again = min(entry.again, priority)
            for timer in (entry.timer, entry.retry):
                if timer is not None:
                    timer.priority = min(timer.priority, priority)

    # ---- taking out

    async def get(self) -> Item:
        """Wait for the most important ready key and take it; every get needs its ``done``.

        Does not yield to the loop when a key is ready. Raises QueueClosed after a shutdown. Cancelling a waiting get
        loses nothing: a key is taken only in the step that returns it.
        """
        loop = self._loop or self._bind()
        while True:
            if self._closed and not (self._draining and self._ready):
                raise QueueClosed(f"work queue {self.name!r} was shut down")
            if not self._paused:
                if self._timers:
                    self._fire_due(loop.time())
                if self._ready:
                    return self._take(loop.time())
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
        entry = self._running.pop(item, None)
        if entry is None:
            raise ValueError(f"done({item!r}): this key is not being processed; call done once for each get")
        entry.running = False
        self._work_duration.observe(self._now() - entry.since)
        if entry.again is not None:
            again, entry.again = entry.again, None
            if not self._closed:
                self._make_ready(entry, again)
        self._drop_if_empty(entry)
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
        return self._ready

    # ---- life

    def pause(self) -> None:
        """Hand out nothing until ``resume``; adds go on being collected."""
        self._paused = True

    def resume(self) -> None:
        """Hand out keys again."""
        self._paused = False
        for _ in range(self._ready):
            if not self._getters:
                break
            self._wake()

    def shut_down(self, *, drain: bool = False) -> None:
        """Take no more adds and end every ``get`` with QueueClosed: at once, or with ``drain`` once none is ready.

        What is put off is dropped in both cases. For good: a controller that may lead again pauses instead.
        """
        self._closed = True
        self._draining = drain
        self._paused = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._timers.clear()
        self._cancelled_timers = 0
        for entry in list(self._entries.values()):
            entry.timer = entry.retry = entry.again = None
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
        """Return what was counted and what is held; O(levels + keys in flight + delayed)."""
        ages = [self._now() - entry.since for entry in self._running.values()]
        return QueueStatistics(
            name=self.name,
            depth={level: len(entries) for level, entries in sorted(self._levels.items()) if entries},
            delayed=len(self._timers) - self._cancelled_timers,
            in_flight=len(self._running),
            adds=self._adds,
            retries=self._retries,
            dead_letters=self._dead_letters,
            queue_duration=self._queue_duration.record(),
            work_duration=self._work_duration.record(),
            unfinished_work_seconds=sum(ages),
            longest_running_processor_seconds=max(ages, default=0.0),
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "paused" if self._paused else "open"
        delayed = len(self._timers) - self._cancelled_timers
        return (
            f"WorkQueue({self.name!r}, {state}, ready={self._ready}, delayed={delayed}, in_flight={len(self._running)})"
        )

    # ---- inside

    def _bind(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _now(self) -> float:
        return (self._loop or self._bind()).time()

    def _make_ready(self, entry: _Entry[Item], priority: int) -> None:
        if entry.running:
            entry.again = priority if entry.again is None else max(entry.again, priority)
            return
        if entry.ready:
            if priority <= entry.priority:
                return
            del self._levels[entry.priority][entry.item]
        else:
            entry.ready = True
            entry.since = (self._loop or self._bind()).time()
            self._ready += 1
            self._adds += 1
        entry.priority = priority
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
            heappush(self._order, -priority)
        level[entry.item] = entry
        if self._getters and not self._paused:
            self._wake()

    def _take(self, now: float) -> Item:
        level = self._levels[-self._order[0]]
        while not level:
            del self._levels[-heappop(self._order)]
            level = self._levels[-self._order[0]]
        item, entry = level.popitem(last=False)
        self._ready -= 1
        entry.ready = False
        entry.running = True
        self._queue_duration.observe(now - entry.since)
        entry.since = now
        self._running[item] = entry
        return item

    def _put_off(self, entry: _Entry[Item], timer: _Timer[Item] | None, delay: float, priority: int) -> _Timer[Item]:
        due = self._now() + delay
        if timer is not None:
            priority = max(priority, timer.priority)
            if timer.due <= due:
                timer.priority = priority
                return timer
            self._cancel(timer)
        timer = _Timer(entry, due, priority)
        self._sequence += 1
        heappush(self._timers, (due, self._sequence, timer))
        if self._timers[0][2] is timer:
            self._set_alarm()
        return timer

    def _cancel(self, timer: _Timer[Item] | None) -> None:
        if timer is None or timer.entry is None:
            return
        timer.entry = None
        self._cancelled_timers += 1
        if self._cancelled_timers > _COMPACT_ABOVE and self._cancelled_timers * 2 > len(self._timers):
            self._timers = [place for place in self._timers if place[2].entry is not None]
            heapify(self._timers)
            self._cancelled_timers = 0

    def _fire_due(self, now: float) -> None:
        while self._timers:
            due, _, timer = self._timers[0]
            entry = timer.entry
            if entry is None:
                heappop(self._timers)
                self._cancelled_timers -= 1
                continue
            if due > now:
                return
            heappop(self._timers)
            timer.entry = None
            if entry.timer is timer:
                entry.timer = None
            else:
                entry.retry = None
            self._make_ready(entry, timer.priority)

    def _set_alarm(self) -> None:
        due = self._timers[0][0]
        if self._alarm is not None:
            if self._alarm.when() <= due:
                return
            self._alarm.cancel()
        self._alarm = (self._loop or self._bind()).call_at(due, self._on_alarm, due)

    def _on_alarm(self, due: float) -> None:
        self._alarm = None
        # Loops may fire a timer a little early (their resolution): what the alarm was set for is due all the same.
        self._fire_due(max(self._now(), due))
        if self._timers:
            self._set_alarm()

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

    def _drop_if_empty(self, entry: _Entry[Item]) -> None:
        if not (entry.ready or entry.running or entry.failures or entry.timer or entry.retry):
            self._entries.pop(entry.item, None)
