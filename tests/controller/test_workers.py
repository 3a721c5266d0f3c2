"""Workers that nothing ends but their controller."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from pyoperator.client import Conflict, Status
from pyoperator.controller import LOW_PRIORITY, Request, Result
from tests.controller.support import FakeInformer, Running, make, now, settle
from tests.support import run_virtual

A = Request("ns", "a")


@pytest.mark.parametrize("sync", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        GeneratorExit(),
        StopIteration(),
        StopAsyncIteration(),
        BaseExceptionGroup("group", [SystemExit(1), ValueError()]),
        BaseExceptionGroup("group", [asyncio.CancelledError(), Conflict(Status(409))]),
        asyncio.InvalidStateError(),
    ],
    ids=repr,
)
def test_no_kind_of_exception_ends_a_worker(error: BaseException, sync: bool) -> None:
    async def main() -> None:
        seen: list[str] = []

        def fail_first(request: Request) -> None:
            seen.append(request.name)
            if len(seen) == 1:
                raise error

        async def reconcile(request: Request) -> None:
            fail_first(request)

        informer = FakeInformer("a")
        controller = make(fail_first if sync else reconcile, informer)
        with capture_logs() as logs:
            async with Running(controller) as run:
                await asyncio.sleep(1)
                informer.put("b")
                await settle()
                assert not run.done()
        assert seen == ["a", "a", "b"]
        assert controller.statistics().errors == 1
        assert [line["log_level"] for line in logs if line.get("name") == "a"] == ["error"]

    run_virtual(main)


async def test_an_exception_of_a_real_thread_does_not_end_its_worker() -> None:
    """Before Python 3.12 a StopIteration in a thread leaves its future, and so its worker, waiting for ever."""
    seen: list[str] = []
    again = asyncio.Event()
    loop = asyncio.get_running_loop()

    def reconcile(request: Request) -> None:
        seen.append(request.name)
        if len(seen) == 1:
            raise StopIteration
        if len(seen) == 2:
            raise SystemExit(1)
        loop.call_soon_threadsafe(again.set)

    controller = make(reconcile, FakeInformer("a"))
    with capture_logs():
        async with Running(controller):
            await again.wait()
            await controller.drain()
    assert seen == ["a", "a", "a"]
    assert [found.type for found in controller.status().last_errors] == ["RuntimeError", "SystemExit"]


def test_exiting_the_process_is_a_panic() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None:
            raise SystemExit

        controller = make(reconcile, FakeInformer("a"))
        with capture_logs() as logs:
            async with Running(controller):
                pass
        assert controller.statistics().panics == 1
        (line,) = [line for line in logs if line["log_level"] == "error"]
        assert (line["event"], line["error"]) == ("reconcile panicked", "SystemExit")
        fatal = make(reconcile, FakeInformer("a"), recover_panic=False)
        with capture_logs(), suppress(SystemExit):
            await fatal.run()

    with pytest.raises(SystemExit):  # the loop itself passes it on, which is why workers catch it
        run_virtual(main)


def test_ctrl_c_without_a_manager_ends_the_run_and_keeps_the_key() -> None:
    async def reconcile(request: Request) -> None:
        raise KeyboardInterrupt

    made: list[Any] = []

    async def main() -> None:
        made.append(make(reconcile, FakeInformer("a")))
        await made[0].run()

    with capture_logs() as logs, pytest.raises(KeyboardInterrupt):
        run_virtual(main)
    (controller,) = made
    assert list(controller.queue._entries) == [A]
    assert controller.status().in_flight == ()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["interrupted in a reconcile, ending"]


def test_closing_a_worker_from_outside_is_not_taken_for_the_reconcilers_error() -> None:
    """A loop that is dropped closes its coroutines: one that swallowed that would be a RuntimeError of Python's."""

    async def main() -> None:
        async def reconcile(request: Request) -> None:
            await asyncio.Event().wait()

        controller = make(reconcile)
        worker = asyncio.create_task(asyncio.sleep(0))
        step = controller._workers._reconcile(A, worker)
        step.send(None)
        step.close()
        assert controller.statistics().errors == 0
        assert list(controller.queue._entries) == [A]
        await worker

    run_virtual(main)


@pytest.mark.parametrize("how", ["raised", "swallowed", "not delivered"])
def test_a_reconciler_that_cancels_its_own_task_hits_nobody_else(how: str) -> None:
    """Its worker goes on, and the next reconcile's task group reports its errors as errors."""

    async def main() -> None:
        seen: list[str] = []

        async def fail() -> None:
            raise OSError("down")

        async def reconcile(request: Request) -> None:
            seen.append(request.name)
            task = asyncio.current_task()
            assert task is not None
            if request.name == "a" and seen.count("a") == 1:
                task.cancel()
                if how == "raised":
                    await asyncio.sleep(0)
                elif how == "swallowed":
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(0)
                return
            assert task.cancelling() == 0
            if request.name == "b" and seen.count("b") == 1:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())

        informer = FakeInformer("a")
        controller = make(reconcile, informer)
        with capture_logs():
            async with Running(controller) as run:
                await asyncio.sleep(1)
                for name in ("b", "c"):
                    informer.put(name)
                    await asyncio.sleep(1)
                assert not run.done()
        assert seen == (["a", "a"] if how == "raised" else ["a"]) + ["b", "b", "c"]
        assert [found.type for found in controller.status().last_errors if found.request.name == "b"] == [
            "ExceptionGroup"
        ]

    run_virtual(main)


