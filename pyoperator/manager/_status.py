"""What a manager tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.cache import CacheStatus
    from pyoperator.leaderelection import ElectionStatus
    from pyoperator.manager._life_cycle import Phase


@dataclass(frozen=True, slots=True)
class ManagerStatus:
    """One moment of a manager: logs, metrics, tests and people read the same record.

    ``leads``: leader-only runnables may run (always, once started, without election). ``waiting_for``: what holds up
    the start, in words. ``runnables`` by group. Ports are 0 while nothing is served.
    """

    phase: Phase
    leads: bool
    waiting_for: tuple[str, ...]
    runnables: Mapping[str, tuple[str, ...]]
    election: ElectionStatus | None
    cache: CacheStatus
    metrics_port: int
    health_probe_port: int
