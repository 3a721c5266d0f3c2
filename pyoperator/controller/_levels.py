"""What is ready, by priority: first in first out within a level, the highest level first, the lowest not never."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pyoperator.controller._timers import Timer

Item = TypeVar("Item", bound="Hashable")

_SPARE_LEVELS = 8  # empty levels tolerated before they are looked for


@dataclass(frozen=True, slots=True)
class Aging:
    """Keep a stream of important keys from starving the others.

    One in ``every`` keys taken is the oldest among the first keys of the lower levels, if it has been ready for ``after``
    seconds; so the important ones keep all but 1/``every`` of the workers, however large and old the backlog is
    (priorities that grow with age would let an old backlog of thousands go before each new event). So a ready key is taken
    at the latest ``after`` seconds plus ``every`` x (n + 1) takings from now, n being the keys in lower levels that were
    ready before it. A key keeps the priority it was added with. Ours: controller-runtime's priority queue lets low
    priorities wait without an end.
    """

    after: float = 30.0
    every: int = 10

    def __post_init__(self) -> None:
        if not self.after >= 0 or self.every < 2:  # one in one would turn the order upside down
            raise ValueError(
                f"aging needs after >= 0 (seconds) and every >= 2, got after={self.after}, every={self.every}"
            )


class Entry(Generic[Item]):
    """All that is known of one key. It is forgotten when nothing is pending, running or counted."""

    __slots__ = ("again", "failures", "item", "priority", "ready", "retry", "running", "since", "timer")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.ready = False  # in a level, waiting for a worker
        self.running = False  # handed out, not done yet
        self.priority = 0  # of readiness, or while running that with which it was handed out
        self.since = 0.0  # loop time at which it became ready, or was handed out
        self.again: int | None = None  # priority of an add that came while running
        self.timer: Timer[Item] | None = None  # add(after=...)
        self.retry: Timer[Item] | None = None  # add_rate_limited
        self.failures = 0


class Levels(Generic[Item]):
    """The ready entries. O(1) for each, O(levels) whenever aging looks for an old one, O(log levels) for a new level."""

    __slots__ = ("_by_priority", "_every", "_levels_allowed", "_order", "_passed", "_patience", "count")

    def __init__(self, aging: Aging | None) -> None:
        self.count = 0
        self._by_priority: dict[int, OrderedDict[Entry[Item], None]] = {}
        self._order: list[int] = []  # heap of negated priorities, one for each level, also for those that are empty now
        self._levels_allowed = _SPARE_LEVELS
        self._every = 0 if aging is None else aging.every
        self._patience = 0.0 if aging is None else aging.after
        self._passed = 0  # takings since aging last looked

    def push(self, entry: Entry[Item], priority: int) -> None:
        entry.priority = priority
        level = self._by_priority.get(priority)
        if level is None:
            level = self._open(priority)
        level[entry] = None  # by the entry: hashing a key costs more
        self.count += 1

    def remove(self, entry: Entry[Item]) -> None:
        del self._by_priority[entry.priority][entry]
        self.count -= 1

    def pop(self, now: float) -> Entry[Item]:
        """Take the next entry; there must be one."""
        order = self._order
        level = self._by_priority[-order[0]]
        while not level:
            del self._by_priority[-heappop(order)]
            level = self._by_priority[-order[0]]
        if len(order) > 1 and self._every:
            self._passed += 1
            if self._passed >= self._every:
                self._passed = 0
                level = self._overdue(now) or level
        self.count -= 1
        return level.popitem(last=False)[0]

    def pop_least(self) -> Entry[Item]:
        """Take the first entry of the lowest level; there must be one."""
        level = self._by_priority[min(priority for priority, level in self._by_priority.items() if level)]
        self.count -= 1
        return level.popitem(last=False)[0]

    def renew(self, entry: Entry[Item]) -> None:
        """Move an entry to the end of its level."""
        self._by_priority[entry.priority].move_to_end(entry)

    def turn_over(self, priority: int, now: float) -> None:
        """Lower every level above ``priority`` to it, what came last first; the others keep their order.

        All count as ready since ``now``.
        """
        merged: OrderedDict[Entry[Item], None] = OrderedDict()
        for level in sorted((level for level in self._by_priority if level > priority), reverse=True):
            for entry in reversed(self._by_priority.pop(level)):
                entry.priority = priority
                merged[entry] = None
        merged |= self._by_priority.get(priority, {})
        self._by_priority[priority] = merged
        for same in self._by_priority.values():
            for entry in same:
                entry.since = now
        self._tidy()

    def depth(self) -> dict[int, int]:
        """Count the entries by priority, the lowest first."""
        return {priority: len(level) for priority, level in sorted(self._by_priority.items()) if level}

    def _overdue(self, now: float) -> OrderedDict[Entry[Item], None] | None:
        """Return the level, below the highest, whose first entry is the oldest, if that is old enough."""
        oldest = now - self._patience
        found = None
        highest = -self._order[0]
        for priority, level in self._by_priority.items():
            if level and priority != highest:
                since = next(iter(level)).since
                if since <= oldest:
                    oldest, found = since, level
        return found

    def _open(self, priority: int) -> OrderedDict[Entry[Item], None]:
        if len(self._order) >= self._levels_allowed:
            self._tidy()
        level = self._by_priority[priority] = OrderedDict()
        heappush(self._order, -priority)
        return level

    def _tidy(self) -> None:
        """Forget empty levels: those below a busy one never come up to be forgotten, and priorities may be many."""
        self._by_priority = {priority: level for priority, level in self._by_priority.items() if level}
        self._order = [-priority for priority in self._by_priority]
        heapify(self._order)
        self._levels_allowed = 2 * len(self._order) + _SPARE_LEVELS