def test_an_idle_worker_that_somebody_else_cancels_goes_on() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        informer = FakeInformer()
        async with Running(make(reconcile, informer)):
            (worker,) = [task for task in asyncio.all_tasks() if task.get_name() == "test worker 0"]
            worker.cancel()
            await settle()
            informer.put("a")
            await settle()
            assert seen == ["a"]

    run_virtual(main)


def test_a_busy_worker_that_somebody_else_cancels_between_two_keys_goes_on() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)
            if len(seen) == 32:  # it gives the loop a turn now
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)

        async with Running(make(reconcile, FakeInformer(*(f"n{number}" for number in range(50))))):
            await settle()
        assert len(seen) == 50

    run_virtual(main)


# ---- dead letters


@pytest.mark.parametrize("sync", [False, True], ids=["async", "plain"])
def test_a_dead_letters_hook_may_await_or_fail_and_hurts_nobody(sync: bool) -> None:
    async def main() -> None:
        dead: list[tuple[str, float]] = []

        async def reconcile(request: Request) -> None:
            if request.name != "good":
                raise OSError("down")
            seen.append(request.name)

        def plain(request: Request, error: BaseException | None) -> None:
            dead.append((request.name, now()))
            if request.name == "a":
                raise SystemExit("a hook that fails")

        async def hook(request: Request, error: BaseException | None) -> None:
            await asyncio.sleep(7)
            plain(request, error)

        seen: list[str] = []
        informer = FakeInformer("a", "b")
        controller = make(reconcile, informer, max_retries=0, on_dead_letter=plain if sync else hook)
        with capture_logs() as logs:
            async with Running(controller) as run:
                if not sync:
                    assert [found.request for found in controller.status().in_flight] == [A]
                    informer.put("a")  # not while its dead letter is handled
                    await asyncio.sleep(5)
                    assert controller.statistics().errors == 1
                await asyncio.sleep(30)
                informer.put("good")
                await asyncio.sleep(30)
                assert not run.done()
        assert [name for name, _ in dead][:2] == (["a", "b"] if sync else ["a", "a"])
        assert {name for name, _ in dead} == {"a", "b"}
        assert seen == ["good"]
        statistics = controller.statistics()
        assert statistics.dead_letters == statistics.queue.dead_letters == len(dead)
        (failed, *_) = [line for line in logs if line["event"] == "the dead letter's hook failed"]
        assert failed["name"] == "a"
        assert controller.status().in_flight == ()

    run_virtual(main)


def test_a_dead_letters_hook_is_bounded_by_the_timeout_and_kept_for_the_next_term() -> None:
    async def main() -> None:
        begun: list[float] = []

        async def reconcile(request: Request) -> Result:
            return Result(backoff=True)

        async def hook(request: Request, error: BaseException | None) -> None:
            assert error is None
            begun.append(now())
            await asyncio.Event().wait()

        controller = make(reconcile, FakeInformer("a"), max_retries=0, on_dead_letter=hook, reconciliation_timeout=5)
        with capture_logs() as logs:
            async with Running(controller):
                await asyncio.sleep(6)
            assert [line["event"] for line in logs if "exc_info" in line] == ["the dead letter's hook failed"]
            assert list(controller.queue._entries) == []
            async with Running(controller):
                pass  # cancelled in the hook: the letter is not lost
        assert begun == [0, 6]
        assert list(controller.queue._entries) == [A]

    run_virtual(main)


# ---- drain of the queue


@pytest.mark.parametrize("paused", [False, True])
def test_with_drain_queue_a_stop_works_off_what_is_ready(paused: bool) -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> Result | None:
            seen.append(request.name)
            await asyncio.sleep(1)
            return Result(requeue_after=60) if request.name == "a" else None

        informer = FakeInformer(*"abcdefg")
        controller = make(reconcile, informer, max_concurrent_reconciles=3, drain_queue=True)
        run = asyncio.ensure_future(controller.run())
        await asyncio.sleep(0.5)
        if paused:
            controller.pause()
        draining = asyncio.ensure_future(controller.drain())
        await asyncio.sleep(0)
        informer.put("late")
        await draining
        await run
        assert "".join(sorted(name[0] for name in seen)) == ("abc" if paused else "abcdefgl")
        assert now() == (1 if paused else 3)
        assert controller.queue.statistics().delayed == 1

    run_virtual(main)


def test_with_drain_queue_idle_workers_end_and_a_woken_one_still_works() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        informer = FakeInformer()
        controller = make(reconcile, informer, max_concurrent_reconciles=3, drain_queue=True)
        run = asyncio.ensure_future(controller.run())
        await settle()
        informer.put("a")  # wakes a worker, which has not taken it yet
        await controller.drain()
        await run
        assert seen == ["a"]
        assert now() == 0

    run_virtual(main)


def test_stop_cuts_a_drain_of_the_queue_short() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None:
            await asyncio.sleep(10)

        controller = make(reconcile, FakeInformer(*"abcdef"), drain_queue=True)
        run = asyncio.ensure_future(controller.run())
        await settle()
        assert await controller.stop(15) == ()
        await run
        assert now() == 15
        assert len(controller.queue) == 5
        assert controller.queue.priority(A) is None

    run_virtual(main)


def test_it_starts_again_after_a_stop_and_collects_nothing_in_between() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        informer = FakeInformer("a")
        controller = make(reconcile, informer)
        for name in ("b", "c"):
            run = asyncio.ensure_future(controller.run())
            await settle()
            assert await controller.stop() == ()
            await run
            assert informer.registrations == []
            informer.put(name)
            assert len(controller.queue) == 0
        async with Running(controller):
            pass
        assert seen == ["a", "a", "b", "a", "b", "c"]
        assert controller.queue.priority(A) is None
        assert LOW_PRIORITY not in controller.queue.statistics().depth

    run_virtual(main)
