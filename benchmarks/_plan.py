"""How much a whole run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a run measures. ``settle``: seconds that a program gets to open its watch before objects are created."""

    n: int = 10_000
    n_status: int = 3000
    n_latency: int = 2000
    rate: float = 100.0
    points: tuple[int, ...] = (1000, 3000, 10_000, 30_000, 100_000)
    rounds: int = 3
    workers: int = 16
    hand_overs: int = 10
    crashes: int = 2
    settle: float = 5.0
    writes: int = 2000
    watchers: int = 100
    events: int = 3000
    imports: int = 10
