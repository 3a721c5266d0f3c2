from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from pyoperator.client import ApiError, Conflict, LeadershipLost, Status, TransportError
from pyoperator.controller import (
    LOW_PRIORITY,
    CacheSyncTimeout,
    ChannelSource,
    Controller,
    ControllerOptions,
    EnqueueForObject,
    FunctionSource,
    GenericEvent,
    InformerSource,
    Request,
    Result,
    TerminalError,
    Watch,
    current_logger,
)
from pyoperator.objects import ObjectKey
from tests.controller.support import FakeInformer, Running, make, now, settle
from tests.support import run_virtual

A = Request("ns", "a")


def test_events_become_reconciles_and_nothing_is_reconciled_before_run() -> None:
    async def main() -> None:
        seen: list[Request] = []

        async def reconcile(request: Request) -> None:
            seen.append(request)

        informer = FakeInformer("a", "b")
        controller = make(reconcile, informer)
        await controller.warm_up()
        informer.put("c")
        await settle()
        assert seen == []
        assert controller.queue.statistics().depth == {LOW_PRIORITY: 2, 0: 1}
        async with Running(controller):
            assert [request.name for request in seen] == ["c", "a", "b"]  # the backlog, demoted, before the rest
            informer.put("a")
            informer.delete("b")
            await settle()
            assert [request.name for request in seen[3:]] == ["a", "b"]
            assert all(isinstance(request, Request) for request in seen)
        assert controller.statistics().reconcile_total == {"success": 5, "error": 0, "requeue": 0, "requeue_after": 0}
        assert sum(controller.statistics().reconcile_time.counts) == 5

    run_virtual(main)


def test_one_key_is_never_reconciled_twice_at_once_and_workers_run_side_by_side() -> None:
    async def main() -> None:
        running: set[Request] = set()
        most = 0

        async def reconcile(request: Request) -> None:
            nonlocal most
            assert request not in running
            running.add(request)
            most = max(most, len(running))
            await asyncio.sleep(1)
            running.discard(request)

        informer = FakeInformer(*"abcdef")
        controller = make(reconcile, informer, max_concurrent_reconciles=3)
        async with Running(controller):
            for _ in range(20):
                informer.put("a")
                informer.put("f")
                await asyncio.sleep(0.3)
            await asyncio.sleep(5)
        assert most == 3
        assert controller.statistics().errors == 0

    run_virtual(main)


def test_errors_back_off_with_the_items_priority_and_success_forgets() -> None:
    async def main() -> None:
        times: list[float] = []

        async def reconcile(request: Request) -> None:
            times.append(now())
            if len(times) <= 3:
                assert controller.queue.priority(request) == LOW_PRIORITY
                raise OSError("no route")

        controller = make(reconcile, FakeInformer("a"))
        with capture_logs() as logs:
            async with Running(controller):
                await asyncio.sleep(100)
        assert times == pytest.approx([0, 0.005, 0.015, 0.035])
        assert controller.queue.retries(A) == 0
        statistics = controller.statistics()
        assert (statistics.errors, statistics.panics, statistics.queue.retries) == (3, 0, 3)
        (first, *_) = [line for line in logs if line["log_level"] == "error"]
        assert first["event"] == "reconcile failed"
        assert (first["controller"], first["namespace"], first["name"]) == ("test", "ns", "a")
        assert [error.failures for error in controller.status().last_errors] == [1, 2, 3]

    run_virtual(main)


def test_what_the_api_answered_is_logged_without_a_traceback() -> None:
    """In an outage all keys fail; rendering tracebacks would leave the loop no time for anything else."""

    async def main() -> None:
        answers: list[Exception] = [
            TransportError("PATCH /x: connection refused"),
            ApiError(Status(code=503, message="down")),
            ExceptionGroup("both", [TransportError("reset"), ApiError(Status(code=500, message="oops"))]),
            ExceptionGroup("one of them is another's", [TransportError("reset"), OSError("disk")]),
            OSError("no route"),
        ]

        async def reconcile(_request: Request) -> None:
            if answers:
                raise answers.pop(0)

        with capture_logs() as logs:
            async with Running(make(reconcile, FakeInformer("a"))):
                await asyncio.sleep(100)
        failed = [line for line in logs if line["event"] == "reconcile failed"]
        assert [line["exc_info"] is not None for line in failed] == [False, False, False, True, True]
        assert failed[0]["error"] == "PATCH /x: connection refused"

    run_virtual(main)


