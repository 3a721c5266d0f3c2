"""Rule 9 of high availability, seen from one controller: what a new leader makes of what waits in its queue."""

from __future__ import annotations

import asyncio

from pyoperator.controller import LOW_PRIORITY, Request
from tests.controller.support import FakeInformer, Running, make, now, settle
from tests.support import run_virtual


def test_a_key_that_failed_in_the_former_term_is_tried_at_once() -> None:
    async def main() -> None:
        tries: list[float] = []

        async def reconcile(request: Request) -> None:
            tries.append(now())
            raise RuntimeError("not yet")

        # Not a key of the cache, so only its pending retry can bring it back.
        controller = make(reconcile, FakeInformer())
        await controller.warm_up()
        controller.queue.add(Request("ns", "elsewhere"))
        async with Running(controller):
            await asyncio.sleep(60)
        pause = tries[-1] - tries[-2]
        assert pause > 10  # by now it backs off far
        tries.clear()
        async with Running(controller):
            await settle()
            assert tries == [now()]
            await asyncio.sleep(1)
            assert len(tries) > 4  # and it begins again with short pauses

    run_virtual(main)


def test_what_a_standby_has_collected_gives_way_to_what_happens_now() -> None:
    async def main() -> None:
        order: list[str] = []
        depths: list[set[int]] = []
        may_go_on = asyncio.Event()

        async def reconcile(request: Request) -> None:
            order.append(request.name)
            depths.append(set(controller.queue.statistics().depth))
            await may_go_on.wait()

        informer = FakeInformer()
        controller = make(reconcile, informer, max_concurrent_reconciles=1)
        await controller.warm_up()
        for name in ("a", "b", "c"):
            informer.put(name)
        async with Running(controller):
            await settle()
            assert depths == [{LOW_PRIORITY}]
            informer.put("now")
            await settle()
            may_go_on.set()
            await settle()
            assert order == ["c", "now", "b", "a"]  # the last change is what a former leader has not got to

    run_virtual(main)


def test_each_cached_key_is_enqueued_once_in_every_term() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        controller = make(reconcile, FakeInformer("a", "b"))
        for _ in range(3):
            async with Running(controller):
                await settle()
            assert sorted(seen) == ["a", "b"]
            seen.clear()

    run_virtual(main)
