from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pyoperator.health import CheckFailed, HealthChecks, ping, probe_application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web


@pytest.fixture
async def readyz() -> HealthChecks:
    checks = HealthChecks()
    checks.add("readyz", ping)
    return checks


@pytest.fixture
async def client(readyz: HealthChecks) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    healthz = HealthChecks()
    healthz.add("healthz", ping)
    async with TestClient(TestServer(probe_application(healthz=healthz, readyz=readyz))) as client:
        yield client


async def ask(client: TestClient[web.Request, web.Application], path: str) -> tuple[int, str]:
    async with client.get(path) as answer:
        return answer.status, await answer.text()


async def test_ok_is_two_letters(client: TestClient[web.Request, web.Application]) -> None:
    assert await ask(client, "/healthz") == (200, "ok")
    assert await ask(client, "/readyz") == (200, "ok")
    assert await ask(client, "/readyz/") == (200, "ok")
    assert await ask(client, "/healthz/healthz") == (200, "ok")
    assert await ask(client, "/healthz/event-loop") == (200, "ok")
    async with client.head("/healthz") as answer:
        assert answer.status == 200


async def test_failing_withholds_the_reason_and_the_named_path_tells_it(
    client: TestClient[web.Request, web.Application], readyz: HealthChecks
) -> None:
    def database() -> None:
        raise CheckFailed("password rejected")

    readyz.add("database", database)
    assert await ask(client, "/readyz") == (
        500,
        "[+]event-loop ok\n[+]readyz ok\n[-]database failed: reason withheld\nreadyz check failed\n",
    )
    assert await ask(client, "/readyz/database") == (500, "[-]database failed: password rejected\n")
    assert await ask(client, "/readyz/readyz") == (200, "ok")
    assert await ask(client, "/readyz?exclude=database") == (200, "ok")
    assert await ask(client, "/readyz?verbose&exclude=database&exclude=nope") == (
        200,
        "[+]event-loop ok\n[+]readyz ok\n[+]database excluded: ok\n"
        'warn: nothing to exclude by the name of "nope"\nreadyz check passed\n',
    )
    assert (await ask(client, "/readyz/nope"))[0] == 404
    assert (await ask(client, "/nope"))[0] == 404


async def test_verbose(client: TestClient[web.Request, web.Application]) -> None:
    assert await ask(client, "/healthz?verbose") == (200, "[+]event-loop ok\n[+]healthz ok\nhealthz check passed\n")


async def test_a_stalled_work_loop_is_a_500_while_it_is_stalled() -> None:
    """The work loop sits in a blocking call; this loop, standing for the supervisor's, still answers."""
    checks = HealthChecks()
    checks.add("ping", ping)
    work_loop = asyncio.new_event_loop()
    stalled, release = threading.Event(), threading.Event()

    def stall() -> None:
        stalled.set()
        release.wait()

    worker = threading.Thread(target=work_loop.run_forever)
    worker.start()
    try:
        application = probe_application(healthz=checks, readyz=checks, work_loop=work_loop)
        async with TestClient(TestServer(application)) as client:
            assert await ask(client, "/healthz") == (200, "ok")
            work_loop.call_soon_threadsafe(stall)
            await asyncio.to_thread(stalled.wait)
            status, text = await ask(client, "/healthz")
            assert (status, text) == (500, "[-]event-loop failed: reason withheld\nhealthz check failed\n")
            assert "something blocks it" in (await ask(client, "/healthz/ping"))[1]
            release.set()
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), work_loop))
            assert await ask(client, "/healthz") == (200, "ok")
            work_loop.call_soon_threadsafe(work_loop.stop)
            await asyncio.to_thread(worker.join)
            work_loop.close()
            assert "has ended" in (await ask(client, "/healthz/event-loop"))[1]
    finally:
        release.set()
        if not work_loop.is_closed():
            work_loop.call_soon_threadsafe(work_loop.stop)
            worker.join()
            work_loop.close()
