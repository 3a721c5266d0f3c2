"""How long to wait before trying again: backoff per item, and an optional bucket for all items together."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_EXPONENT = 62  # beyond it 2**n only costs time: any cap has been reached


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: ``base`` seconds doubled with each failure of an item, never above ``cap`` seconds.

    The defaults are controller-runtime's: 5 ms doubled up to 1000 s.
    """

    base: float = 0.005
    cap: float = 1000.0

    def __post_init__(self) -> None:
        if not 0 < self.base <= self.cap:
            raise ValueError(f"backoff needs 0 < base <= cap, got base={self.base}, cap={self.cap} (seconds)")

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many earlier failures (0 for the first)."""
        return min(self.base * 2.0 ** min(failures, _MAX_EXPONENT), self.cap)


class TokenBucket:
    """Limit retries of all items together: ``rate`` per second on average, ``burst`` at once.

    A reservation is never refused, only put off: the bucket may go into debt, and each caller is told how long to wait.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a token bucket needs rate > 0 and burst >= 1, got rate={rate}, burst={burst}")
        self.rate: float = rate
        self.burst: int = burst
        self._tokens = float(burst)
        self._at: float | None = None

    def reserve(self, now: float) -> float:
        """Take one token and return the seconds until it is there; ``now`` is the loop's time."""
        if self._at is not None:
            self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
        self._at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self.rate)

    def __repr__(self) -> str:
        return f"TokenBucket(rate={self.rate}, burst={self.burst}, tokens={self._tokens:.2f})"
