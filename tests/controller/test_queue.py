from __future__ import annotations

import asyncio

import pytest

from pyoperator.controller import Aging, Backoff, QueueClosed, TokenBucket, WorkQueue
from tests.support import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def take_all(queue: WorkQueue[str]) -> list[str]:
    """Take and finish everything that is ready now."""
    taken = []
    while len(queue):
        item = await queue.get()
        queue.done(item)
        taken.append(item)
    return taken


def test_a_key_is_there_once_with_its_highest_priority_in_order_within_a_level() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        for item, priority in [("a", 0), ("b", -100), ("c", 0), ("b", 0), ("a", -100), ("d", 7)]:
            queue.add(item, priority=priority)
        assert queue.statistics().depth == {0: 3, 7: 1}
        assert queue.priority("b") == 0
        assert await take_all(queue) == ["d", "a", "c", "b"]
        assert queue.priority("b") is None
        assert queue.statistics().adds == 4

    run_virtual(main)


def test_a_key_added_while_it_is_processed_runs_again_after_done_and_not_before() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.add("a", priority=3)
        assert await queue.get() == "a"
        queue.add("a", priority=1)
        queue.add("a", priority=2)
        queue.add("a")
        assert len(queue) == 0
        assert queue.priority("a") == 3
        queue.done("a")
        assert queue.priority("a") == 2
        assert await take_all(queue) == ["a"]

    run_virtual(main)


def test_done_without_get_is_refused() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        with pytest.raises(ValueError, match="once for each get"):
            queue.done("a")

    run_virtual(main)


def test_an_immediate_add_runs_now_and_the_pending_one_still_fires_later() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.add("a", after=10)
        queue.add("a")
        assert await take_all(queue) == ["a"]
        assert await queue.get() == "a"
        assert now() == 10
        queue.add("a", after=5)  # due at 15, while it is running: runs after done
        await asyncio.sleep(7)
        assert len(queue) == 0
        queue.done("a")
        assert await take_all(queue) == ["a"]
        assert queue.statistics().delayed == 0

    run_virtual(main)


def test_of_several_delayed_adds_the_earliest_time_and_highest_priority_count() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.add("a", after=10, priority=1)
        queue.add("a", after=4, priority=0)
        queue.add("a", after=20, priority=2)
        assert queue.statistics().delayed == 1
        assert await queue.get() == "a"
        assert now() == 4
        assert queue.priority("a") == 2
        queue.done("a")
        await asyncio.sleep(100)
        assert len(queue) == 0

    run_virtual(main)


def test_backoff_doubles_from_5_ms_to_1000_s_per_item() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        delays = []
        for _ in range(20):
            before = now()
            queue.add_rate_limited("a")
            await queue.get()
            delays.append(now() - before)
            queue.done("a")
        assert delays[:4] == pytest.approx([0.005, 0.01, 0.02, 0.04])
        assert delays[17:] == pytest.approx([655.36, 1000, 1000])
        assert queue.retries("a") == 20
        queue.forget("a")
        assert queue.retries("a") == 0
        queue.add_rate_limited("b")
        assert queue.retries("b") == 1

    run_virtual(main)


def test_forget_drops_the_pending_retry_but_no_other_pending_add() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.add("a", after=3)
        queue.add_rate_limited("a")
        queue.forget("a")
        assert queue.statistics().delayed == 1
        assert await queue.get() == "a"
        assert now() == 3

    run_virtual(main)


def test_start_of_leadership_forgets_backoffs_and_demotes_the_backlog() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.collect()
        queue.add("ready", priority=5)
        queue.add("lower", priority=-200)
        queue.add("later", after=10, priority=5)
        for _ in range(15):
            queue.add_rate_limited("failing", priority=5)
        assert queue.begin_term(-100) == 0
        assert queue.statistics().depth == {-200: 1, -100: 2}
        assert queue.retries("failing") == 0
        queue.add("event")
        assert await take_all(queue) == ["event", "ready", "failing", "lower"]
        assert await queue.get() == "later"
        assert queue.priority("later") == -100
        assert now() == 10

    run_virtual(main)


