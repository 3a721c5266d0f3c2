"""Who takes part and in which order, what happens to those who fail, the budget; and small whole runs."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from benchmarks._bench import Bench, Budget
from benchmarks._command_line import parser, plan_of
from benchmarks._peers import Side, Sides, find_sides
from benchmarks._plan import Plan
from benchmarks._processes import BenchmarkError
from benchmarks._real_server import find_program
from benchmarks._results import Recorder, Results
from benchmarks._suite import whole_run
from benchmarks.parts import PARTS

if TYPE_CHECKING:
    from pathlib import Path


def side(name: str, *modes: str, once: bool = False) -> Side:
    return Side(name, lambda _mode, _n, _workers: ["true"], frozenset(modes), once=once)


def bench(tmp_path: Path, *sides: Side, budget: float = 100.0, plan: Plan | None = None) -> tuple[Bench, list[str]]:
    told: list[str] = []
    made = Bench("", Sides(list(sides)), plan or Plan(), Recorder(tmp_path), told.append, Budget(budget))
    return made, told


def test_another_side_begins_each_round() -> None:
    sides = Sides([side("a", "sync", "noop"), side("b", "sync", "noop"), side("c", "noop", once=True)])
    assert [[one.name for one in sides.of("sync", number)] for number in range(3)] == [
        ["a", "b"],
        ["b", "a"],
        ["a", "b"],
    ]
    assert [[one.name for one in sides.of("noop", number)] for number in range(3)] == [
        ["a", "b", "c"],
        ["b", "a"],
        ["a", "b"],
    ]
    assert sides.of("elect", 1) == []


async def test_absent_peers_are_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE_RS_BENCH", "/nowhere/bench-kube")
    monkeypatch.setenv("KOPF_PYTHON", "/nowhere/python")
    (tmp_path / "kopf").mkdir()
    (tmp_path / "kopf" / "bench_kopf.py").touch()
    sides = await find_sides(tmp_path)
    assert [one.name for one in sides.present] == ["pyoperator"]
    assert [text.partition(":")[0] for text in sides.absent] == ["controller-runtime", "kube-rs", "kopf"]
    assert "--install-kopf" in sides.absent[2]


async def test_a_peer_is_run_by_its_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "bench-kube"
    binary.write_text('#!/bin/sh\necho "log" >&2\necho "peer=kube-rs mode=$2 n=$4 workers=$6 wall_s=0.1"\n')
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("KUBE_RS_BENCH", str(binary))
    (rust,) = (one for one in (await find_sides(tmp_path)).present if one.name == "kube-rs")
    line = await rust.run("noop", 7, 3, "")
    assert line.text() == "peer=kube-rs mode=noop n=7 workers=3 wall_s=0.1"
    assert "elect" not in rust.modes


async def test_a_side_that_fails_is_remarked_and_the_others_go_on(tmp_path: Path) -> None:
    broken = Side("broken", lambda _mode, _n, _workers: ["false"])
    silent = Side("silent", lambda _mode, _n, _workers: ["true"])
    fine = Side("fine", lambda _mode, _n, _workers: ["echo", "peer=fine mode=sync n=1"])
    made, told = bench(tmp_path, broken, silent, fine)
    for one in made.sides.of("sync", 0):
        await made.measure("sync", "sync", one, 10_000, 0)
    (run,) = Results.load(tmp_path).runs
    assert [one.line.values["peer"] for one in run.measurements] == ["fine"]
    assert [text.partition(",")[0] for text in run.remarks] == ["broken", "silent"]
    assert "sync of 10,000" in told[0]


def test_what_goes_beyond_the_budget_is_left_out_and_said(tmp_path: Path) -> None:
    made, told = bench(tmp_path, budget=100.0)
    assert made.enough_for("little", 10.0)
    assert told == []
    assert not made.enough_for("sync of 100,000", 200.0)
    assert "sync of 100,000: left out" in told[0]


def test_options_make_the_plan() -> None:
    options = parser().parse_args(["--points", "1_000,3000", "--rounds", "1", "-n", "50", "--parts", "sync, noop"])
    assert plan_of(options) == Plan(n=50, points=(1000, 3000), rounds=1)
    assert options.parts == ("sync", "noop")
    assert plan_of(parser().parse_args([])) == Plan()
    assert set(PARTS) == {"steps", "imports", "sync", "status", "latency", "elect", "servers", "growth"}


async def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no part speed: there are steps"):
        await whole_run(Plan(), ("speed",), folder=tmp_path, tell=print)


def test_the_program_of_a_real_server_is_the_named_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAL_APISERVER", "")
    assert find_program() is None
    monkeypatch.setenv("REAL_APISERVER", "/nowhere")
    with pytest.raises(BenchmarkError, match="REAL_APISERVER=/nowhere"):
        find_program()


@pytest.mark.e2e
async def test_a_small_run_of_growth_servers_and_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REAL_APISERVER", "")
    monkeypatch.setattr("benchmarks.parts._servers._STARTS", 1)
    statements = {"libraries": "import json", "pyoperator": "import pyoperator"}
    monkeypatch.setattr("benchmarks.parts._imports.STATEMENTS", statements)
    plan = Plan(points=(8,), rounds=1, imports=1, writes=10, watchers=3, events=40)
    await whole_run(plan, ("growth", "servers", "imports"), folder=tmp_path, tell=print, embedded=True, alone=True)
    results = Results.load(tmp_path)
    assert [line.number("n") for line in results.lines("growth")] == [8]
    for what in ("https", "in-process"):
        (line,) = results.lines("servers", what=what)
        assert line.number("creates_s") > 0
        assert line.number("expected") == 120
        assert line.number("lost") == 0
    assert [line.values["what"] for line in results.lines("imports")] == ["libraries", "pyoperator"]
    assert any("REAL_APISERVER" in text for text in results.runs[0].remarks)
