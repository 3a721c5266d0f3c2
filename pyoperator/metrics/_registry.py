"""One manager's metrics: its sources of statistics, its users' own collectors, and the process itself."""

from __future__ import annotations

from math import inf, isinf
from typing import TYPE_CHECKING, Any, cast

import structlog

from pyoperator._callables import takes
from pyoperator.metrics._families import Family, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

    from pyoperator.metrics._families import Histogram, Source


class MetricsRegistry:
    """Collect families from sources at scrape time; own registry, nothing process-wide.

    prometheus_client is imported when something is rendered or ``prometheus`` is asked for, not before: an operator
    that serves no metrics does not pay for it. ``process=False`` leaves out process, platform and garbage collector.
    """

    def __init__(self, *, process: bool = True) -> None:
        self._sources: list[Source] = []
        self._process = process
        self._prometheus: CollectorRegistry | None = None
        self._source_errors = 0

    def add(self, source: Source) -> None:
        """Add a source of families. One that raises at a scrape is logged and counted; the others are still served."""
        given: Any = source
        if isinstance(given, type) or not callable(given) or not takes(given, 0):
            raise TypeError(
                f"{source!r} is no source of metrics: give a function without arguments that returns families; a metric of "
                "prometheus_client registers itself, Counter(..., registry=manager.metrics.prometheus)"
            )
        self._sources.append(source)

    @property
    def prometheus(self) -> CollectorRegistry:
        """The prometheus_client registry, for metrics of your own: ``Counter(..., registry=manager.metrics.prometheus)``."""
        if self._prometheus is None:
            from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

            registry = CollectorRegistry(auto_describe=False)
            if self._process:
                ProcessCollector(registry=registry)
                PlatformCollector(registry=registry)
                GCCollector(registry=registry)
            registry.register(_SourceCollector(self))
            self._prometheus = registry
        return self._prometheus

    def add_collector(self, collector: Collector) -> None:
        """Add a prometheus_client collector of your own."""
        self.prometheus.register(collector)

    def families(self) -> list[Family]:
        """Ask all sources; families of one name are joined, in the order of their first appearance."""
        joined: dict[str, list[Sample]] = {}
        shapes: dict[str, Family] = {}
        for source in self._sources:
            try:
                found = list(source())
            except Exception as error:
                # One room's defect must not blind the operator's whole monitoring.
                self._source_errors += 1
                structlog.get_logger("pyoperator.metrics").error("metrics source failed", error=repr(error))
                continue
            for family in found:
                shapes.setdefault(family.name, family)
                joined.setdefault(family.name, []).extend(family.samples)
        result = [
            Family(shape.name, shape.help, shape.kind, shape.label_names, tuple(joined[name]))
            for name, shape in shapes.items()
        ]
        result.append(
            Family(
                "pyoperator_metrics_source_errors_total",
                "Sources of metrics that raised at a scrape.",
                "counter",
                (),
                (Sample((), self._source_errors),),
            )
        )
        return result

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the exposition and its content type, in the format that an Accept header asks for."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self.prometheus), content_type

    def __repr__(self) -> str:
        return f"<MetricsRegistry sources={len(self._sources)}>"


class _SourceCollector:
    """The one prometheus_client collector that renders all families."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.families():
            yield _metric(family)

    def describe(self) -> Iterable[Metric]:
        return ()  # names are not known before a scrape


def _metric(family: Family) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    labels = list(family.label_names)
    metric: Any
    if family.kind == "histogram":
        metric = HistogramMetricFamily(family.name, family.help, labels=labels)
        for sample in family.samples:
            histogram = cast("Histogram", sample.value)
            metric.add_metric(list(sample.labels), _cumulative(histogram), histogram.total)
        return metric  # type: ignore[no-any-return]
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=labels)
    for sample in family.samples:
        metric.add_metric(list(sample.labels), sample.value)
    return metric  # type: ignore[no-any-return]


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*histogram.bounds, inf), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if isinf(bound) else f"{bound:g}", total))
    return buckets
