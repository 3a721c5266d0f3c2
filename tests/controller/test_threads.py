"""Sync reconcilers in real threads, on a real loop; threads wait for events, nothing sleeps."""

from __future__ import annotations

import asyncio
import threading

from structlog.testing import capture_logs

from pyoperator.controller import Request, current_logger
from tests.controller.support import FakeInformer, make


class Blocking:
    """A reconciler whose thread waits to be let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        self.finished: list[str] = []
        self._lock = threading.Lock()

    def reconcile(self, request: Request) -> None:
        self.entered.release()
        assert self.go.wait(20)
        current_logger().info("done", thread=threading.current_thread().name)
        with self._lock:
            self.finished.append(request.name)

    async def wait_entered(self) -> None:
        await asyncio.to_thread(self.entered.acquire, True, 20)


async def test_threads_run_side_by_side_with_their_log_context() -> None:
    blocking = Blocking()
    controller = make(blocking, FakeInformer("a", "b"), max_concurrent_reconciles=2)
    with capture_logs() as logs:
        run = asyncio.ensure_future(controller.run())
        await blocking.wait_entered()
        await blocking.wait_entered()
        assert [found.in_thread for found in controller.status().in_flight] == [True, True]
        blocking.go.set()
        await controller.drain()
        await run
    assert sorted(blocking.finished) == ["a", "b"]
    assert sorted(line["name"] for line in logs if line["event"] == "done") == ["a", "b"]


async def test_a_cancelled_run_ends_only_after_its_thread_and_says_who_blocks() -> None:
    blocking = Blocking()
    controller = make(blocking, FakeInformer("a"))
    run = asyncio.ensure_future(controller.run())
    await blocking.wait_entered()
    for _ in range(3):
        run.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not run.done()
    (blocker,) = controller.blockers()
    assert blocker.startswith(f"reconcile of ns/a in a thread at {__file__}:")
    assert blocker.endswith(" in Blocking.reconcile")
    blocking.go.set()
    await asyncio.wait((run,))
    assert run.cancelled()
    assert controller.blockers() == ()
    assert len(controller.queue) == 1


async def test_stop_reports_the_thread_that_is_still_running() -> None:
    blocking = Blocking()
    controller = make(blocking, FakeInformer("a"))
    run = asyncio.ensure_future(controller.run())
    await blocking.wait_entered()
    assert await controller.stop(0.001) == (Request("ns", "a"),)
    blocking.go.set()
    await run
    assert await controller.stop(0.001) == ()


class SkippingLoop(asyncio.SelectorEventLoop):
    """A real loop, with real threads, whose time the test moves on: a timeout runs out when the test says so."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped

    def skip(self, seconds: float) -> None:
        self.skipped += seconds
        self.call_soon(lambda: None)  # a loop at rest would go on sleeping for what it has computed before


def test_a_thread_beyond_the_timeout_keeps_its_key_until_it_ends() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SkippingLoop)
        blocking = Blocking()
        informer = FakeInformer("a")
        controller = make(blocking, informer, reconciliation_timeout=3600, max_concurrent_reconciles=2)
        with capture_logs():
            run = asyncio.ensure_future(controller.run())
            await blocking.wait_entered()
            informer.put("a")
            loop.skip(3600)
            while not controller._workers.in_flight[Request("ns", "a")].task.cancelling():  # noqa: ASYNC110 - a timeout sets no event
                await asyncio.sleep(0)
            assert len(controller.status().in_flight) == 1
            assert len(controller.queue) == 0
            blocking.go.set()
            await blocking.wait_entered()  # once more, because of the event
            await controller.drain()
            await run
        assert controller.statistics().timeouts == 1
        # A third time where the machine is slow: the timeout's backoff of 5 ms is over before the drain.
        assert blocking.finished[:2] == ["a", "a"]

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(main())


async def test_stop_cancels_what_can_be_cancelled() -> None:
    entered = asyncio.Event()

    async def reconcile(request: Request) -> None:
        entered.set()
        await asyncio.Event().wait()

    controller = make(reconcile, FakeInformer("a"))
    run = asyncio.ensure_future(controller.run())
    await entered.wait()
    assert await controller.stop(0.001) == ()
    await run
