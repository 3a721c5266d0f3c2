"""Time jumps, runs are reproducible, and what can never end says so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid

import pytest

from pyoperator.clock import Deadlock, LoopClock, Randomness, SystemClock, virtual_loop_factory
from tests.support import run_virtual


def test_a_year_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 86_400)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == pytest.approx(365 * 86_400)


def test_timers_fire_in_order_of_their_time() -> None:
    async def main() -> list[tuple[int, float]]:
        seen: list[tuple[int, float]] = []

        async def wait(seconds: int) -> None:
            await asyncio.sleep(seconds)
            seen.append((seconds, asyncio.get_running_loop().time()))

        async with asyncio.TaskGroup() as group:
            for seconds in (3, 1, 2):
                group.create_task(wait(seconds))
        return seen

    assert run_virtual(main) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_timeouts_work() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == pytest.approx(7)


def test_waiting_for_nothing_is_a_deadlock() -> None:
    with (
        pytest.raises(Deadlock, match="no timer is set"),
        asyncio.Runner(loop_factory=virtual_loop_factory) as runner,
    ):
        runner.run(asyncio.Event().wait())


def test_executor_functions_run_inline() -> None:
    async def main() -> tuple[int, str]:
        number = await asyncio.to_thread(lambda: 42)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return number, "done"

    assert run_virtual(main) == (42, "done")


def test_network_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="in-process"):
            await asyncio.open_connection("127.0.0.1", 1)

    run_virtual(main)


_CANCELLATION_ORDER = """
import asyncio
from pyoperator.clock import virtual_loop_factory

async def main():
    order = []
    async def wait(n):
        try:
            await asyncio.Event().wait()
        finally:
            order.append(n)
    try:
        async with asyncio.timeout(1), asyncio.TaskGroup() as group:
            for n in range(50):
                group.create_task(wait(n))
    except TimeoutError:
        pass
    print(order)

with asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
    runner.run(main())
"""


def test_cancellation_order_does_not_depend_on_addresses() -> None:
    runs = {
        subprocess.run(
            [sys.executable, "-c", _CANCELLATION_ORDER], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1


def test_loop_clock_drifts_and_is_off_as_told() -> None:
    async def main() -> tuple[float, float]:
        clock = LoopClock(asyncio.get_running_loop(), epoch=1000.0, rate=1.1, offset=-3600.0)
        await asyncio.sleep(100)
        return clock.elapsed(), clock.wall()

    elapsed, wall = run_virtual(main)
    assert elapsed == pytest.approx(110)
    assert wall == pytest.approx(1000 + 110 - 3600)


def test_system_clock_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.elapsed() for _ in range(100)]
    assert readings == sorted(readings)
    assert clock.wall() > 1_700_000_000


def test_seeded_randomness_repeats() -> None:
    assert Randomness(7).uuid() == Randomness(7).uuid() != Randomness(8).uuid()
    read = [uuid.UUID(text) for text in (Randomness(seed).uuid() for seed in range(100))]
    assert all((found.version, found.variant) == (4, uuid.RFC_4122) for found in read)
    assert len(set(read)) == 100
    assert Randomness(7).uuid() == str(uuid.UUID(int=Randomness(7).getrandbits(128), version=4))
    assert all(10.0 <= Randomness(seed).jitter(10.0, 0.2) < 12.0 for seed in range(100))
