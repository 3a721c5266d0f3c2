"""Rendering every room's statistics for Prometheus.

Rooms count in plain integers and bucket arrays inside their own statistics records and know nothing of Prometheus; one
collector turns those records into series at the moment of a scrape. Series names are controller-runtime's, so that
its dashboards and alerts work unchanged; what it does not have is named ``pyoperator_*``.
"""

from pyoperator.metrics._application import metrics_application
from pyoperator.metrics._event_loop import EventLoopMonitor, EventLoopStatistics
from pyoperator.metrics._families import Family, Histogram, Sample, Source
from pyoperator.metrics._registry import MetricsRegistry
from pyoperator.metrics._series import (
    cache_families,
    certificate_families,
    client_families,
    controller_families,
    election_families,
    event_loop_families,
    health_families,
    queue_families,
)

__all__ = [
    "EventLoopMonitor",
    "EventLoopStatistics",
    "Family",
    "Histogram",
    "MetricsRegistry",
    "Sample",
    "Source",
    "cache_families",
    "certificate_families",
    "client_families",
    "controller_families",
    "election_families",
    "event_loop_families",
    "health_families",
    "metrics_application",
    "queue_families",
]