def test_terminal_errors_are_not_retried() -> None:
    async def main() -> None:
        calls = 0

        async def reconcile(request: Request) -> None:
            nonlocal calls
            calls += 1
            raise ExceptionGroup("both", [TerminalError("spec makes no sense"), ValueError("x")])

        informer = FakeInformer("a")
        controller = make(reconcile, informer)
        with capture_logs():
            async with Running(controller):
                await asyncio.sleep(5000)
                assert calls == 1
                informer.put("a")
                await asyncio.sleep(5000)
        assert calls == 2
        assert controller.statistics().terminal_errors == 2
        assert controller.statistics().errors == 2

    run_virtual(main)


def test_results_requeue() -> None:
    async def main() -> None:
        times: list[float] = []
        answers = [
            Result(requeue_after=10, priority=5), Result(backoff=True), Result(backoff=True), Result(requeue_after=0), None,
        ]  # fmt: skip
        priorities = []

        async def reconcile(request: Request) -> Result | None:
            times.append(now())
            priorities.append(controller.queue.priority(request))
            return answers[len(times) - 1]

        controller = make(reconcile, FakeInformer("a"))
        async with Running(controller):
            await asyncio.sleep(100)
        assert times == pytest.approx([0, 10, 10.005, 10.015, 10.015])
        assert priorities == [LOW_PRIORITY, 5, 5, 5, 5]
        assert controller.statistics().reconcile_total == {"success": 1, "error": 0, "requeue": 2, "requeue_after": 2}
        assert controller.queue.retries(A) == 0

    run_virtual(main)


@pytest.mark.parametrize(
    "fields", [{"requeue_after": -1.0}, {"requeue_after": float("inf")}, {"requeue_after": 1.0, "backoff": True}]
)
def test_senseless_results_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="requeue_after"):
        Result(**fields)


