"""Processes of the lab: their sessions, logs and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyoperator.clock import SystemClock
from pyoperator.testing.lab import LabError, _end_with_parent
from pyoperator.testing.lab._lab import describe_exit
from pyoperator.testing.lab._process import LabProcess, last_line

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


async def start(folder: Path, program: str) -> LabProcess:
    return await LabProcess.start(
        "it",
        [sys.executable, "-c", program],
        environment={"PATH": os.environ["PATH"], "WHO": "me"},
        folder=folder,
        log=folder / "it.log",
        clock=SystemClock(),
        piped=True,
    )


async def test_it_has_a_session_an_environment_and_a_log_of_its_own(tmp_path: Path) -> None:
    program = (
        "import os, sys; print(os.getpid() == os.getsid(0), os.environ.get('HOME'), os.environ['WHO'], os.getcwd());"
        "print('oh', file=sys.stderr)"
    )
    process = await start(tmp_path, program)
    assert await process.read_line() == f"True None me {tmp_path}"
    assert await process.wait() == 0
    assert process.last_line() == "oh"
    assert (tmp_path / "it.log").stat().st_mode & 0o777 == 0o600


async def test_its_number_is_the_programs(tmp_path: Path) -> None:
    process = await start(tmp_path, "import os; print(os.getpid())")
    assert await process.read_line() == str(process.pid)
    await process.wait()


async def test_one_that_ends_when_asked_is_not_killed(tmp_path: Path) -> None:
    process = await start(
        tmp_path,
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)",
    )
    await process.read_line()
    assert await process.stop(30) == 7
    assert not process.running


async def test_one_that_is_ending_already_is_not_asked_again(tmp_path: Path) -> None:
    # SIGCONT has a higher number than SIGTERM: of both, SIGTERM is delivered first.
    process = await start(
        tmp_path,
        "import os, signal, sys, time; told = [];"
        # No print: the signal may come while the line before is still being printed, and print can't be entered again.
        "signal.signal(15, lambda *_: (told.append(1), os.write(1, b'asked\\n')));"
        "signal.signal(signal.SIGCONT, lambda *_: sys.exit(len(told)));"
        "print('up', flush=True); [time.sleep(60) for _ in range(9)]",
    )
    await process.read_line()
    process.signal(signal.SIGTERM)
    assert await process.read_line() == "asked"
    stopping = asyncio.create_task(process.stop(60))
    await asyncio.sleep(0)
    process.signal(signal.SIGCONT)
    assert await stopping == 1


async def test_one_that_does_not_end_is_killed_in_time(tmp_path: Path) -> None:
    process = await start(tmp_path, STUBBORN)
    await process.read_line()
    assert await process.stop(0.05) == -signal.SIGKILL


async def test_hurry_kills_at_once(tmp_path: Path) -> None:
    process, hurry = await start(tmp_path, STUBBORN), asyncio.Event()
    await process.read_line()
    stopping = asyncio.create_task(process.stop(60, hurry))
    hurry.set()
    assert await asyncio.wait_for(stopping, 10) == -signal.SIGKILL


async def test_a_cancelled_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await start(tmp_path, STUBBORN)
    await process.read_line()
    stopping = asyncio.create_task(process.stop(60))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    assert await process.wait() == -signal.SIGKILL


async def test_a_signal_to_one_that_has_ended_is_no_error(tmp_path: Path) -> None:
    process = await start(tmp_path, "pass")
    await process.wait()
    assert process.signal(signal.SIGTERM) > 0
    assert await process.stop(1) == 0


async def test_what_can_not_be_started_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="can't be started"):
        await LabProcess.start(
            "it",
            ["/nowhere"],
            environment={},
            folder=tmp_path / "missing",
            log=tmp_path / "log",
            clock=SystemClock(),
        )


def test_a_process_whose_parent_is_gone_already_does_not_start() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", _end_with_parent.__file__, "1", sys.executable, "-c", "print('lives')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")


def test_a_program_that_is_no_program_is_told() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", _end_with_parent.__file__, str(os.getpid()), "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == "/nowhere: No such file or directory\n"


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("first\nlast \n\n")
    assert last_line(log) == "last"
    log.write_text('{"event": "manager failed", "error": "no route", "level": "error"}\n')
    assert last_line(log) == "manager failed: no route"
    log.write_text('{"event": "started"}\n[1]\n')
    assert last_line(log) == "[1]"


def test_ends_are_described() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-200) == "killed by signal 200"
