"""The timers of the kernel, as they end real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from pyoperator.leaderelection._process_timer import FaultHandlerTimer, KernelTimer, process_timer

ROOT = Path(__file__).parents[2]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other kernels have other timers")

_BEGIN = """
import ctypes, os, sys, threading
from pyoperator.leaderelection import _process_timer
from pyoperator.leaderelection._process_timer import {timer}

# Far apart: a machine that runs nothing of this process for a while makes all timers due at once.
vars(_process_timer).update(_LEAD=1.0, _APART=0.25)

def hold():
    # Keeps the GIL: a lock that one thread takes twice waits for ever, also after a signal.
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

def fill_standard_error():
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(2, True)

def turn(depth):
    return turn(depth - 1) if depth else [turn for _ in range(3)]

def turn_for_ever():
    while True:
        turn(50)

timer = {timer}()
"""


async def outcome(program: str, *, timer: str = "KernelTimer", listen: bool = True) -> tuple[int, str]:
    """Run a program to its end; return its exit code and what it wrote to standard error, read afterwards."""
    reader, writer = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _BEGIN.format(timer=timer) + program, cwd=ROOT, stderr=writer
        )
        try:
            async with asyncio.timeout(50):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return code, os.read(reader, 1 << 16).decode() if listen else ""
    finally:
        os.close(reader)
        os.close(writer)


@ON_LINUX
async def test_it_ends_a_process_whose_gil_is_held_and_says_where() -> None:
    code, errors = await outcome("timer.start(2)\nhold()")
    assert code == 1
    assert "dead man's switch: no Python code runs" in errors
    assert "in hold" in errors


@ON_LINUX
async def test_after_the_last_words_nothing_saves_the_process() -> None:
    """The signal that asks for the stack may cut short the very call that kept the GIL."""
    program = "timer.start(2)\nctypes.PyDLL(None).usleep(60_000_000)\n"
    code, errors = await outcome(program + "timer.cancel()\ntimer.start(60)\ntimer.close()\nhold()")
    assert code == 1
    assert errors.count("Stack (most recent call first):") == 1


@ON_LINUX
async def test_a_reader_of_standard_error_that_reads_nothing_keeps_nothing_alive() -> None:
    # A full pipe: who writes to it waits for ever.
    code, _ = await outcome("fill_standard_error()\ntimer.start(0.3)\nhold()", listen=False)
    assert code == 1


@ON_LINUX
async def test_stacks_that_move_do_not_change_the_exit_code() -> None:
    program = (
        "for _ in range(8):\n"
        "    threading.Thread(target=turn_for_ever, daemon=True).start()\n"
        "timer.start(2)\nturn_for_ever()"
    )
    code, errors = await outcome(program)
    assert code == 1
    assert "Stack (most recent call first):" in errors
    assert "in turn_for_ever" in errors


@ON_LINUX
def test_it_counts_anew_and_is_cancelled() -> None:
    timer = KernelTimer()
    try:
        timer.start(3600.5)
        timer.start(7200.5)
        left = timer._left
        assert 7100 < left(timer._end) <= 7200.5
        assert all(7100 < left(said) < left(timer._end) for said in timer._said)
        timer.cancel()
        assert [left(each) for each in (timer._end, *timer._said)] == [0, 0, 0]
    finally:
        timer.close()
    again = KernelTimer()
    assert again._signal == timer._signal, "given back"
    again.close()


async def test_where_the_kernel_has_none_the_standard_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    code, errors = await outcome("timer.start(0.3)\nhold()", timer="FaultHandlerTimer")
    assert code == 1
    assert "in hold" in errors

    monkeypatch.setattr(sys, "platform", "darwin")
    timer = process_timer()
    assert isinstance(timer, FaultHandlerTimer)
    timer.start(3600)
    timer.close()