def test_a_term_begins_with_what_changed_last() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.collect()
        for item in ("listed-1", "listed-2", "listed-3"):
            queue.add(item, priority=-100)
        for item in ("a", "b", "c", "listed-2", "b", "a"):
            queue.add(item)
        queue.add("c", priority=-100)  # a resync is no news
        await asyncio.sleep(3600)
        queue.begin_term(-100)
        for item in ("event-1", "event-2", "event-1", "listed-1", "c"):  # first in, first out from here on
            queue.add(item, priority=0 if item.startswith("event") else -100)
        assert await take_all(queue) == ["event-1", "event-2", "a", "b", "listed-2", "c", "listed-1", "listed-3"]
        assert queue.statistics().queue_duration.total == 0  # a standby's hours are nobody's waiting time

    run_virtual(main)


def test_retries_are_bounded() -> None:
    async def main() -> None:
        queue = WorkQueue[str](max_retries=2)
        assert queue.add_rate_limited("a")
        assert queue.add_rate_limited("a")
        assert not queue.add_rate_limited("a")
        assert queue.retries("a") == 0
        assert queue.statistics().dead_letters == 1
        assert queue.statistics().delayed == 0

    run_virtual(main)


def test_a_token_bucket_spreads_retries_of_all_keys() -> None:
    async def main() -> None:
        queue = WorkQueue[int](bucket=TokenBucket(rate=10, burst=2))
        for item in range(5):
            queue.add_rate_limited(item)
        times = []
        for _ in range(5):
            await queue.get()
            times.append(now())
        assert times == pytest.approx([0.005, 0.005, 0.1, 0.2, 0.3])

    run_virtual(main)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(0, 1),
        lambda: Backoff(2, 1),
        lambda: TokenBucket(0, 1),
        lambda: TokenBucket(1, 0),
        lambda: Aging(after=-1),
        lambda: Aging(every=1),
        lambda: Aging(after=float("nan")),
        lambda: WorkQueue[str]().collect(0),
    ],
)
def test_senseless_limits_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"got|needs|give"):
        make()  # type: ignore[operator]


def test_getters_are_served_in_order_and_a_cancelled_one_loses_nothing() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        async with asyncio.TaskGroup() as group:
            getters = [group.create_task(queue.get()) for _ in range(3)]
            await asyncio.sleep(0)
            queue.add("a")
            getters[0].cancel()  # it has been woken, but has not taken the key
            await asyncio.sleep(0)
            assert getters[0].cancelled() or not getters[0].done()
            await asyncio.sleep(0)
            queue.add("b")
        assert [await getter for getter in getters[1:]] == ["a", "b"]

    run_virtual(main)


def test_pause_holds_back_and_resume_lets_go() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.pause()
        queue.add("a")
        queue.add("b", after=1)
        async with asyncio.TaskGroup() as group:
            getters = [group.create_task(queue.get()) for _ in range(2)]
            await asyncio.sleep(5)
            assert not any(getter.done() for getter in getters)
            assert len(queue) == 2
            queue.resume()
        assert now() == 5

    run_virtual(main)


def test_shutdown_ends_getters_and_ignores_adds() -> None:
    async def main() -> None:
        queue = WorkQueue[str]("q")
        getter = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.add("later", after=5)
        queue.shut_down()
        with pytest.raises(QueueClosed, match="'q' was shut down"):
            await getter
        queue.add("a")
        queue.add("a", after=1)
        assert queue.add_rate_limited("a")
        assert len(queue) == 0
        assert queue.statistics().delayed == 0
        assert "closed" in repr(queue)

    run_virtual(main)


def test_draining_hands_out_what_is_ready_and_waits_for_what_is_running() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.add("a")
        queue.add("b")
        assert await queue.get() == "a"
        queue.add("a")  # to run again, which had been accepted
        queue.add("c", after=1)  # put off, which is dropped
        queue.shut_down(drain=True)
        queue.add("d")
        assert await queue.get() == "b"
        with pytest.raises(QueueClosed):
            await queue.get()
        idle = asyncio.ensure_future(queue.wait_idle())
        await asyncio.sleep(0)
        queue.done("a")
        await asyncio.sleep(0)
        assert await queue.get() == "a"
        assert not idle.done()
        queue.done("b")
        queue.done("a")
        await idle
        assert queue._entries == {}

    run_virtual(main)


