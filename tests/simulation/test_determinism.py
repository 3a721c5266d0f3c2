"""Two runs of one seed are identical, in two processes with different hash seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def runs_of(module: str, *arguments: str) -> list[str]:
    """Run a module with two hash seeds, at the same time; return what each printed."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("0", "4242")
    ]
    printed = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    return printed


def test_a_crash_and_a_hand_over_under_faults_with_ten_objects() -> None:
    first, second = runs_of("tests.simulation.ten_objects", "7")
    assert len(first.splitlines()) > 300
    assert first == second


def test_another_seed_is_another_run() -> None:
    from tests.simulation.ten_objects import ten_objects

    assert ten_objects(8)[-1] != ten_objects(9)[-1]


def test_ten_minutes_of_chaos() -> None:
    first, second = runs_of("tests.simulation.chaos", "11", "--trace")
    assert len(first.splitlines()) > 500
    assert first == second
