"""A sizing run with five objects: it ends, its lines can be read back, its plot is drawn. Never how much."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from benchmarks._sizing import Plan, sizing
from benchmarks._sizing_records import Fleet, Limited, picture

LIMITED = Limited(
    n=5,
    millicores=100,
    healthz_s=7.5,
    readyz_s=8,
    start_probe_s=0.25,
    busy_probe_s=0.5,
    term_s=math.nan,
    kept_lease=1,
    peak_mb=64,
)


@pytest.mark.e2e
@pytest.mark.parametrize("copy_above", [1000, 1], ids=["made", "copied"])
async def test_a_small_fleet_is_measured(copy_above: int) -> None:
    lines: list[str] = []
    plan = Plan((5,), (), idle=0.3, quiet=0.3, copy_above=copy_above, flags=("--retry-period=500ms",))
    tables = await sizing(plan, lines.append)
    (fleet,) = Fleet.parse("\n".join(lines))
    assert fleet.n == 5
    assert math.isnan(fleet.leader_ms) == (copy_above == 1)
    assert 0 < fleet.leader_rss_mb <= fleet.leader_peak_mb
    assert 0 < fleet.standby_rss_mb <= fleet.standby_peak_mb
    assert fleet.start_cpu_s > 0
    assert "leader_rss_mb" in tables


def test_records_are_read_back() -> None:
    assert Fleet.parse("n=5: settled\n") == []
    (parsed,) = Limited.parse(f"noise\n{LIMITED.text()}\n")
    assert parsed.text() == LIMITED.text()
    assert parsed.readyz_s == 8


def test_the_plot_is_well_formed() -> None:
    fleets = [Fleet(n, *[64.0] * 18) for n in (10, 10_000)]
    root = ET.fromstring(picture(fleets))
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 3
