"""RESULTS.md from made-up figures: verdicts, what is missing, notes, plots."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchmarks import _svg
from benchmarks._measurement import Line
from benchmarks._memory_gate import key, record
from benchmarks._results import Recorder, Results, Run
from benchmarks.report import write_report
from benchmarks.report._plots import percentiles
from benchmarks.report._targets import TARGETS, Figure, Target, linear_growth

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"
OURS, THEIRS = "peer=pyoperator", "peer=controller-runtime"
LINES = {
    "sync": [f"{OURS} n=10000 wall_s=1 cpu_s=1.0 rss_mb=80", f"{THEIRS} n=10000 wall_s=2 cpu_s=2.0 rss_mb=100"],
    "noop": [f"{OURS} n=10000 wall_s=1 cpu_s=1", f"{THEIRS} n=10000 rate=5000 cpu_s=1"],
    "status": [f"{OURS} n=3000 cpu_s=1", f"{THEIRS} n=3000 cpu_s=2"],
    "latency": [
        f"{OURS} n=2000 p50_ms=5 p99_ms=9 p00_ms=1 p999_ms=20",
        f"{THEIRS} n=2000 p50_ms=4 p99_ms=10 max_ms=50",
    ],
    "elect": [
        f"{OURS} what=hand-over sigterm_ms=20 gap_ms=9",
        f"{OURS} what=hand-over sigterm_ms=30 gap_ms=60",
        f"{OURS} what=crash takeover_ms=15000 beyond_ms=40",
        f"{THEIRS} what=hand-over sigterm_ms=1000 gap_ms=900",
    ],
    "imports": [f"{OURS} what=libraries wall_ms=300", f"{OURS} what=operator wall_ms=330"],
    "servers": [
        "peer=embedded what=https creates_s=500 patches_s=900 delivered_s=120000 lost=1",
        "peer=embedded what=in-process creates_s=3000 patches_s=3000 delivered_s=120000 lost=0",
        "peer=kube-apiserver what=https creates_s=1000 patches_s=1000 delivered_s=1000 lost=0",
    ],
    "growth": [
        *(f"{OURS} n={n} wall_s={n / 1e4} cpu_s={0.5 + n / 1e4} rss_mb={50 + n / 1e3}" for n in (1000, 10000, 100000)),
        f"{THEIRS} n=100000 wall_s=20 cpu_s=20 rss_mb=600",
        f"{THEIRS} n=1000 wall_s=0.2 cpu_s=0.2 rss_mb=40",
    ],
    "steps": [],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    recorder = Recorder(folder, server="kube-apiserver v1.36", versions={"pyoperator": "1"})
    for part, texts in LINES.items():
        for number, text in enumerate(texts):
            line = Line.parse(text)
            assert line is not None
            recorder.line(part, number, line)
    recorder.line("steps", 0, Line({"peer": "pyoperator", "step": "queue: add", "us": "1.5"}))
    recorder.remark("kube-rs: not built")
    return folder


def verdicts(text: str) -> dict[str, str]:
    section = text.partition("## Targets\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {row[0]: row[-1] for row in rows[2:]}


def test_targets_are_judged(results: Path) -> None:
    write_report(results)
    found = verdicts((results.parent / "RESULTS.md").read_text())
    assert found["cold sync of 10,000: CPU"] == "**missed**"
    assert found["cold sync of 10,000: wall time"] == "met"
    assert found["resident memory after sync of 10,000"] == "met"
    assert found["resident memory after sync of 100,000"] == "met"
    assert found["cold sync of 10,000: CPU beside kube-rs"] == "not measured"
    assert found["reconciles of 10,000 without a change: rate"] == "met"
    assert found["reconciles of 3,000 that patch the status: CPU of each"] == "met"
    assert found["creation to reconcile of 2,000 at 100/s: p50"] == "**missed**"
    assert found["creation to reconcile of 2,000 at 100/s: p99"] == "met"
    assert found["hand-over on SIGTERM: release to acquisition, most"] == "**missed**"
    assert found["hand-over on SIGTERM: signal to acquisition, median"] == "met"
    assert found["take-over after SIGKILL: beyond the lease's duration, most"] == "met"
    assert found["growth: CPU of a further object in a cold sync, late by early"] == "met"
    assert found["import of what a main.py names"] == "met"
    assert found["embedded server, one core: creates over HTTPS"] == "**missed**"
    assert found["embedded server, one core: creates in-process"] == "met"
    assert found["embedded server, one core: 100 watchers over HTTPS"] == "**missed**"  # one event was lost
    assert found["embedded server, one core: 100 watchers in-process"] == "met"
    assert found["embedded server, one core: start"] == "not measured"
    assert list(found) == [target.name for target in TARGETS]


def test_other_numbers_of_objects_say_nothing_of_the_targets(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "results")
    for peer in (OURS, THEIRS):
        for part in ("sync", "noop", "status", "latency"):
            line = Line.parse(f"{peer} n=300 wall_s=1 cpu_s=1.0 rss_mb=80 p50_ms=1 p99_ms=1")
            assert line is not None
            recorder.line(part, 0, line)
    document, *_ = write_report(tmp_path / "results")
    assert set(verdicts(document.read_text()).values()) == {"not measured"}


def test_the_page_has_notes_lines_remarks_and_plots(results: Path) -> None:
    notes = results.parent / "notes"
    notes.mkdir()
    (notes / "misses.md").write_text("Tried a faster encoder.\n")
    record(key(), 90.0, results)
    written = write_report(results)
    text = (results.parent / "RESULTS.md").read_text()
    assert "## What was missed, and what was tried\n\nTried a faster encoder.\n" in text
    assert "## Soak" not in text  # nobody has written of it
    assert "| queue: add | 1.50 |" in text
    assert "90.0 MiB" in text
    assert "- kube-rs: not built" in text
    assert f"    1  {LINES['sync'][0]}" in text
    for path in written[1:]:
        assert f"]({path.parent.name}/{path.name})" in text
        ET.fromstring(path.read_text())
    assert {path.stem for path in written[1:]} == {
        "sync-time", "sync-cpu", "sync-memory", "latency", "cpu-per-reconcile",
    }  # fmt: skip
    before = text
    assert write_report(results) == written
    assert (results.parent / "RESULTS.md").read_text() == before


def test_the_smallest_figure_of_a_peer_is_on_the_plot(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "results", server="", versions={})
    for n in (1000, 10000):
        line = Line.parse(f"{THEIRS} n={n} wall_s=1 cpu_s=0.05 rss_mb=24")
        assert line is not None
        recorder.line("growth", 0, line)
    drawn = {path.stem: ET.fromstring(path.read_text()) for path in write_report(tmp_path / "results")[1:]}
    for name, least in (("sync-cpu", 0.03125), ("sync-memory", 16.0)):
        ticks = [
            float(text.text or 0)
            for text in drawn[name].iter(f"{SVG}text")
            if text.get("text-anchor") == "end" and (text.text or "")[0].isdigit()
        ]
        assert min(ticks) == least
        assert all(float(dot.get("cy", 0)) < 344 for dot in drawn[name].iter(f"{SVG}circle"))  # not at the axis' end


def test_an_empty_folder_makes_a_page_without_verdicts(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (document,) = write_report(tmp_path / "results")
    assert set(verdicts(document.read_text()).values()) == {"not measured"}


def test_a_verdict_is_about_the_figure_that_is_shown() -> None:
    at_most, at_least = Target("a", 0.7, lambda _: None), Target("b", 1.3, lambda _: None, least=True)
    assert [at_most.met(value) for value in (0.7, 0.704, 0.706)] == [True, True, False]
    assert [at_least.met(value) for value in (1.3, 1.296, 1.294)] == [True, True, False]
    shown = Target("c", 50, lambda _: Figure(60.0, "60"), unit="ms").row(Results([]))
    assert shown[1:] == ("<= 50 ms", "60", "", "60 ms", "**missed**")


@pytest.mark.parametrize(
    ("least", "values", "shown", "verdict"),
    [
        (False, [0.6, 0.9, 0.65], "0.65x (0.60x to 0.90x, n = 3)", "met"),
        (False, [0.6, 0.8], "0.80x (0.60x to 0.80x, n = 2)", "**missed**"),
        (True, [0.6, 0.8], "0.60x (0.60x to 0.80x, n = 2)", "**missed**"),
    ],
)
def test_no_run_stands_alone(least: bool, values: list[float], shown: str, verdict: str) -> None:
    """Judged is the one in the middle of a version's, of two the less favourable; other versions say nothing."""
    names = [f"2026-01-0{day}" for day in range(1, len(values) + 1)]
    by_name = dict(zip(names, values, strict=True))
    runs = [Run(name, {"versions": {"pyoperator": "2"}}) for name in names]
    runs.append(Run("2025-12-31", {"versions": {"pyoperator": "1"}}))

    def measure(results: Results) -> Figure | None:
        value = by_name[results.runs[0].name]
        return Figure(value, f"{value}", "1")

    row = Target("a", 0.7, measure, least=least).row(Results(runs))
    assert row[4:] == (shown, verdict)
    assert row[2] == str(float(shown.partition("x")[0]))


