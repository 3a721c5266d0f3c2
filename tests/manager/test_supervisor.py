from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pyoperator.manager import ManagerError, Supervisor
from tests.support import run_virtual


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


def test_a_loop_with_virtual_time_is_refused_with_the_reason() -> None:
    async def main() -> None:
        supervisor = Supervisor()
        with pytest.raises(ManagerError, match="virtual"):
            await supervisor.start()
        await supervisor.stop()

    run_virtual(main)


def test_a_thread_that_nobody_hears_is_an_error_and_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(asyncio.SelectorEventLoop):
        """A loop that does not hear other threads, such as somebody's loop with virtual time."""

        def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
            return asyncio.Handle(callback, args, self)

    async def main() -> None:
        supervisor = Supervisor()
        with pytest.raises(ManagerError, match="did not answer"):
            await supervisor.start()
        supervisor.loop.call_soon_threadsafe(supervisor.loop.stop)

    monkeypatch.setattr("pyoperator.manager._supervisor._STARTS_WITHIN", 0.01)
    with asyncio.Runner(loop_factory=Deaf) as runner:
        runner.run(main())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_ends_at_once_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(loop: asyncio.AbstractEventLoop) -> None:
        loop.close()
        raise OSError("no more files")

    monkeypatch.setattr("pyoperator.manager._supervisor._run", fails)
    supervisor = Supervisor()
    with pytest.raises(ManagerError, match="no more files"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_thread_that_the_system_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    supervisor = Supervisor()
    with pytest.raises(ManagerError, match="can't start new thread"):
        await supervisor.start()
    await supervisor.stop()
