"""Counting durations in buckets of plain integers; whoever exports metrics renders the record at scrape time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

# The bounds controller-runtime uses, so that its dashboards and alerts fit: reconcile durations from 5 ms to 60 s,
# queue and work durations in powers of ten from 10 ns to 1000 s. All in seconds.
RECONCILE_TIME_BOUNDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0,
    15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0,
)  # fmt: skip
QUEUE_TIME_BOUNDS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """What was counted until one moment.

    ``counts[i]`` durations were at most ``bounds[i]`` and above the bound before it (not cumulative); the last count,
    one more than there are bounds, is of those above all bounds. ``total`` is their sum in seconds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class DurationHistogram:
    """Count durations (seconds) in buckets; an observation costs one bisection."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def record(self) -> Histogram:
        """Return what was counted so far, as it is exposed."""
        return Histogram(self._bounds, tuple(self._counts), self._total)

    def __repr__(self) -> str:
        return f"DurationHistogram(count={sum(self._counts)}, total={self._total:.6f})"
