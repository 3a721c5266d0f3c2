"""Each mode, with twenty objects, on an embedded server: it ends and prints its line. Never how fast."""

from __future__ import annotations

import re

import pytest

from benchmarks._load import define, open_client, seed
from benchmarks._measurement import Line
from benchmarks._micro import measure
from benchmarks._peers import ours
from benchmarks._processes import embedded_server
from benchmarks._results import Measurement, Results, Run
from benchmarks._short import short_run, table
from benchmarks._workload import Database

N = 20
USAGE = re.compile(
    r"peer=pyoperator mode=\w+ n=20 wall_s=\d+\.\d{3} cpu_s=\d+\.\d\d peak_mb=\d+ rss_mb=\d+ load=[\d.]+"
)


@pytest.mark.e2e
async def test_every_mode_prints_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    results = await short_run(N, 4, ("sync", "status", "latency", "elect"), settle=1.0)
    for mode in ("sync", "noop", "status"):
        (line,) = results.lines(mode)
        assert USAGE.fullmatch(line.text())
    (latency,) = results.lines("latency")
    assert latency.number("n") == N
    assert 0 < latency.number("p50_ms") <= latency.number("p99_ms") <= latency.number("max_ms")
    (change,) = results.lines("elect", what="hand-over")
    assert 0 <= change.number("gap_ms") <= change.number("sigterm_ms")


@pytest.mark.e2e
async def test_status_ends_where_nothing_is_left_to_report() -> None:
    async with embedded_server() as kubeconfig:
        async with open_client(kubeconfig) as client:
            await define(client)
            await seed(client, 5)
            await seed(client, 8, first=6, bare=True)
            found = {one.metadata.name: one for one in await client.list(Database, namespace="default")}
            assert sorted(found) == [f"db-00000{number}" for number in (0, 1, 2, 3, 4, 6, 7)]
            assert found["db-000004"].status is not None
            assert found["db-000006"].status is None
        for _ in range(2):  # what the first has written is what the second finds
            assert (await ours().run("status", 7, 4, kubeconfig)).number("n") == 7


async def test_steps_are_measured() -> None:
    costs = await measure(200)
    assert len({cost.what for cost in costs}) == len(costs) >= 18
    assert all(cost.microseconds >= 0 for cost in costs)
    assert {cost.what.partition(":")[0] for cost in costs} >= {"queue", "predicate", "handler"}


def test_the_short_run_is_a_table() -> None:
    parts = {
        "noop": "peer=pyoperator mode=noop n=20 wall_s=0.5 cpu_s=0.10",
        "elect": "peer=pyoperator what=hand-over sigterm_ms=12.4",
    }
    lines = {part: Line.parse(text) for part, text in parts.items()}
    lines["steps"] = Line({"peer": "pyoperator", "step": "queue: repeated add", "us": "0.15"})
    run = Run("a", {}, [Measurement(part, 0, line) for part, line in lines.items() if line is not None])
    text = table(Results([run]))
    assert re.search(r"noop +20 +0\.5 +0\.1 +- +- +- +- +40\n", text)  # 20 objects in half a second
    assert "12 ms" in text
    assert re.search(r"repeated add +0\.15$", text)


def test_a_line_is_found_or_not() -> None:
    assert Line.parse("nothing here") is None
    line = Line.parse("noise\npeer=a mode=noop n=20\npeer=b")
    assert line is not None
    assert line.values == {"peer": "a", "mode": "noop", "n": "20"}