def test_statistics_tell_depth_durations_and_who_runs_longest() -> None:
    async def main() -> None:
        queue = WorkQueue[str]("mine")
        queue.add("a")
        queue.add("b", priority=-100)
        await asyncio.sleep(2)
        await queue.get()
        await asyncio.sleep(3)
        await queue.get()
        await asyncio.sleep(4)
        statistics = queue.statistics()
        assert statistics.name == "mine"
        assert statistics.depth == {}
        assert statistics.in_flight == 2
        assert statistics.longest_running_processor_seconds == 7
        assert statistics.unfinished_work_seconds == 11
        assert statistics.queue_duration.total == 7
        queue.done("a")
        work = queue.statistics().work_duration
        assert sum(work.counts) == 1
        assert work.counts[work.bounds.index(10.0)] == 1
        assert len(work.counts) == len(work.bounds) + 1

    run_virtual(main)


def test_nothing_is_remembered_of_a_key_that_is_done() -> None:
    async def main() -> None:
        queue = WorkQueue[int]()
        for item in range(1000):
            queue.add(item, after=1 + item)
            queue.add_rate_limited(item)
            queue.forget(item)
            queue.add(item)
        for _ in range(2000):
            queue.done(await queue.get())
        assert queue._entries == {}
        assert queue._timers.heap == []
        assert len(queue._levels._by_priority) == 1

    run_virtual(main)


def test_a_stream_of_important_keys_starves_nobody() -> None:
    """Each taking takes a second and brings two more important keys; without aging the others would never come up."""

    async def main() -> None:
        queue = WorkQueue[str](aging=Aging(after=30, every=10))
        queue.add("older", priority=-200)
        await asyncio.sleep(0.5)
        for number in range(5):
            queue.add(f"old-{number}", priority=-100)
        taken: list[tuple[float, str]] = []
        for number in range(200):
            queue.add(f"new-{number}")
            queue.add(f"new-{number}-again")
            item = await queue.get()
            assert queue.priority(item) == (0 if item.startswith("new") else -200 if item == "older" else -100)
            queue.done(item)
            taken.append((now(), item))
            await asyncio.sleep(1)
        low = [place for place in taken if not place[1].startswith("new")]
        # After 30 s, one in ten takings, the oldest first.
        assert low == [(39.5, "older"), *((49.5 + 10 * number, f"old-{number}") for number in range(5))]
        assert queue.statistics().depth == {0: 206}

    run_virtual(main)


def test_a_backlog_of_important_keys_that_are_older_still_starves_nobody() -> None:
    async def main() -> None:
        queue = WorkQueue[str](aging=Aging(after=30, every=10))
        for number in range(1000):
            queue.add(f"important-{number}", priority=5)
        await asyncio.sleep(1)
        queue.add("low")
        await asyncio.sleep(60)
        taken = [await queue.get() for _ in range(20)]
        assert taken.index("low") < 10
        assert [item for item in taken if item != "low"] == [f"important-{number}" for number in range(19)]

    run_virtual(main)


def test_without_aging_the_highest_always_goes_first() -> None:
    async def main() -> None:
        queue = WorkQueue[str](aging=None)
        queue.add("old", priority=-100)
        for number in range(500):
            queue.add(f"new-{number}")
            item = await queue.get()
            assert item != "old"
            queue.done(item)
            await asyncio.sleep(60)

    run_virtual(main)


def test_levels_of_many_priorities_are_forgotten_though_a_higher_one_stays_busy() -> None:
    async def main() -> None:
        queue = WorkQueue[str](aging=None)
        queue.add("busy", priority=10_000)
        for priority in range(5000):
            queue.add("a", priority=priority)  # raised again and again, it leaves an empty level behind each time
        assert len(queue._levels._by_priority) < 100
        assert len(queue._levels._order) == len(queue._levels._by_priority)
        assert await take_all(queue) == ["busy", "a"]

    run_virtual(main)


def test_a_limit_drops_the_least_important_and_of_those_the_oldest() -> None:
    async def main() -> None:
        queue = WorkQueue[str]()
        queue.add("running")
        await queue.get()
        for item in ("low-1", "low-2"):
            queue.add(item, priority=-100)
        queue.collect(4)
        for item in ("a", "b", "c"):
            queue.add(item)
        queue.add("running")  # in flight: not ready, not counted
        assert queue.statistics().depth == {-100: 1, 0: 3}
        queue.add("d", after=1)
        await asyncio.sleep(1)
        queue.add("c")
        queue.add("e")
        assert queue.statistics().dropped == 3
        assert queue.begin_term(0) == 3
        queue.collect(2)
        assert queue.begin_term(0) == 2
        queue.done("running")
        assert await take_all(queue) == ["c", "e", "running"]
        assert queue._entries == {}

    run_virtual(main)
