"""What a transport has sent, counted in plain integers for whoever renders metrics."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DURATION_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the buckets of client-go's ``rest_client_request_duration_seconds``."""


@dataclass(frozen=True, slots=True)
class DurationHistogram:
    """Counts per bucket of DURATION_BOUNDS, the last one unbounded, and the sum in seconds."""

    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """A reading of a transport's counters.

    ``requests`` by (code, method, host), with code ``<error>`` for no answer; ``durations`` by (method, host), watches
    left out; ``fenced`` writes that the gate refused; ``credential_refreshes`` after a 401; ``server_warnings`` seen.
    """

    requests: Mapping[tuple[str, str, str], int]
    durations: Mapping[tuple[str, str], DurationHistogram]
    fenced: int = 0
    credential_refreshes: int = 0
    server_warnings: int = 0


class StatisticsRecorder:
    """Count; one per transport."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.fenced = 0
        self.credential_refreshes = 0
        self.server_warnings = 0
        self._requests: dict[tuple[str, str], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._totals: dict[str, float] = {}

    def record(self, method: str, code: str, seconds: float | None) -> None:
        """Count one attempt; ``seconds`` None for one whose duration says nothing."""
        self._requests[code, method] = self._requests.get((code, method), 0) + 1
        if seconds is not None:
            buckets = self._buckets.setdefault(method, [0] * (len(DURATION_BOUNDS) + 1))
            buckets[bisect_left(DURATION_BOUNDS, seconds)] += 1
            self._totals[method] = self._totals.get(method, 0.0) + seconds

    def statistics(self) -> TransportStatistics:
        return TransportStatistics(
            requests={(code, method, self.host): count for (code, method), count in self._requests.items()},
            durations={
                (method, self.host): DurationHistogram(tuple(buckets), self._totals[method])
                for method, buckets in self._buckets.items()
            },
            fenced=self.fenced,
            credential_refreshes=self.credential_refreshes,
            server_warnings=self.server_warnings,
        )