@pytest.mark.parametrize(
    ("error", "counter", "level"),
    [
        (Conflict(Status(409, "Conflict", "changed")), "conflicts", "info"),
        (LeadershipLost("not leading"), "errors", "info"),
        (KeyError("bug"), "panics", "error"),
        (asyncio.CancelledError(), "errors", "error"),
        (ExceptionGroup("g", [Conflict(Status(409)), ValueError()]), "errors", "error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_no_exception_kills_a_worker(error: BaseException, counter: str, level: str) -> None:
    async def main() -> None:
        calls = 0

        async def reconcile(request: Request) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise error

        controller = make(reconcile, FakeInformer("a"))
        with capture_logs() as logs:
            async with Running(controller):
                await asyncio.sleep(1)
        assert calls == 2
        assert getattr(controller.statistics(), counter) == 1
        (line,) = [line for line in logs if "namespace" in line]
        assert line["log_level"] == level
        assert ("exc_info" in line) == (level == "error")

    run_virtual(main)


def test_a_bug_ends_the_controller_if_panics_are_not_recovered() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None:
            raise ZeroDivisionError("bug")

        controller = make(reconcile, FakeInformer("a"), recover_panic=False)
        with capture_logs(), pytest.raises(ZeroDivisionError):
            await controller.run()
        assert len(controller.queue) == 1
        assert not controller.status().running

    run_virtual(main)


def test_an_answer_that_is_no_result_is_an_error_that_says_so() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> Any:
            return 5

        controller = make(reconcile, FakeInformer("a"))
        with capture_logs():
            async with Running(controller):
                pass
        assert "return None or a Result" in controller.status().last_errors[0].message

    run_virtual(main)


def test_a_reconcile_beyond_its_timeout_is_cancelled_counted_and_retried() -> None:
    async def main() -> None:
        times: list[float] = []
        cleaned: list[float] = []

        async def reconcile(request: Request) -> None:
            times.append(now())
            if len(times) == 1:
                try:
                    await asyncio.sleep(1000)
                finally:
                    cleaned.append(now())
            elif len(times) == 2:
                raise TimeoutError("a request's own")

        controller = make(reconcile, FakeInformer("a"), reconciliation_timeout=5)
        with capture_logs():
            async with Running(controller):
                await asyncio.sleep(100)
        assert cleaned == [5]
        assert times == pytest.approx([0, 5.005, 5.015])
        assert controller.statistics().timeouts == 1
        assert controller.statistics().errors == 2

    run_virtual(main)


def test_given_up_keys_go_to_the_hook_with_the_last_error() -> None:
    async def main() -> None:
        dead: list[tuple[Request, BaseException | None]] = []

        async def reconcile(request: Request) -> Result | None:
            if request.name == "a":
                raise OSError("down")
            return Result(backoff=True)

        controller = make(
            reconcile, FakeInformer("a", "b"), max_retries=3, on_dead_letter=lambda *given: dead.append(given)
        )
        with capture_logs():
            async with Running(controller):
                await asyncio.sleep(100)
        assert [(request.name, repr(error)) for request, error in dead] == [("a", "OSError('down')"), ("b", "None")]
        assert controller.statistics().queue.dead_letters == 2

    run_virtual(main)


def test_drain_lets_running_reconciles_finish_takes_no_more_and_ends_run() -> None:
    async def main() -> None:
        finished: list[str] = []

        async def reconcile(request: Request) -> None:
            await asyncio.sleep(5)
            finished.append(request.name)

        informer = FakeInformer(*"abc")
        controller = make(reconcile, informer, max_concurrent_reconciles=2)
        run = asyncio.ensure_future(controller.run())
        await asyncio.sleep(1)
        assert [found.request.name for found in controller.status().in_flight] == ["a", "b"]
        await controller.drain()
        assert now() == 5
        assert finished == ["a", "b"]
        await run
        assert len(controller.queue) == 1
        informer.put("d")
        assert len(controller.queue) == 2

    run_virtual(main)


def test_drain_ends_idle_workers_a_wait_for_sync_and_a_controller_that_never_ran() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None: ...

        controller = make(reconcile, FakeInformer(), max_concurrent_reconciles=4)
        await controller.drain()
        run = asyncio.ensure_future(controller.run())
        await settle()
        await controller.drain()
        await run
        unsynced = make(reconcile, FakeInformer(synced=False))
        run = asyncio.ensure_future(unsynced.run())
        await settle()
        await unsynced.drain()
        await run
        assert now() == 0

    run_virtual(main)


def test_cancelling_run_cancels_reconciles_and_keeps_their_keys() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def reconcile(request: Request) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(1)
                ended.append(request.name)

        controller = make(reconcile, FakeInformer(*"abc"), max_concurrent_reconciles=2)
        async with Running(controller):
            pass
        assert ended == ["a", "b"]
        assert sorted(controller.queue._entries) == [A, Request("ns", "b"), Request("ns", "c")]
        assert len(controller.queue) == 3
        assert controller.status().in_flight == ()

    run_virtual(main)


def test_a_second_term_reconciles_every_cached_key_once_and_forgets_backoffs() -> None:
    async def main() -> None:
        seen: list[str] = []
        failing = True

        async def reconcile(request: Request) -> None:
            seen.append(request.name)
            if failing and request.name == "a":
                raise OSError("down")

        informer = FakeInformer(*"abc")
        controller = make(reconcile, informer)
        with capture_logs():
            async with Running(controller):
                await asyncio.sleep(200)
        assert controller.queue.retries(A) > 10
        failing = False
        seen.clear()
        informer.put("b")  # a standby's backlog
        assert controller.queue.priority(Request("ns", "b")) == 0
        begun = now()
        async with Running(controller):
            assert sorted(seen) == ["a", "b", "c"]
            assert now() == begun
            await asyncio.sleep(5000)
        assert sorted(seen) == ["a", "b", "c"]

    run_virtual(main)


def test_only_one_run_at_a_time() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None: ...

        controller = make(reconcile, FakeInformer())
        async with Running(controller):
            with pytest.raises(RuntimeError, match="running already"):
                await controller.run()

    run_virtual(main)


def test_a_source_that_does_not_sync_ends_run_only_if_it_has_no_reason() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None: ...

        informer = FakeInformer(synced=False)
        informer.failure = "404: the kind is not installed"
        controller = make(reconcile, informer, cache_sync_timeout=120)
        with capture_logs() as logs:
            run = asyncio.ensure_future(controller.run())
            await asyncio.sleep(1000.5)
            assert not run.done()
            warnings = [line for line in logs if line["log_level"] == "warning"]
            assert len(warnings) == 17  # once a minute
            assert "not installed" in warnings[0]["reason"]
            assert controller.status().waiting_for == (
                "InformerSource(<FakeInformer>): 404: the kind is not installed",
            )
            informer.failure = ""
            with pytest.raises(CacheSyncTimeout, match="within 120 s"):
                await run
        assert now() == pytest.approx(1120)

    run_virtual(main)


def test_pause_and_resume() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        informer = FakeInformer()
        controller = make(reconcile, informer)
        async with Running(controller):
            controller.pause()
            informer.put("a")
            await asyncio.sleep(10)
            assert seen == []
            assert controller.status().paused
            controller.resume()
            await settle()
            assert seen == ["a"]

    run_virtual(main)


def test_a_reconciles_log_lines_carry_its_context() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None:
            current_logger().info("hello")
            current_logger().info("again")

        def outside() -> None:
            current_logger().info("outside")

        with capture_logs() as logs:
            async with Running(make(reconcile, FakeInformer(*"ab"))):
                outside()
        lines = [line for line in logs if line["event"] in {"hello", "again"}]
        assert [(line["controller"], line["namespace"], line["name"]) for line in lines] == [
            ("test", "ns", "a"), ("test", "ns", "a"), ("test", "ns", "b"), ("test", "ns", "b"),
        ]  # fmt: skip
        assert lines[0]["reconcileID"] == lines[1]["reconcileID"] != lines[2]["reconcileID"]
        assert "reconcileID" not in next(line for line in logs if line["event"] == "outside")

    run_virtual(main)


def test_function_sources_run_while_leading_and_channels_always_deliver() -> None:
    async def main() -> None:
        seen: list[str] = []
        polls: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        async def poll(deliver: Any) -> None:
            try:
                while True:
                    deliver(GenericEvent(ObjectKey("ns", f"poll-{len(polls)}")))
                    polls.append("")
                    await asyncio.sleep(10)
            finally:
                polls.append("ended")

        channel = ChannelSource(capacity=2)
        watches = [Watch(FunctionSource(poll), EnqueueForObject()), Watch(channel, EnqueueForObject())]
        controller = Controller("test", reconcile, watches=watches)
        assert channel.try_send(GenericEvent(ObjectKey("ns", "one")))
        await channel.send(GenericEvent(ObjectKey("ns", "two")))
        assert not channel.try_send(GenericEvent(ObjectKey("ns", "three")))
        waiting = asyncio.ensure_future(channel.send(GenericEvent(ObjectKey("ns", "three"))))
        gone = asyncio.ensure_future(channel.send(GenericEvent(ObjectKey("ns", "four"))))
        await settle()
        gone.cancel()
        await settle()
        assert not waiting.done()
        run = asyncio.ensure_future(controller.run())
        await asyncio.sleep(15)
        assert seen == ["one", "two", "poll-0", "three", "poll-1"] or sorted(seen) == [
            "one", "poll-0", "poll-1", "three", "two",
        ]  # fmt: skip
        await controller.drain()
        await run
        assert polls[-1] == "ended"

    run_virtual(main)


def test_a_failing_source_ends_the_controller_with_its_error() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None: ...

        async def fail(deliver: Any) -> None:
            raise OSError("feed is gone")

        controller = Controller("test", reconcile, watches=[Watch(FunctionSource(fail), EnqueueForObject())])
        with pytest.raises(OSError, match="feed is gone"):
            await controller.run()

    run_virtual(main)


def test_sources_come_and_go_at_run_time() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        late, informer = FakeInformer("late"), FakeInformer()
        controller = make(reconcile, informer)
        source = InformerSource(late)
        async with Running(controller):
            controller.watch(Watch(source, EnqueueForObject()))
            with pytest.raises(ValueError, match="watched already"):
                controller.watch(Watch(source, EnqueueForObject()))
            await settle()
            controller.unwatch(source)
            late.put("later")
            await settle()
        assert seen == ["late"]
        with pytest.raises(KeyError):
            controller.unwatch(source)

    run_virtual(main)


def test_sources_with_a_task_of_their_own_come_and_go_at_run_time() -> None:
    async def main() -> None:
        seen: list[str] = []
        ended: list[float] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        async def poll(deliver: Any) -> None:
            try:
                while True:
                    deliver(GenericEvent(ObjectKey("ns", f"at {now()}")))
                    await asyncio.sleep(10)
            finally:
                ended.append(now())

        controller = make(reconcile, FakeInformer())
        source = FunctionSource(poll)
        async with Running(controller) as run:
            controller.watch(Watch(source, EnqueueForObject()))
            await asyncio.sleep(15)
            controller.unwatch(source)
            await asyncio.sleep(15)
            assert not run.done()
            controller.watch(Watch(source, EnqueueForObject()))
            await settle()
        assert seen == ["at 0.0", "at 10.0", "at 30.0"]
        assert ended == [15, 30]

    run_virtual(main)


def test_a_defective_handler_or_predicate_loses_its_event_only() -> None:
    async def main() -> None:
        class Defective:
            def handle(self, event: Any, queue: Any, priority: int) -> None:
                if event.key.name == "bad":
                    raise RuntimeError("cannot read it")
                EnqueueForObject().handle(event, queue, priority)

        async def reconcile(request: Request) -> None: ...

        informer = FakeInformer("bad", "good")
        controller = Controller("test", reconcile, watches=[Watch(InformerSource(informer), Defective())])
        with capture_logs() as logs:
            await controller.warm_up()
            informer.put("bad")
            informer.delete("bad")
        assert len(controller.queue) == 1
        assert controller.statistics().event_errors == 3
        assert all(line["event"].startswith("event lost") for line in logs)

    run_virtual(main)


def test_a_backlog_of_reconciles_that_never_wait_leaves_the_loop_turns() -> None:
    async def main() -> None:
        seen = 0

        async def reconcile(request: Request) -> None:
            nonlocal seen
            seen += 1

        controller = make(reconcile, FakeInformer(*(f"n{number}" for number in range(1000))))
        async with Running(controller):
            pass
        assert 100 < seen < 1000

    run_virtual(main)


def test_sync_reconcilers_run_inline_in_virtual_time() -> None:
    async def main() -> None:
        class Blocking:
            def reconcile(self, request: Request) -> Result | None:
                seen.append(request.name)
                return Result(requeue_after=3) if len(seen) == 1 else None

        seen: list[str] = []
        controller = make(Blocking(), FakeInformer("a"))
        async with Running(controller):
            await asyncio.sleep(10)
        assert seen == ["a", "a"]

    run_virtual(main)


def test_functions_that_hide_a_coroutine_work() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        async with Running(make(lambda request: reconcile(request), FakeInformer("a"))):  # noqa: PLW0108 - it hides one
            pass
        assert seen == ["a"]

    run_virtual(main)


def test_what_is_no_reconciler_is_refused() -> None:
    with pytest.raises(TypeError, match="is no reconciler"):
        Controller("test", "not callable")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrent_reconciles": 0}, {"max_retries": -1}, {"cache_sync_timeout": 0},
        {"reconciliation_timeout": 0}, {"stuck_after": -1},
    ],
)  # fmt: skip
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give|needs"):
        ControllerOptions(**options)


@pytest.mark.parametrize("step", range(1, 25))
def test_cancelled_at_any_step_no_key_is_lost_or_left_running(step: int) -> None:
    async def main() -> None:
        done: list[str] = []

        async def reconcile(request: Request) -> Result | None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            done.append(request.name)
            return None

        informer = FakeInformer(*"abcd")
        controller = make(reconcile, informer, max_concurrent_reconciles=2, reconciliation_timeout=5)
        await controller.warm_up()
        run = asyncio.ensure_future(controller.run())
        for _ in range(step):
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait((run,))
        assert controller.status().in_flight == ()
        assert controller.queue.statistics().in_flight == 0
        assert {*done, *(item.name for item in controller.queue._entries)} == set("abcd")
        done.clear()
        async with Running(controller):
            await settle()
        assert sorted(done) == list("abcd")

    run_virtual(main)


def test_two_runs_are_identical() -> None:
    def once() -> list[tuple[float, str, str]]:
        trace: list[tuple[float, str, str]] = []

        async def main() -> None:
            async def reconcile(request: Request) -> Result | None:
                trace.append((now(), request.name, str(current_logger()._context["reconcileID"])))
                await asyncio.sleep(0.01)
                if len(trace) % 3 == 0:
                    raise OSError("down")
                return Result(requeue_after=1) if len(trace) % 5 == 0 else None

            informer = FakeInformer(*"abcdefgh")
            with capture_logs():
                async with Running(make(reconcile, informer, max_concurrent_reconciles=3)):
                    for number in range(50):
                        informer.put(f"n{number % 7}")
                        await asyncio.sleep(0.017)

        run_virtual(main)
        return trace

    structlog.reset_defaults()
    first = once()
    assert len(first) > 50
    assert first == once()


@pytest.mark.parametrize("raises", [False, True])
def test_a_reconciler_that_swallows_its_cancellation_is_not_given_another_key(raises: bool) -> None:
    """Otherwise its worker would go on for ever, and the manager would wait for it until the deadline."""

    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                if raises:
                    raise OSError("cleaning up failed") from None

        async with Running(make(reconcile, FakeInformer("a", "b", "c"))):
            pass
        assert seen == ["a"]

    run_virtual(main)


def test_a_library_that_cancels_without_uncancelling_does_not_end_the_worker() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

        async with Running(make(reconcile, FakeInformer("a", "b", "c"))):
            await settle()
        assert seen == ["a", "b", "c"]

    run_virtual(main)
