"""Which metrics a manager serves: gathered from its parts' statistics records, at scrape time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.metrics import (
    cache_families,
    certificate_families,
    client_families,
    election_families,
    event_loop_families,
    health_families,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyoperator.cache import Cache
    from pyoperator.health import HealthChecks
    from pyoperator.manager._election import HostedElection
    from pyoperator.metrics import EventLoopMonitor, Family, MetricsRegistry
    from pyoperator.serving import CertificateWatcher


def register_sources(
    registry: MetricsRegistry,
    *,
    transports: Callable[[], Sequence[object]],
    cache: Cache,
    election: HostedElection | None,
    healthz: HealthChecks,
    readyz: HealthChecks,
    event_loop: EventLoopMonitor,
    certificates: CertificateWatcher | None,
) -> None:
    """Add one source per part; controllers and users add their own.

    A transport counts if its statistics record has requests and durations; an in-process one needs none.
    """

    def clients() -> list[Family]:
        return client_families(
            found
            for found in map(_statistics, transports())
            if hasattr(found, "requests") and hasattr(found, "durations")
        )

    def leadership() -> list[Family]:
        if election is None:
            return []
        status = election.status()
        return election_families(
            election.config.name,
            leads=bool(status.master_status),
            slow_paths=status.slowpath_total,
            transitions=status.acquisitions_total + status.losses_total,
            refused=election.statistics().refused_total,
        )

    registry.add(clients)
    registry.add(leadership)
    registry.add(lambda: cache_families(cache.status().informers))
    registry.add(lambda: health_families({"healthz": healthz.failures, "readyz": readyz.failures}))
    registry.add(lambda: event_loop_families(event_loop.statistics()))
    if certificates is not None:
        registry.add(lambda: certificate_families([certificates.statistics()]))


def _statistics(part: object) -> Any:
    statistics = getattr(part, "statistics", None)
    return statistics() if callable(statistics) else None
