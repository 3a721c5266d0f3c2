"""How late the work loop runs what is due: the one number that shows blocking code in an operator."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

_BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class EventLoopStatistics:
    """Lags in seconds: the last one, the largest since the start, and all of them in buckets."""

    last: float
    largest: float
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class EventLoopMonitor:
    """Sleep again and again, and measure by how much each waking was late."""

    def __init__(self, *, interval: float = 0.5) -> None:
        self._interval = interval
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0
        self._last = 0.0
        self._largest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            self._observe(max(0.0, loop.time() - due))

    def _observe(self, lag: float) -> None:
        self._last = lag
        self._largest = max(self._largest, lag)
        self._sum += lag
        self._counts[bisect_left(_BOUNDS, lag)] += 1

    def statistics(self) -> EventLoopStatistics:
        return EventLoopStatistics(self._last, self._largest, _BOUNDS, tuple(self._counts), self._sum)

    def __repr__(self) -> str:
        return f"<EventLoopMonitor last={self._last * 1000:.1f}ms largest={self._largest * 1000:.1f}ms>"
