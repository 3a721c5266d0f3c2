"""Where a coroutine, a thread or a loop stands: told by the line of the user's code, which is what can be mended."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import pyoperator
from pyoperator._standing import Place, coroutine_stack, loop_stack, thread_stack, users_place
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

STANDARD = os.path.dirname(str(os.__file__))
PACKAGE = os.path.dirname(str(pyoperator.__file__))


def place(*parts: str) -> Place:
    return Place("/".join(parts), 1, "f")


LOOP = place(STANDARD, "asyncio/base_events.py")
WAIT = place(STANDARD, "threading.py")
OURS = place(PACKAGE, "controller/_workers.py")
MINE = place("/app/operator.py")
MINE_BELOW = place("/app/parts/database.py")
INSTALLED = place(STANDARD, "site-packages/shop_operator/main.py")
INSTALLED_BELOW = place(STANDARD, "site-packages/shop_operator/database.py")
DRIVER = place(STANDARD, "site-packages/psycopg/waiting.py")


@pytest.mark.parametrize(
    ("stack", "found"),
    [
        ((), None),
        ((LOOP, WAIT), WAIT),
        ((LOOP, OURS), OURS),
        ((OURS, MINE, MINE_BELOW, WAIT), MINE_BELOW),
        ((OURS, MINE, OURS, WAIT), MINE),
        ((OURS, MINE, DRIVER, WAIT), MINE),
        ((OURS, INSTALLED, INSTALLED_BELOW, DRIVER, WAIT), INSTALLED_BELOW),
        ((LOOP, DRIVER, WAIT), DRIVER),
    ],
)
def test_whose_line_is_named(stack: tuple[Place, ...], found: Place | None) -> None:
    assert users_place(stack) == found


async def sleeps() -> None:
    await asyncio.sleep(1000)


async def waits_for_a_task() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1000))


async def gathers() -> None:
    await asyncio.gather(asyncio.sleep(1000), asyncio.sleep(1000))


async def waits_in_a_thread() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("function", [sleeps, waits_for_a_task, gathers, waits_in_a_thread])
def test_a_waiting_coroutine(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        task = asyncio.create_task(function())
        await asyncio.sleep(1)
        found = users_place(coroutine_stack(task.get_coro()))
        assert found is not None
        assert (found.file, found.function) == (__file__, function.__name__)
        assert str(found) == f"{__file__}:{found.line} in {function.__name__}"
        task.cancel()

    run_virtual(main)


def test_a_thread() -> None:
    inside, go = threading.Event(), threading.Event()

    def works() -> None:
        inside.set()
        go.wait(20)

    thread = threading.Thread(target=works)
    thread.start()
    assert inside.wait(20)
    stack = thread_stack(thread.ident or 0)
    go.set()
    thread.join()
    found = users_place(stack)
    assert found is not None
    assert (found.file, found.function.rpartition(".")[2]) == (__file__, "works")
    assert stack[0].file.endswith("threading.py")
    assert thread_stack(thread.ident or 0) == ()


def test_a_blocked_loop_is_told_without_how_it_got_there() -> None:
    seen: list[tuple[Place, ...]] = []
    blocked, go = threading.Event(), threading.Event()
    main_thread = threading.get_ident()

    def look() -> None:
        assert blocked.wait(20)
        seen.append(loop_stack(main_thread))
        go.set()

    async def blocks() -> None:
        blocked.set()
        go.wait(20)

    watcher = threading.Thread(target=look)
    watcher.start()
    asyncio.run(blocks())
    watcher.join()
    (stack,) = seen
    assert stack[0].function.endswith("blocks")
    found = users_place(stack)
    assert found is not None
    assert found.function.endswith("blocks")


def test_an_idle_loop_is_told_as_it_is() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        until = time.monotonic() + 20
        while "select" not in str(users_place(loop_stack(thread.ident or 0))):
            assert time.monotonic() < until
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
