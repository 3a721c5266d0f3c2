from __future__ import annotations

import asyncio

import pytest

from pyoperator.health import (
    CheckFailed,
    CheckResult,
    HealthChecks,
    leadership_check,
    ping,
)
from tests.support import run_virtual


async def passes() -> None:
    await asyncio.sleep(0)


def fails() -> None:
    raise CheckFailed("the database is gone")


async def test_every_check_gets_a_result_in_order() -> None:
    checks = HealthChecks()
    checks.add("ping", ping)
    checks.add("slow", passes)
    checks.add("database", fails)
    assert await checks.run() == [
        CheckResult("ping"),
        CheckResult("slow"),
        CheckResult("database", "the database is gone"),
    ]
    assert await checks.run(exclude={"database"}) == [
        CheckResult("ping"),
        CheckResult("slow"),
        CheckResult("database", excluded=True),
    ]
    assert await checks.run(only="database") == [CheckResult("database", "the database is gone")]
    assert checks.failures == {"ping": 0, "slow": 0, "database": 2}
    assert checks.names == ("ping", "slow", "database")


def test_checks_run_together_within_one_budget() -> None:
    started = 0

    async def hangs() -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(3600)

    async def main() -> None:
        checks = HealthChecks()
        checks.add("ping", ping)
        for index in range(5):
            checks.add(f"hangs-{index}", hangs)
        loop = asyncio.get_running_loop()
        results = await checks.run(budget=0.7)
        assert loop.time() == pytest.approx(0.7)
        assert results[0].passed
        assert {result.reason for result in results[1:]} == {"no answer within 0.7 s"}
        await checks.aclose()

    run_virtual(main)
    assert started == 5


def test_a_check_that_resists_cancellation_does_not_pile_up() -> None:
    started = 0

    async def main() -> None:
        release = asyncio.Event()

        async def stubborn() -> None:
            nonlocal started
            started += 1
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        checks = HealthChecks()
        checks.add("stubborn", stubborn)
        for _ in range(3):
            assert not (await checks.run())[0].passed
        release.set()
        await asyncio.sleep(1)
        assert (await checks.run())[0].passed
        await checks.aclose()

    run_virtual(main)
    assert started == 2


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-", "ä"])
def test_names_are_path_segments(name: str) -> None:
    with pytest.raises(ValueError, match="can't name a check"):
        HealthChecks().add(name, ping)


def test_the_event_loops_name_is_taken() -> None:
    with pytest.raises(ValueError, match="already"):
        HealthChecks().add("event-loop", ping)


def test_names_are_unique_and_checks_callable() -> None:
    checks = HealthChecks()
    checks.add("ping", ping)
    with pytest.raises(ValueError, match="already"):
        checks.add("ping", ping)
    with pytest.raises(TypeError, match="pass `x`"):
        checks.add("x", None)  # type: ignore[arg-type]


async def test_leadership() -> None:
    leads, now = True, 9.0
    until: float | None = 10.0
    check = leadership_check(leads=lambda: leads, valid_until=lambda: until, elapsed=lambda: now)
    assert check() is None
    now = 12.5
    with pytest.raises(CheckFailed, match=r"still leading 2\.5 s after"):
        check()
    until = None
    with pytest.raises(CheckFailed, match="without a lease"):
        check()
    leads = False
    assert check() is None


def test_overlapping_probes_share_a_run_and_none_takes_the_answer_away() -> None:
    started = 0

    async def slow() -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(0.9)

    async def main() -> None:
        checks = HealthChecks()
        checks.add("slow", slow)
        first = asyncio.create_task(checks.run(budget=0.7))
        await asyncio.sleep(0.4)
        second = asyncio.create_task(checks.run(budget=0.7))
        third = asyncio.create_task(checks.run(budget=0.7))
        await asyncio.sleep(0.1)
        third.cancel()  # its client is gone
        assert [result.reason for result in await first] == ["no answer within 0.7 s"]
        assert [result.reason for result in await second] == [None]
        assert started == 1
        # Nobody waits any more: the next one is a new run, and is cancelled with its only asker.
        only = asyncio.create_task(checks.run(budget=0.7))
        await asyncio.sleep(0.1)
        only.cancel()
        await asyncio.sleep(0.01)
        assert started == 2
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)
