"""What the workers of one controller may begin in one turn of the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.clock import VirtualTimeLoop
from pyoperator.controller import Controller, ControllerOptions, EnqueueForObject, InformerSource, Request, Watch
from pyoperator.controller._turns import Turns
from tests.controller.support import FakeInformer, Running, settle
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class SlowLoop(VirtualTimeLoop):
    """Time passes while somebody works."""

    passed = 0.0

    def time(self) -> float:
        return super().time() + self.passed


def test_a_turn_is_used_up_after_a_millisecond_or_32_keys() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SlowLoop)
        turns = Turns(loop)
        loop.passed += 10  # before the first key: nobody has used this turn
        assert [turns.used_up() for _ in range(33)] == [False] * 32 + [True]
        await asyncio.sleep(0)
        assert not turns.used_up()
        loop.passed += 0.0009
        assert not turns.used_up()
        loop.passed += 0.0002
        assert turns.used_up()
        await asyncio.sleep(0)
        assert not turns.used_up()

    with asyncio.Runner(loop_factory=SlowLoop) as runner:
        runner.run(main())


def test_workers_share_a_turn() -> None:
    async def main() -> None:
        turns = Turns(asyncio.get_running_loop())
        begun: list[str] = []

        async def worker(name: str) -> None:
            while len(begun) < 70:
                if turns.used_up():
                    await asyncio.sleep(0)
                else:
                    begun.append(name)

        async def count() -> None:
            for _ in range(2):
                before = len(begun)
                await asyncio.sleep(0)
                assert len(begun) - before <= 32

        await asyncio.gather(worker("a"), worker("b"), worker("c"), count())

    run_virtual(main)


def controller_of(reconcile: Callable[[Request], Awaitable[None]], informer: FakeInformer, workers: int) -> Controller:
    watches = [Watch(InformerSource(informer), EnqueueForObject(), for_kind=True)]
    return Controller("test", reconcile, watches=watches, options=ControllerOptions(max_concurrent_reconciles=workers))


def test_an_answer_is_not_behind_the_backlog() -> None:
    """One reconcile waits for the server; the others, which never wait, must let it hear the answer soon."""

    async def main() -> None:
        begun = 0
        heard_after: list[int] = []

        async def reconcile(request: Request) -> None:
            nonlocal begun
            begun += 1
            if request.name == "n0":
                for _ in range(3):  # what a request takes: connect, write, read
                    await asyncio.sleep(0)
                heard_after.append(begun)

        informer = FakeInformer(*(f"n{number}" for number in range(1000)))
        async with Running(controller_of(reconcile, informer, workers=8)):
            await settle()
        assert begun == 1000
        (number,) = heard_after
        assert number <= 4 * 32

    run_virtual(main)
