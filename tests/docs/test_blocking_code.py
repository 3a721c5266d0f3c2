"""What the guide on blocking code promises of its ``to_the_end``, with real threads."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from tests.controller.support import FakeInformer, make
from tests.docs.pages import own_blocks
from tests.docs.programs import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.controller import Request

WORD: ContextVar[str] = ContextVar("word", default="")


@pytest.fixture(name="to_the_end")
def _to_the_end() -> Callable[..., Awaitable[Any]]:
    (block,) = [block for block in own_blocks("python") if block.mark == "operator: blocking-code"]
    function: Callable[..., Awaitable[Any]] = load(block)["to_the_end"]
    return function


async def test_results_errors_and_context_pass(to_the_end: Callable[..., Awaitable[Any]]) -> None:
    def works(first: int, second: int) -> tuple[int, str, bool]:
        return first + second, WORD.get(), threading.current_thread() is threading.main_thread()

    def fails() -> None:
        raise OSError("no route")

    WORD.set("kept")
    assert await to_the_end(works, 1, 2) == (3, "kept", False)
    with pytest.raises(OSError, match="no route"):
        await to_the_end(fails)


async def test_no_cancellation_ends_it_before_its_thread(to_the_end: Callable[..., Awaitable[Any]]) -> None:
    inside, go, ended = threading.Event(), threading.Event(), threading.Event()

    def works() -> None:
        inside.set()
        assert go.wait(20)
        ended.set()

    task = asyncio.ensure_future(to_the_end(works))
    assert await asyncio.to_thread(inside.wait, 20)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_stop_and_a_timeout_wait_for_the_thread_and_name_it(to_the_end: Callable[..., Awaitable[Any]]) -> None:
    inside, go = threading.Event(), threading.Event()
    at_once, most = 0, 0
    wrote: list[Request] = []

    def works() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        inside.set()
        assert go.wait(20)
        at_once -= 1

    async def reconcile(request: Request) -> None:
        await to_the_end(works)
        wrote.append(request)

    controller = make(reconcile, FakeInformer("a"), reconciliation_timeout=0.01, max_concurrent_reconciles=3)
    running = asyncio.create_task(controller.run())
    assert await asyncio.to_thread(inside.wait, 20)
    await asyncio.sleep(0.05)  # well beyond its timeout
    running.cancel()
    await asyncio.wait([running], timeout=0.05)
    assert not running.done()
    (blocker,) = controller.blockers()
    assert blocker.startswith("reconcile of ns/a at ")
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (most, wrote) == (1, [])
    assert controller.blockers() == ()
