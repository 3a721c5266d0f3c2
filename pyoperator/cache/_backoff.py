"""How long to wait after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.clock import Clock, Randomness


class Backoff:
    """Delays that double from ``first`` to ``limit`` seconds with jitter, and start anew after a healthy period.

    Healthy means ``reset_after`` seconds without a failure beyond the last delay. Every delay lies in
    [first, limit]: the base stops at limit/1.5 so that at the limit, too, clients stay spread over half of it.
    """

    def __init__(
        self, clock: Clock, random: Randomness, *, first: float = 0.8, limit: float = 30.0, reset_after: float = 60.0
    ) -> None:
        self._clock = clock
        self._random = random
        self._first = first
        self._limit = limit
        self._reset_after = reset_after
        self._base = first
        self._healthy_at = float("-inf")

    def next(self) -> float:
        """Return the seconds to wait after a failure that happened now."""
        now = self._clock.elapsed()
        if now >= self._healthy_at:
            self._base = self._first
        delay = min(self._random.jitter(self._base, 0.5), self._limit)
        self._base = min(self._base * 2, self._limit / 1.5)
        self._healthy_at = now + delay + self._reset_after
        return delay
