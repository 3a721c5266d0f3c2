"""``python -m soak``: what it runs, what it writes, and the exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog

from pyoperator.testing.lab._errors import LabError
from soak import _real, _virtual
from soak.__main__ import main
from soak._judge import Part, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let both parts pass at once; return what they were asked to do."""
    asked: list[object] = []

    def part(name: str) -> Part:
        return Part(name, 60.0, 20, 5.0, samples=[Sample(0.0, 80.0, 5, 3, 0), Sample(60.0, 81.0, 5, 3, 0)])

    def run_virtual(plan: object, _tell: object) -> Part:
        asked.append(plan)
        return part("virtual")

    async def run_real(plan: object, _tell: object, *, keep: object) -> Part:
        asked.append(plan)
        return part("real")

    monkeypatch.setattr(_virtual, "run_virtual", run_virtual)
    monkeypatch.setattr(_real, "run_real", run_real)
    return asked


def test_both_parts_are_run_and_reported(
    plans: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seed", "7", "--objects", "20", "--hours", "2", "--minutes", "3", "--report", str(tmp_path)]) == 0
    assert plans == [
        _virtual.VirtualPlan(hours=2.0, objects=20, seed=7),
        _real.RealPlan(minutes=3.0, objects=20, seed=7),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"soak.md", "soak-real.svg", "soak-virtual.svg"}
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told) == {"passed", "virtual", "real"}


@pytest.mark.parametrize("part", ["virtual", "real"])
def test_one_part_can_be_run(part: str, plans: list[object], tmp_path: Path) -> None:
    assert main(["--part", part, "--report", str(tmp_path)]) == 0
    assert len(plans) == 1
    assert (tmp_path / f"soak-{part}.svg").exists()


def test_a_broken_bound_is_named_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Part("virtual", 60.0, 20, 5.0, violations=["virtual: memory grew"])
    monkeypatch.setattr(_virtual, "run_virtual", lambda *_: broken)
    assert main(["--part", "virtual", "--report", str(tmp_path)]) == 1
    assert "VIOLATION: virtual: memory grew" in capsys.readouterr().out


def test_what_cannot_be_run_is_said_and_the_exit_code_is_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> Part:
        raise LabError("the API server did not start")

    monkeypatch.setattr(_virtual, "run_virtual", fail)
    assert main(["--part", "virtual", "--report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "soak: the API server did not start\n"
