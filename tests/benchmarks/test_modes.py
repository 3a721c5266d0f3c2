"""Each mode, with twenty objects, on an embedded server: it ends and prints its line. Never how fast."""

from __future__ import annotations

import re

import pytest

from benchmarks._compare import TARGETS, Target
from benchmarks._measurement import Line
from benchmarks._micro import measure
from benchmarks._overview import hand_over_milliseconds, latency, run_mode, table
from benchmarks._processes import embedded_server, output, this_program

N = 20
USAGE = re.compile(r"peer=pyoperator mode=\w+ n=20 wall_s=\d+\.\d{3} cpu_s=\d+\.\d\d peak_mb=\d+ rss_mb=\d+")


@pytest.mark.e2e
async def test_every_mode_prints_its_line() -> None:
    async with embedded_server() as kubeconfig:
        await output(this_program("--seed", str(N)), kubeconfig)
        for mode in ("sync", "noop"):
            assert USAGE.fullmatch((await run_mode(kubeconfig, mode, N, 4)).text())
        await output(this_program("--bump", str(N)), kubeconfig)
        assert USAGE.fullmatch((await run_mode(kubeconfig, "status", N, 4)).text())
        # What status wrote is what a second run finds: nothing is left to report, and it ends all the same.
        assert USAGE.fullmatch((await run_mode(kubeconfig, "status", N, 4)).text())
        measured = await latency(kubeconfig, N, 4)
        assert measured.number("n") == N
        assert 0 < measured.number("p50_ms") <= measured.number("p99_ms")
        await output(this_program("--wipe"), kubeconfig)
        assert (await run_mode(kubeconfig, "sync", 0, 4)).number("n") == 0


@pytest.mark.e2e
async def test_the_lease_is_handed_over() -> None:
    async with embedded_server() as kubeconfig:
        await output(this_program("--seed", "0"), kubeconfig)
        assert await hand_over_milliseconds(kubeconfig) > 0


async def test_steps_are_measured_and_tabulated() -> None:
    costs = await measure(200)
    assert len({cost.what for cost in costs}) == len(costs) >= 9
    assert all(cost.microseconds >= 0 for cost in costs)
    line = Line.parse("noise\npeer=pyoperator mode=noop n=20 wall_s=0.5 cpu_s=0.10\n")
    assert line is not None
    text = table([line], 12.0, costs)
    assert "noop" in text
    assert " 40" in text  # 20 objects in half a second
    assert "repeated add" in text


def test_a_line_is_found_or_not() -> None:
    assert Line.parse("nothing here") is None


def test_targets_are_ratios_of_medians() -> None:
    def lines(mode: str, *walls: float) -> list[Line]:
        return [Line({"mode": mode, "n": "100", "wall_s": str(wall), "cpu_s": "1"}) for wall in walls]

    wall = Target("sync", "wall_s", 0.7)
    assert wall.ratio(lines("sync", 9.0, 1.0, 2.0), lines("sync", 4.0, 4.0, 4.0)) == 0.5
    assert wall.met(0.7)
    assert not wall.met(0.71)
    rate = Target("noop", "rate", 1.3)
    assert rate.ratio(lines("noop", 2.0), lines("noop", 4.0)) == 2.0
    assert rate.met(1.3)
    assert not rate.met(1.29)
    assert {target.mode for target in TARGETS} == {"sync", "noop", "status"}
