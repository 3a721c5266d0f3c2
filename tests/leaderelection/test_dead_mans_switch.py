from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.clock import LoopClock
from pyoperator.leaderelection import DeadMansSwitch, SwitchOwner
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Timer:
    """The process's timer: one, started anew each time; ``fired`` tells when it would have ended the process."""

    def __init__(self) -> None:
        self.handle: asyncio.TimerHandle | None = None
        self.fired: list[float] = []
        self.made = self.closed = 0

    def make(self) -> Timer:
        self.made += 1
        return self

    def start(self, seconds: float) -> None:
        self.cancel()
        loop = asyncio.get_running_loop()
        self.handle = loop.call_later(max(seconds, 0.0), lambda: self.fired.append(round(loop.time(), 3)))

    def cancel(self) -> None:
        if self.handle is not None:
            self.handle.cancel()

    def close(self) -> None:
        self.cancel()
        self.closed += 1

    def switch(self) -> DeadMansSwitch:
        return DeadMansSwitch(clock=LoopClock(asyncio.get_running_loop()), make_timer=self.make)


def on_virtual_time(body: Callable[[Timer], Coroutine[object, object, None]]) -> None:
    run_virtual(lambda: body(Timer()))


def test_it_fires_unless_armed_again_or_disarmed() -> None:
    async def body(timer: Timer) -> None:
        switch = timer.switch()
        for _ in range(10):
            switch.arm("a", 2)
            await asyncio.sleep(1)
        switch.disarm("a")
        await asyncio.sleep(100)
        assert timer.fired == []
        switch.arm("a", 2)
        await asyncio.sleep(100)
        assert timer.fired == [112]

    on_virtual_time(body)


def test_the_earliest_of_all_counts() -> None:
    async def body(timer: Timer) -> None:
        switch = timer.switch()
        switch.arm("a", 10)
        switch.arm("b", 3)
        switch.arm("c", 20)
        await asyncio.sleep(2)
        switch.arm("c", 20)  # does not put off what b promised
        switch.arm("b", 3)
        await asyncio.sleep(2)
        switch.disarm("b")
        switch.disarm("nobody")
        assert timer.fired == []
        await asyncio.sleep(100)
        assert timer.fired == [10]
        switch.close()
        assert repr(switch) == "<DeadMansSwitch 0 deadlines>"

    on_virtual_time(body)


def test_a_deadline_that_has_passed_fires_at_once() -> None:
    async def body(timer: Timer) -> None:
        timer.switch().arm("a", -5)
        await asyncio.sleep(1)
        assert timer.fired == [0]

    on_virtual_time(body)


def test_one_switch_is_shared_and_ends_with_its_last_user() -> None:
    async def body(timer: Timer) -> None:
        made: list[DeadMansSwitch] = []

        def make() -> DeadMansSwitch:
            made.append(timer.switch())
            return made[-1]

        owner = SwitchOwner(make)
        with owner.acquired() as first:
            assert timer.made == 0, "a timer before anybody needs one"
            first.arm("a", 5)
            with owner.acquired() as second:
                assert first is second
            with owner.acquired() as again:
                assert first is again
            await asyncio.sleep(10)
            assert timer.fired == [5]
            first.arm("a", 5)
        await asyncio.sleep(100)
        assert timer.fired == [5]
        assert (timer.made, timer.closed) == (1, 1)
        with owner.acquired() as third:
            assert third is not first
        assert len(made) == 2

    on_virtual_time(body)
