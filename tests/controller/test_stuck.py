"""Reconciles that do not end: seen, named, and shown where they stand."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from pyoperator.controller import Controller, Request, StuckReconcile
from tests.controller.support import FakeInformer, Running, make
from tests.support import run_virtual

A = Request("ns", "a")


async def hang_in_a_library() -> None:
    await asyncio.Event().wait()


def test_stuck_reconciles_fail_the_check_and_show_where_they_stand() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None:
            await hang_in_a_library()

        controller = make(reconcile, FakeInformer("a"), stuck_after=60)
        with capture_logs() as logs:
            async with Running(controller):
                controller.check_stuck()
                assert controller.status().in_flight[0].stack == ()
                await asyncio.sleep(61)
                with pytest.raises(
                    StuckReconcile,
                    match=rf"'test': reconcile stuck: ns/a for 61 s at {__file__}:{line_of()} in hang_in_a_library$",
                ):
                    controller.check_stuck()
                (found,) = controller.status().stuck
                assert found.request == A
                assert [line.rpartition(".")[2] for line in found.stack] == [
                    "reconcile",
                    f"py:{line_of()} in hang_in_a_library",
                    "wait",
                ]
                for _ in range(10):
                    await asyncio.sleep(20)
                    with pytest.raises(StuckReconcile):
                        controller.check_stuck()
            controller.check_stuck()
        lines = [line for line in logs if line["event"] == "reconcile stuck"]
        assert [line["seconds"] for line in lines] == [61, 121, 181, 241]  # once a minute, however often it is asked
        assert lines[0]["name"] == "a"
        assert lines[0]["frames"] == list(found.stack)

    run_virtual(main)


def line_of() -> int:
    return hang_in_a_library.__code__.co_firstlineno + 1


async def test_a_thread_shows_where_it_stands() -> None:
    entered, go = threading.Event(), threading.Event()

    def reconcile(request: Request) -> None:
        entered.set()
        assert go.wait(20)

    controller: Controller = make(reconcile, FakeInformer("a"), stuck_after=1e-9)
    with capture_logs() as logs:
        async with Running(controller):
            await asyncio.to_thread(entered.wait, 20)
            with pytest.raises(StuckReconcile, match=rf"{__file__}:\d+ in \S+reconcile$"):
                controller.check_stuck()
            (found,) = controller.status().stuck
            assert found.in_thread
            assert found.stack[0].endswith("reconcile")
            assert __file__ in found.stack[0]
            go.set()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["reconcile stuck"]
