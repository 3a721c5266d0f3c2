"""Exit codes, signals, and a stalled work loop, with real processes and threads."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pyoperator.testing.lab._ports import ReservedPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]


class Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, starting: str) -> str:
        """Return the next line of output that starts so."""
        assert self.process.stdout is not None
        while raw := await self.process.stdout.readline():
            if raw.decode().startswith(starting):
                return raw.decode().strip()
        raise AssertionError(f"ended without a line {starting!r}: {await self.errors()}")

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def code(self) -> int:
        return await self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.manager.program",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(90):
            yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_first_signal_stops_gracefully(number: int) -> None:
    async with program("worker") as running:
        await running.line("working")
        running.signal(number)
        await running.line("draining")
        assert await running.line("holder") == "holder ''"
        assert await running.code() == 0
        errors = await running.errors()
        assert "Traceback" not in errors
        said = [json.loads(line) for line in errors.splitlines()]
        lines = [line["event"] for line in said if line["logger"] == "pyoperator.manager"]
        # A machine that is busy enough makes any loop stand still.
        assert [line for line in lines if not line.startswith("the work loop")] == [
            "became leader",
            "stopping",
            "stopped leading",
            "stopped",
        ]


@pytest.mark.parametrize("kind", ["slow", "stalled", "stuck"])
async def test_a_second_signal_ends_at_once(kind: str) -> None:
    async with program(kind, "graceful_shutdown_timeout=None") as running:
        await running.line("working")
        running.signal(signal.SIGTERM)
        if kind == "slow":
            await running.line("draining")
        # Another one: two pending signals of one number would be one.
        running.signal(signal.SIGINT)
        assert await running.code() == 1
        assert "again: ending at once" in await running.errors()


async def test_stop_from_inside_is_clean() -> None:
    async with program("once") as running:
        assert await running.line("holder") == "holder ''"
        assert await running.code() == 0


async def test_a_failing_runnable_is_1() -> None:
    async with program("failing") as running:
        assert await running.line("holder") == "holder ''"
        assert await running.code() == 1
        assert "the database is gone" in await running.errors()


@pytest.mark.parametrize(
    ("option", "teaches"),
    [
        ("lease_duration=5", "lease duration (5 s) must be greater than renew deadline"),
        ("metrics_bind_address='nonsense'", "has no port"),
        ("on_lost='cry'", "'recampaign'"),
    ],
)
async def test_wrong_usage_is_2_and_one_line(option: str, teaches: str) -> None:
    async with program("worker", option) as running:
        assert await running.code() == 2
        errors = await running.errors()
        assert errors.startswith("error: ")
        assert len(errors.splitlines()) == 1
        assert teaches in errors


@pytest.mark.parametrize("which", ["metrics", "health_probe"])
async def test_a_port_in_use_is_2_and_says_which(which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with program("worker", f"{which}_bind_address={address!r}") as running:
            assert await running.code() == 2
            (line,) = [line for line in (await running.errors()).splitlines() if line.startswith("error: ")]
    assert f"on {address}: another process listens there" in line
    assert f"with {which}_bind_address=..." in line


async def test_lost_leadership_is_3() -> None:
    async with program("usurped", "lease_duration=3", "renew_deadline=2", "retry_period=0.2") as running:
        assert await running.line("holder") == "holder 'usurper'"
        assert await running.code() == 3
        assert "Traceback" not in await running.errors()


@pytest.mark.parametrize(
    ("kind", "blocker"),
    [("resisting", r"Resisting \(at .*program\.py|in sleep"), ("inthread", r"a thread in work\(\)")],
)
async def test_what_does_not_stop_is_4_named_and_keeps_the_lease(kind: str, blocker: str) -> None:
    async with program(kind, "graceful_shutdown_timeout=0.2") as running:
        await running.line("working")
        running.signal(signal.SIGTERM)
        assert await running.code() == 4
        errors = await running.errors()
        assert "the lease is not released" in errors
        assert re.search(blocker, errors)


async def test_probes_answer_while_the_work_loop_is_blocked() -> None:
    """And the lease is renewed meanwhile: the election lives on the supervisor thread too."""
    short = ("lease_duration=3", "renew_deadline=2", "retry_period=0.2")
    async with program("stalled", *short, "stall_limit=60") as running:
        port = int((await running.line("working")).rpartition(" ")[2])
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in ("/healthz", "/readyz"):
                async with session.get(path) as answer:
                    assert answer.status == 500
                    assert await answer.text() == (
                        f"[-]event-loop failed: reason withheld\n{path.strip('/')} check failed\n"
                    )
            async with session.get("/readyz/readyz") as answer:
                assert re.search(r"blocked at .*program\.py:\d+ in Stalled\.run", await answer.text())
        assert running.process.returncode is None


async def test_probes_and_metrics_of_a_working_manager() -> None:
    with ReservedPort() as held:
        async with program("worker", f"metrics_bind_address='{held.address}'") as running:
            port = int((await running.line("working")).rpartition(" ")[2])
            async with aiohttp.ClientSession() as session:
                for path in ("/healthz", "/readyz"):
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        assert (answer.status, await answer.text()) == (200, "ok")
                async with session.get(f"http://127.0.0.1:{port}/healthz?verbose") as answer:
                    assert await answer.text() == (
                        "[+]event-loop ok\n[+]leadership ok\n[+]healthz ok\nhealthz check passed\n"
                    )
                async with session.get(f"http://{held.address}/metrics") as answer:
                    text = await answer.text()
            assert 'leader_election_master_status{name="test.example.com"} 1.0' in text
            assert "pyoperator_event_loop_lag_seconds_bucket" in text
            assert "process_resident_memory_bytes" in text