def test_growth_compares_the_slopes_without_the_start(results: Path) -> None:
    figure = linear_growth(Results.load(results), "pyoperator")
    assert figure is not None
    assert figure.value == pytest.approx(1.0)
    assert linear_growth(Results.load(results), "controller-runtime") is None  # two points have one slope


def test_percentiles_are_shares_in_order() -> None:
    line = Line({"p99_ms": "3", "p00_ms": "1", "p995_ms": "4", "max_ms": "9", "p50_ms": "2"})
    assert percentiles(line) == {0.0: 1, 0.5: 2, 0.99: 3, 0.995: 4}
    assert list(percentiles(line)) == [0.0, 0.5, 0.99, 0.995]


def test_axes_reach_over_what_they_show() -> None:
    for last in (0.003, 0.7, 3, 99, 100, 12345):
        ticks = [value for value, _ in _svg.linear("x", last).ticks]
        assert ticks[0] == 0
        assert ticks[-1] >= last * 0.999999
        assert 4 <= len(ticks) <= 12
    assert [name for _, name in _svg.doubling("MiB", 32, 100).ticks] == ["32", "64", "128"]
    axis = _svg.counts("objects", [1000, 100000])
    assert axis.share(10000) == pytest.approx(0.5)
    assert axis.share(10) == 0  # beyond: at the end


def test_words_in_plots_are_escaped() -> None:
    root = ET.fromstring(_svg.draw_bars("a < b & c", [_svg.Bar("<i>", "#000", 0.0)], "us"))
    assert len(root.findall(f"{SVG}rect")) == 2
    assert [text.text for text in root.findall(f"{SVG}text")][:2] == ["a < b & c", "<i>"]
