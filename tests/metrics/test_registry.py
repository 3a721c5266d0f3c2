from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from pyoperator.metrics import (
    EventLoopMonitor,
    Family,
    MetricsRegistry,
    Sample,
    certificate_families,
    client_families,
    election_families,
    event_loop_families,
    health_families,
    metrics_application,
)
from pyoperator.serving import CertificateStatistics
from tests.support import run_virtual


@dataclass
class Buckets:
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


def rendered(registry: MetricsRegistry) -> dict[str, float]:
    """Every series as ``name{labels}`` -> value."""
    text, content_type = registry.render()
    assert content_type.startswith("text/plain")
    return {
        f"{sample.name}{dict(sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_gauges_and_histograms() -> None:
    registry = MetricsRegistry(process=False)
    registry.add(lambda: [Family("a_total", "A.", "counter", ("x",), (Sample(("1",), 3),))])
    registry.add(lambda: [Family("a_total", "A.", "counter", ("x",), (Sample(("2",), 4),))])
    registry.add(lambda: [Family("b", "B.", "gauge", (), (Sample((), 1.5),))])
    registry.add(lambda: [Family("c_seconds", "C.", "histogram", (), (Sample((), Buckets((0.1, 1), (2, 1, 4), 9.5)),))])
    assert rendered(registry) == {
        "a_total{'x': '1'}": 3,
        "a_total{'x': '2'}": 4,
        "b{}": 1.5,
        "c_seconds_bucket{'le': '0.1'}": 2,
        "c_seconds_bucket{'le': '1'}": 3,
        "c_seconds_bucket{'le': '+Inf'}": 7,
        "c_seconds_count{}": 7,
        "c_seconds_sum{}": 9.5,
        "pyoperator_metrics_source_errors_total{}": 0,
    }


def test_two_registries_share_nothing() -> None:
    one, two = MetricsRegistry(), MetricsRegistry()
    Counter("mine", "Mine.", registry=one.prometheus).inc()
    assert rendered(one)["mine_total{}"] == 1
    assert "mine_total{}" not in rendered(two)
    assert any(name.startswith("python_info") for name in rendered(two))


def test_a_source_that_fails_blinds_no_other() -> None:
    registry = MetricsRegistry(process=False)

    def broken() -> list[Family]:
        raise RuntimeError("defect")

    registry.add(broken)
    registry.add(lambda: [Family("b", "B.", "gauge", (), (Sample((), 1),))])
    with capture_logs() as logs:
        assert rendered(registry) == {"b{}": 1, "pyoperator_metrics_source_errors_total{}": 1}
    assert logs[0]["event"] == "metrics source failed"


async def test_the_endpoint() -> None:
    async def extra(_: web.Request) -> web.Response:
        return web.Response(text="extra")

    registry = MetricsRegistry()
    application = metrics_application(registry, extra_handlers={"/debug": extra})
    async with TestClient(TestServer(application)) as client:
        async with client.get("/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert "python_info" in await answer.text()
        async with client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
            assert (await answer.text()).endswith("# EOF\n")
        async with client.get("/debug") as answer:
            assert await answer.text() == "extra"
        async with client.get("/") as answer:
            assert answer.status == 404


@dataclass
class Requests:
    requests: dict[tuple[str, str, str], int]
    durations: dict[tuple[str, str], Buckets]


def test_requests_of_several_transports_are_added_up() -> None:
    record = Requests({("200", "GET", "h:1"): 2}, {("GET", "h:1"): Buckets((), (1,) + (0,) * 12, 0.5)})
    registry = MetricsRegistry(process=False)
    registry.add(lambda: client_families([record, record]))
    found = rendered(registry)
    assert found["rest_client_requests_total{'code': '200', 'host': 'h:1', 'method': 'GET'}"] == 4
    assert found["rest_client_request_duration_seconds_count{'host': 'h:1', 'verb': 'GET'}"] == 2
    assert found["rest_client_request_duration_seconds_sum{'host': 'h:1', 'verb': 'GET'}"] == 1.0
    assert found["rest_client_request_duration_seconds_bucket{'host': 'h:1', 'le': '0.005', 'verb': 'GET'}"] == 2


def test_the_small_families() -> None:
    registry = MetricsRegistry(process=False)
    registry.add(lambda: election_families("id", leads=True, slow_paths=1, transitions=2, refused=3))
    registry.add(lambda: certificate_families([CertificateStatistics(2, 1), CertificateStatistics(1, 0)]))
    registry.add(lambda: health_families({"readyz": {"informers": 7}}))
    assert rendered(registry) == {
        "leader_election_master_status{'name': 'id'}": 1,
        "leader_election_slowpath_total{'name': 'id'}": 1,
        "pyoperator_leader_transitions_total{'name': 'id'}": 2,
        "pyoperator_fenced_writes_refused_total{'name': 'id'}": 3,
        "certwatcher_read_certificate_total{}": 3,
        "certwatcher_read_certificate_errors_total{}": 1,
        "pyoperator_health_check_failures_total{'check': 'informers', 'endpoint': 'readyz'}": 7,
        "pyoperator_metrics_source_errors_total{}": 0,
    }


def test_the_event_loops_lag_is_measured() -> None:
    async def main() -> EventLoopMonitor:
        monitor = EventLoopMonitor(interval=1.0)
        task = asyncio.create_task(monitor.run())
        await asyncio.sleep(10.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return monitor

    monitor = run_virtual(main)
    record = monitor.statistics()
    assert sum(record.counts) == record.counts[0] == 10
    assert record.largest == pytest.approx(0, abs=1e-6)
    monitor._observe(3.0)
    registry = MetricsRegistry(process=False)
    registry.add(lambda: event_loop_families(monitor.statistics()))
    found = rendered(registry)
    assert found["pyoperator_event_loop_lag_seconds_bucket{'le': '2.5'}"] == 10
    assert found["pyoperator_event_loop_lag_seconds_bucket{'le': '5'}"] == 11
    assert found["pyoperator_event_loop_lag_largest_seconds{}"] == 3.0
    assert "largest=3000.0ms" in repr(monitor)
