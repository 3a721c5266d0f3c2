from __future__ import annotations

import asyncio
import threading

import pytest

from pyoperator.manager import ManagerError, Supervisor


async def thread_name() -> str:
    return threading.current_thread().name


async def test_calls_run_on_another_thread_and_errors_come_back() -> None:
    supervisor = Supervisor()
    await supervisor.start()
    try:
        assert await supervisor.call(thread_name) == "pyoperator-supervisor"

        async def fails() -> None:
            raise ConnectionError("no")

        with pytest.raises(ConnectionError, match="no"):
            await supervisor.call(fails)
    finally:
        await supervisor.stop()
    await supervisor.stop()
    assert "not running" in repr(supervisor)
    with pytest.raises(ManagerError, match="not running"):
        await supervisor.call(thread_name)


async def test_stopping_cancels_what_still_runs_there() -> None:
    supervisor = Supervisor()
    await supervisor.start()
    started, cancelled = threading.Event(), threading.Event()

    async def long() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    future = supervisor.submit(long())
    await asyncio.to_thread(started.wait)
    await supervisor.stop()
    assert cancelled.is_set()
    assert future.cancelled()
    assert not any(thread.name == "pyoperator-supervisor" for thread in threading.enumerate())


async def test_cancelling_a_call_cancels_it_there() -> None:
    supervisor = Supervisor()
    await supervisor.start()
    started, cancelled = threading.Event(), threading.Event()

    async def long() -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    call = asyncio.create_task(supervisor.call(long))
    await asyncio.to_thread(started.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.to_thread(cancelled.wait)
    await supervisor.stop()


async def test_in_simulation_it_is_the_callers_loop() -> None:
    supervisor = Supervisor(threaded=False)
    await supervisor.start()
    assert supervisor.loop is asyncio.get_running_loop()
    assert await supervisor.call(thread_name) == threading.current_thread().name
    await supervisor.stop()
