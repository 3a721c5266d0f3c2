"""What a controller collects while it does not run, and what its next term begins with."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from pyoperator.controller import (
    LOW_PRIORITY,
    ChannelSource,
    Controller,
    ControllerOptions,
    EnqueueForObject,
    EnqueueForOwner,
    GenericEvent,
    InformerSource,
    Request,
    Watch,
)
from pyoperator.objects import GroupVersionKind, ObjectKey
from tests.controller.support import FakeInformer, Running, make, owner, settle
from tests.support import run_virtual

if TYPE_CHECKING:
    from pyoperator.controller import Source

POSTGRES = GroupVersionKind("db.example.com", "v1", "Postgres")


async def ignore(request: Request) -> None: ...


def controller_of(
    seen: list[str], parents: FakeInformer, children: FakeInformer, *others: Source, backlog: int | None = 10
) -> Controller:
    async def reconcile(request: Request) -> None:
        seen.append(request.name)

    handler = EnqueueForOwner(POSTGRES, namespaced=True)
    watches = [
        Watch(InformerSource(parents), EnqueueForObject(), for_kind=True),
        Watch(InformerSource(children), handler),
        *(Watch(source, EnqueueForObject()) for source in others),
    ]
    return Controller("test", reconcile, watches=watches, options=ControllerOptions(standby_backlog=backlog))


def test_a_standby_does_not_grow_with_objects_that_come_and_go() -> None:
    async def main() -> None:
        parents, children = FakeInformer(*"abc"), FakeInformer()
        seen: list[str] = []
        controller = controller_of(seen, parents, children)
        await controller.warm_up()
        tracemalloc.start()

        def churn(begin: int) -> int:
            for number in range(begin, begin + 300):
                parents.put(f"n{number}")
                children.put(f"child-{number}", owner_references=(owner(f"n{number}"),))
                parents.delete(f"n{number}")
                children.delete(f"child-{number}")
            return tracemalloc.get_traced_memory()[0]

        before = churn(0)
        after = churn(300)
        tracemalloc.stop()
        assert after - before < 300 * 40  # 408 bytes for each key, if they were kept
        assert len(controller.queue) == len(controller.queue._entries) == 10

        # An orphan: its owner is gone from the cache, but it is still there, as the handlers of a new replica would find.
        children.put("orphan", owner_references=(owner("n1"),))
        for number in range(20):
            parents.put(f"late-{number}")
            parents.delete(f"late-{number}")
        async with Running(controller):
            await settle()
            assert {"a", "b", "c", "n1"} <= set(seen)
            assert [name for name in seen if name.startswith("late")] == [
                f"late-{number}" for number in reversed(range(10, 20))
            ]
            assert len(seen) == len(set(seen)) == 14
            for number in range(30):  # what leads holds everything
                controller.queue.add(Request("ns", f"work-{number}"))
            assert len(controller.queue) == 30
        assert len(controller.queue) == 10

    run_virtual(main)


def test_a_term_after_a_drop_begins_as_on_a_new_replica() -> None:
    """For any history: what a new replica's queue would hold is among what the old standby reconciles."""

    async def main() -> None:
        seen: list[str] = []
        parents, children = FakeInformer(), FakeInformer()
        old = controller_of(seen, parents, children, backlog=3)
        await old.warm_up()
        for number in range(40):
            parents.put(f"n{number % 17}")
            children.put(f"child-{number % 11}", owner_references=(owner(f"n{number % 23}"),))
            if number % 3 == 0:
                parents.delete(f"n{(number * 5) % 17}")
        fresh = controller_of([], parents, children, backlog=None)
        await fresh.warm_up()
        expected = {request.name for request in fresh.queue._entries}
        assert len(expected) > 15
        assert len(old.queue) == 3
        async with Running(old):
            await settle()
        assert expected <= set(seen)

    run_virtual(main)


def test_nothing_is_dropped_if_a_source_cannot_deliver_again_or_nobody_wants_it() -> None:
    async def main() -> None:
        channel = ChannelSource()
        with_channel = controller_of([], FakeInformer(), FakeInformer(), channel, backlog=3)
        without_limit = controller_of([], informer := FakeInformer(), FakeInformer(), backlog=None)
        late = controller_of([], FakeInformer(), FakeInformer(), backlog=3)
        late.watch(Watch(other := ChannelSource(), EnqueueForObject()))
        for controller in (with_channel, without_limit, late):
            await controller.warm_up()
        for number in range(30):
            for source in (channel, other):
                await source.send(GenericEvent(ObjectKey("ns", f"n{number}")))
            informer.put(f"n{number}")
        for controller in (with_channel, without_limit, late):
            assert len(controller.queue) == 30
            assert controller.queue.statistics().dropped == 0

    run_virtual(main)


def test_without_a_drop_only_the_for_kind_is_enqueued_again() -> None:
    async def main() -> None:
        seen: list[str] = []
        parents, children = FakeInformer("a"), FakeInformer()
        children.put("child", owner_references=(owner("b"),))
        controller = controller_of(seen, parents, children)
        for _ in range(2):
            async with Running(controller):
                await settle()
        assert seen == ["a", "b", "a"]
        assert controller.queue.statistics().depth == {}
        assert LOW_PRIORITY == -100

    run_virtual(main)


def test_silent_watches_are_opened_anew_at_each_start_of_leadership() -> None:
    async def main() -> None:
        parents, children = FakeInformer(), FakeInformer()
        controller = controller_of([], parents, children, ChannelSource())
        await controller.warm_up()
        assert (parents.freshened, children.freshened) == (0, 0)
        with capture_logs() as logs:
            for _ in range(2):
                async with Running(controller):
                    pass
        assert (parents.freshened, children.freshened) == (2, 2)
        told = [line["watches"] for line in logs if "opened anew" in line["event"]]
        assert told == [2, 2]

        quiet = make(ignore, informer := FakeInformer())
        informer.silent = 0
        with capture_logs() as logs:
            async with Running(quiet):
                pass
        assert not [line for line in logs if "opened anew" in line["event"]]

    run_virtual(main)
