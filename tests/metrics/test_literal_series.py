"""Every series of a controller as controller-runtime's dashboards know it: name, type, labels, buckets, word for word.

The table is written down here, not derived: pkg/metrics/workqueue.go and pkg/internal/controller/metrics/metrics.go.
"""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from pyoperator.controller import Controller, ControllerOptions, Request, Result, TerminalError
from pyoperator.metrics import MetricsRegistry
from tests.support import run_virtual

C = '{controller="postgres"}'
Q = '{controller="postgres",name="postgres"}'

# As Go writes them: whole numbers without a point.
RECONCILE_BUCKETS = [
    "0.005",
    "0.01",
    "0.025",
    "0.05",
    "0.1",
    "0.15",
    "0.2",
    "0.25",
    "0.3",
    "0.35",
    "0.4",
    "0.45",
    "0.5",
    "0.6",
    "0.7",
    "0.8",
    "0.9",
    "1",
    "1.25",
    "1.5",
    "1.75",
    "2",
    "2.5",
    "3",
    "3.5",
    "4",
    "4.5",
    "5",
    "6",
    "7",
    "8",
    "9",
    "10",
    "15",
    "20",
    "25",
    "30",
    "40",
    "50",
    "60",
    "+Inf",
]
QUEUE_BUCKETS = ["1e-08", "1e-07", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1", "10", "100", "1000", "+Inf"]

TYPES = {
    "controller_runtime_reconcile_total": "counter",
    "controller_runtime_reconcile_errors_total": "counter",
    "controller_runtime_terminal_reconcile_errors_total": "counter",
    "controller_runtime_reconcile_panics_total": "counter",
    "controller_runtime_reconcile_timeouts_total": "counter",
    "controller_runtime_reconcile_time_seconds": "histogram",
    "controller_runtime_max_concurrent_reconciles": "gauge",
    "controller_runtime_active_workers": "gauge",
    "workqueue_depth": "gauge",
    "workqueue_adds_total": "counter",
    "workqueue_retries_total": "counter",
    "workqueue_queue_duration_seconds": "histogram",
    "workqueue_work_duration_seconds": "histogram",
    "workqueue_unfinished_work_seconds": "gauge",
    "workqueue_longest_running_processor_seconds": "gauge",
    "pyoperator_reconcile_conflicts_total": "counter",
    "pyoperator_dead_letters_total": "counter",
    "pyoperator_event_errors_total": "counter",
    "pyoperator_metrics_source_errors_total": "counter",
}
SERIES = {
    'controller_runtime_reconcile_total{controller="postgres",result="success"}': 1,
    'controller_runtime_reconcile_total{controller="postgres",result="error"}': 6,
    'controller_runtime_reconcile_total{controller="postgres",result="requeue"}': 2,
    'controller_runtime_reconcile_total{controller="postgres",result="requeue_after"}': 1,
    f"controller_runtime_reconcile_errors_total{C}": 6,
    f"controller_runtime_terminal_reconcile_errors_total{C}": 1,
    f"controller_runtime_reconcile_panics_total{C}": 2,
    f"controller_runtime_reconcile_timeouts_total{C}": 1,
    f"controller_runtime_reconcile_time_seconds_count{C}": 10,
    f"controller_runtime_reconcile_time_seconds_sum{C}": 20,
    f"controller_runtime_max_concurrent_reconciles{C}": 3,
    f"controller_runtime_active_workers{C}": 1,
    'workqueue_depth{controller="postgres",name="postgres",priority="-100"}': 1,
    'workqueue_depth{controller="postgres",name="postgres",priority="0"}': 0,
    'workqueue_depth{controller="postgres",name="postgres",priority="7"}': 2,
    f"workqueue_adds_total{Q}": 14,
    f"workqueue_retries_total{Q}": 4,
    f"workqueue_queue_duration_seconds_count{Q}": 11,
    f"workqueue_queue_duration_seconds_sum{Q}": 0,
    f"workqueue_work_duration_seconds_count{Q}": 10,
    f"workqueue_work_duration_seconds_sum{Q}": 20,
    f"workqueue_unfinished_work_seconds{Q}": 19.5,
    f"workqueue_longest_running_processor_seconds{Q}": 19.5,
    f"pyoperator_reconcile_conflicts_total{C}": 0,
    f"pyoperator_dead_letters_total{C}": 3,
    f"pyoperator_event_errors_total{C}": 0,
    "pyoperator_metrics_source_errors_total": 0,
}


def expected_buckets() -> set[str]:
    found = {
        f'controller_runtime_reconcile_time_seconds_bucket{{controller="postgres",le="{bound}"}}'
        for bound in RECONCILE_BUCKETS
    }
    for histogram in ("queue", "work"):
        name = f"workqueue_{histogram}_duration_seconds_bucket"
        found |= {f'{name}{{controller="postgres",le="{bound}",name="postgres"}}' for bound in QUEUE_BUCKETS}
    return found


def test_the_exposition_of_a_controller_that_has_seen_everything() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> Result | None:
            if request.name == "bug":
                raise KeyError("bug")
            if request.name == "terminal":
                raise TerminalError("no")
            if request.name in {"down", "dead"}:
                raise OSError("down")
            if request.name in {"slow", "running"}:
                await asyncio.Event().wait()
            return {"later": Result(requeue_after=3600), "wait": Result(backoff=True)}.get(request.name)

        options = ControllerOptions(max_concurrent_reconciles=3, reconciliation_timeout=20, max_retries=1)
        controller = Controller("postgres", reconcile, options=options)
        run = asyncio.ensure_future(controller.run())
        with capture_logs():
            for name in ("ok", "later", "wait", "bug", "terminal", "down", "slow"):
                controller.queue.add(Request("ns", name))
            await asyncio.sleep(1)  # all but the slow one and their retries are over, three keys are given up
            controller.queue.add(Request("ns", "running"))
            await asyncio.sleep(0)
            controller.pause()
            await asyncio.sleep(19.5)  # the slow one has timed out and waits to be tried again
            for name in ("urgent", "urgent too"):
                controller.queue.add(Request("ns", name), priority=7)
        registry = MetricsRegistry(process=False)
        registry.add(controller.metric_families)
        text = generate_latest(registry.prometheus).decode()
        run.cancel()
        await asyncio.wait((run,))
        types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
        assert types == TYPES
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        buckets = {name for name in lines if "_bucket{" in name}
        assert buckets == expected_buckets()
        assert {name: float(value) for name, value in lines.items() if name not in buckets} == pytest.approx(SERIES)

    run_virtual(main)
