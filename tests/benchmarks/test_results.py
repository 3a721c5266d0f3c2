"""What was measured is kept line by line, read back, and answered by the newest run that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._measurement import Line
from benchmarks._results import Measurement, Recorder, Results, Run, figures

if TYPE_CHECKING:
    from pathlib import Path


def run(name: str, part: str, *texts: str) -> Run:
    lines = [Line.parse(text) for text in texts]
    return Run(name, {}, [Measurement(part, number, line) for number, line in enumerate(lines) if line is not None])


def test_a_run_is_read_back(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "results", server="kube-apiserver v1")
    recorder.line("sync", 2, Line({"peer": "kopf", "n": "3"}))
    recorder.remark("kube-rs: not built")
    (found,) = Results.load(tmp_path / "results").runs
    assert found.name == recorder.began
    assert found.head["server"] == "kube-apiserver v1"
    assert set(found.head["machine"]) == {"processor", "cores", "memory", "kernel", "python", "load"}
    assert found.measurements == [Measurement("sync", 2, Line({"peer": "kopf", "n": "3"}))]
    assert found.remarks == ["kube-rs: not built"]


@pytest.mark.parametrize("text", ["not json", '{"record": "other"}', '{"part": "sync"}', "[]", '{"record": "line"}'])
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"record": "remark", "text": "fine"}\n' + text)
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2"):
        Run.read(path)


def test_each_part_is_that_of_the_newest_run_that_has_it() -> None:
    results = Results(
        [
            run("2", "sync", "peer=a wall_s=5"),
            run("1", "sync", "peer=a wall_s=1", "peer=a wall_s=3"),
            run("1b", "noop", "peer=a wall_s=7"),
        ]
    )
    assert results.median("sync", "a", "wall_s") == 5
    assert results.median("noop", "a", "wall_s") == 7
    assert results.median("noop", "b", "wall_s") is None
    assert results.median("status", "a", "wall_s") is None


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_a_median_is_one_of_them_or_between(walls: list[int]) -> None:
    results = Results(
        [run("1", "growth", *(f"peer=a n=10 wall_s={wall}" for wall in walls), "peer=a n=20 wall_s=5000")]
    )
    middle = results.median("growth", "a", "wall_s", n=10)
    assert middle is not None
    assert min(walls) <= middle <= max(walls)
    assert sum(wall <= middle for wall in walls) * 2 >= len(walls)


def test_a_rate_is_printed_or_worked_out() -> None:
    assert figures(Line({"n": "20", "wall_s": "0.5"}), "rate") == [40]
    assert figures(Line({"n": "20", "wall_s": "0.5", "rate": "39"}), "rate") == [39]
    assert figures(Line({"n": "20"}), "rate") == []
