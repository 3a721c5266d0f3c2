"""What is put off: a heap of times, and one alarm on the loop for the next of them."""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic

from pyoperator.controller._levels import Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.controller._levels import Entry

_COMPACT_ABOVE = 64  # cancelled timers tolerated before the heap is rebuilt


class Timer(Generic[Item]):
    """An add that is put off; ``entry`` becomes None when it is cancelled or fired (its heap place is left behind)."""

    __slots__ = ("due", "entry", "priority")

    def __init__(self, entry: Entry[Item], due: float, priority: int) -> None:
        self.entry: Entry[Item] | None = entry
        self.due = due
        self.priority = priority


class Timers(Generic[Item]):
    """Call ``fire(entry, timer)`` when a timer is due. O(log n) to set, O(1) amortised to cancel."""

    __slots__ = ("_alarm", "_cancelled", "_fire", "_loop", "_sequence", "heap")

    def __init__(self, fire: Callable[[Entry[Item], Timer[Item]], None]) -> None:
        self._fire = fire
        self.heap: list[tuple[float, int, Timer[Item]]] = []  # to be read only: empty if nothing is put off
        self._cancelled = 0
        self._sequence = 0  # makes heap entries with equal times come out in order of their making
        self._alarm: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def put_off(self, entry: Entry[Item], pending: Timer[Item] | None, due: float, priority: int) -> Timer[Item]:
        """Set a timer, joined with the ``pending`` one of its sort: the earlier time, the higher priority."""
        if pending is not None:
            priority = max(priority, pending.priority)
            if pending.due <= due:
                pending.priority = priority
                return pending
            self.cancel(pending)
        timer = Timer(entry, due, priority)
        self._sequence += 1
        heappush(self.heap, (due, self._sequence, timer))
        if self.heap[0][2] is timer:
            self._set_alarm()
        return timer

    def cancel(self, timer: Timer[Item] | None) -> None:
        if timer is None or timer.entry is None:
            return
        timer.entry = None
        self._cancelled += 1
        if self._cancelled > _COMPACT_ABOVE and self._cancelled * 2 > len(self.heap):
            self.heap = [place for place in self.heap if place[2].entry is not None]
            heapify(self.heap)
            self._cancelled = 0

    def fire_due(self, now: float) -> None:
        """Fire what is due, before the alarm does: the loop may be late."""
        while self.heap:
            due, _, timer = self.heap[0]
            entry = timer.entry
            if entry is None:
                heappop(self.heap)
                self._cancelled -= 1
                continue
            if due > now:
                return
            heappop(self.heap)
            timer.entry = None
            self._fire(entry, timer)

    def clear(self) -> None:
        """Drop everything that is put off."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.heap.clear()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self.heap) - self._cancelled

    def _set_alarm(self) -> None:
        due = self.heap[0][0]
        if self._alarm is not None:
            if self._alarm.when() <= due:
                return
            self._alarm.cancel()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._alarm = self._loop.call_at(due, self._on_alarm, due)

    def _on_alarm(self, due: float) -> None:
        self._alarm = None
        assert self._loop is not None  # noqa: S101 - it set this alarm
        # Loops may fire a timer a little early (their resolution): what the alarm was set for is due all the same.
        self.fire_due(max(self._loop.time(), due))
        if self.heap:
            self._set_alarm()
