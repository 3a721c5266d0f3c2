"""The queue against a model so simple that it is evidently right, in any sequence of operations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyoperator.clock import virtual_loop_factory
from pyoperator.controller import Aging, Backoff, QueueClosed, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.controller import QueueStatistics

NAMES = "abcde"
KEYS = st.sampled_from(NAMES)
PRIORITIES = st.sampled_from([-100, 0, 3])
AGING = Aging(after=1.0, every=2)
MAX_RETRIES = 3
PHASES = [phase for phase in Phase if phase is not Phase.explain]  # which would trace a failing run for minutes


@dataclass
class Model:
    """All state as plain dictionaries; nothing is fast here."""

    now: float = 0.0
    turn: int = 0
    ready: dict[str, tuple[int, int]] = field(default_factory=dict)  # key -> (priority, turn of joining that level)
    running: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)
    timers: dict[tuple[str, str], tuple[float, int, int]] = field(default_factory=dict)  # (due, turn, priority)
    failures: dict[str, int] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)  # of the ready ones
    passed_over: dict[str, int] = field(
        default_factory=dict
    )  # ready key -> takings of higher keys since it was overdue
    bound: dict[str, int] = field(default_factory=dict)  # of those
    collecting: bool = False
    limit: int | None = None
    paused: bool = False
    closed: bool = False
    dead: int = 0
    dropped: int = 0
    reported: int = 0  # of those

    def add(self, key: str, priority: int) -> None:
        self.turn += 1
        if key in self.running:
            self.again[key] = max(priority, self.again.get(key, priority))
        elif key not in self.ready or self.ready[key][0] < priority:
            self.ready[key] = (priority, self.turn)
            self.since.setdefault(key, self.now)
            self.passed_over[key] = 0
            self.bound.pop(key, None)
            self.keep_limit()
        elif self.collecting and self.ready[key][0] == priority:
            self.ready[key] = (priority, self.turn)
            self.passed_over = dict.fromkeys(self.ready, 0)
            self.bound.clear()

    def remove(self, key: str) -> int:
        del self.since[key], self.passed_over[key]
        self.bound.pop(key, None)
        return self.ready.pop(key)[0]

    def keep_limit(self) -> None:
        while self.limit is not None and len(self.ready) > self.limit:
            self.remove(min(self.ready, key=self.ready.__getitem__))
            self.dropped += 1

    def put_off(self, sort: str, key: str, delay: float, priority: int) -> None:
        self.turn += 1
        due, turn = self.now + delay, self.turn
        pending = self.timers.get((sort, key))
        if pending is not None:
            priority = max(priority, pending[2])
            if pending[0] <= due:
                due, turn = pending[:2]
        self.timers[sort, key] = (due, turn, priority)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        for place, (due, _, priority) in sorted(self.timers.items(), key=lambda item: item[1][:2]):
            if due <= end + 1e-9:
                self.now = due
                del self.timers[place]
                self.add(place[1], priority)
        self.now = end

    def rank_of_the_last_first(self, key: str) -> tuple[int, int]:
        priority, turn = self.ready[key]
        return -priority, -turn

    def highest(self) -> str:
        return min(self.ready, key=lambda key: (-self.ready[key][0], self.ready[key][1]))

    def oldest(self) -> set[str]:
        """Who may be taken because of its age: of the lower levels' first keys the oldest, if old enough."""
        top = self.ready[self.highest()][0]
        firsts = {
            min((key for key in self.ready if self.ready[key][0] == level), key=lambda key: self.ready[key][1])
            for level, _ in self.ready.values()
            if level < top
        }
        old = {key for key in firsts if self.now - self.since[key] >= AGING.after}
        return {key for key in old if self.since[key] == min(self.since[other] for other in old)}

    def take(self, key: str) -> int:
        """Note a taking, and hold it against the promise that nobody is passed over for ever."""
        since = list(self.since.values())
        priority = self.remove(key)
        for other, (level, turn) in self.ready.items():
            is_first = all(turn <= found for same, found in self.ready.values() if same == level)
            if level < priority and is_first and self.now - self.since[other] >= AGING.after:
                before = sum(moment <= self.since[other] for moment in since)  # with itself
                self.bound.setdefault(other, AGING.every * before)
                self.passed_over[other] += 1
                assert self.passed_over[other] < self.bound[other]
        return priority


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = virtual_loop_factory()
        self.queue = WorkQueue[str](backoff=Backoff(0.5, 4.0), max_retries=MAX_RETRIES, aging=AGING)
        self.model = Model()

    def teardown(self) -> None:
        self.loop.close()

    def on_loop(self, action: Callable[[], object]) -> None:
        async def main() -> None:
            action()

        self.loop.run_until_complete(main())

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: int) -> None:
        self.on_loop(lambda: self.queue.add(key, priority=priority))
        if not self.model.closed:
            self.model.add(key, priority)

    @rule(priorities=st.lists(PRIORITIES, min_size=len(NAMES), max_size=len(NAMES)))
    def add_all(self, priorities: list[int]) -> None:
        for key, priority in zip(NAMES, priorities, strict=True):
            self.add(key, priority)

    @rule(key=KEYS, priority=PRIORITIES, after=st.sampled_from([0.25, 1.0, 2.5, 7.0]))
    def add_later(self, key: str, priority: int, after: float) -> None:
        self.on_loop(lambda: self.queue.add(key, priority=priority, after=after))
        if not self.model.closed:
            self.model.put_off("timer", key, after, priority)

    @rule(key=KEYS, priority=PRIORITIES)
    def fail(self, key: str, priority: int) -> None:
        failures = self.model.failures.get(key, 0)
        kept = self.model.closed or failures < MAX_RETRIES
        self.on_loop(lambda: self.expect(self.queue.add_rate_limited(key, priority=priority), kept))
        if self.model.closed:
            return
        if kept:
            self.model.put_off("retry", key, min(0.5 * 2**failures, 4.0), priority)
            self.model.failures[key] = failures + 1
        else:
            self.model.dead += 1
            self.model.failures.pop(key)
            self.model.timers.pop(("retry", key), None)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.on_loop(lambda: self.queue.forget(key))
        self.model.failures.pop(key, None)
        self.model.timers.pop(("retry", key), None)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.model.pass_time(seconds)

    @precondition(lambda self: self.model.ready and not self.model.paused)
    @rule()
    def get(self) -> None:
        allowed = {self.model.highest()} | self.model.oldest()
        taken = self.loop.run_until_complete(self.queue.get())
        assert taken in allowed
        priority = self.model.take(taken)
        assert self.queue.priority(taken) == priority
        self.model.running[taken] = priority

    @precondition(lambda self: len(self.model.ready) > 1 and not self.model.paused)
    @rule()
    def get_all(self) -> None:
        while self.model.ready:
            self.get()

    @precondition(lambda self: not self.model.ready or self.model.paused)
    @rule()
    def get_in_vain(self) -> None:
        async def main() -> None:
            getter = asyncio.ensure_future(self.queue.get())
            await asyncio.sleep(0)
            if self.model.closed:
                assert isinstance(getter.exception(), QueueClosed)
            else:
                assert not getter.done()
                getter.cancel()
                await asyncio.wait((getter,))

        self.loop.run_until_complete(main())

    @rule()
    def pause(self) -> None:
        self.queue.pause()
        self.model.paused = not self.model.closed

    @rule()
    def resume(self) -> None:
        self.queue.resume()
        self.model.paused = False

    @rule(most=st.sampled_from([None, 1, 3]))
    def collect(self, most: int | None) -> None:
        self.on_loop(lambda: self.queue.collect(most))
        self.model.collecting = True
        self.model.limit = most
        self.model.keep_limit()

    @rule(priority=PRIORITIES)
    def begin_term(self, priority: int) -> None:
        model, order = self.model, list(self.queue._entries)
        dropped, model.reported = model.dropped - model.reported, model.dropped
        self.on_loop(lambda: self.expect(self.queue.begin_term(priority), dropped))
        model.collecting, model.limit = False, None
        higher = sorted(
            (key for key in model.ready if model.ready[key][0] > priority), key=model.rank_of_the_last_first
        )
        same = sorted((key for key in model.ready if model.ready[key][0] == priority), key=model.ready.__getitem__)
        for key in (*higher, *same):
            model.turn += 1
            model.ready[key] = (priority, model.turn)
        model.since = dict.fromkeys(model.ready, model.now)
        model.passed_over = dict.fromkeys(model.ready, 0)
        model.bound.clear()
        model.again = {key: min(value, priority) for key, value in model.again.items()}
        model.timers = {place: (due, turn, min(value, priority)) for place, (due, turn, value) in model.timers.items()}
        model.failures.clear()
        for key in order:
            if ("retry", key) in model.timers:
                model.add(key, model.timers.pop(("retry", key))[2])

    @precondition(lambda self: not self.model.closed and self.model.turn > 8)
    @rule(drain=st.booleans())
    def shut_down(self, drain: bool) -> None:
        self.on_loop(lambda: self.queue.shut_down(drain=drain))
        model = self.model
        model.closed = True
        model.paused = False
        model.timers.clear()
        if not drain:
            model.again.clear()
            for key in list(model.ready):
                model.remove(key)

    @precondition(lambda self: not self.model.running)
    @rule()
    def is_idle(self) -> None:
        self.loop.run_until_complete(self.queue.wait_idle())

    def expect(self, found: object, expected: object) -> None:
        assert found == expected

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.running)))
        self.on_loop(lambda: self.queue.done(key))
        del self.model.running[key]
        if key in self.model.again:
            self.model.add(key, self.model.again.pop(key))

    @invariant()
    def agree(self) -> None:
        model = self.model
        depth: dict[int, int] = {}
        for priority, _ in model.ready.values():
            depth[priority] = depth.get(priority, 0) + 1
        found: list[QueueStatistics] = []
        self.on_loop(lambda: found.append(self.queue.statistics()))
        (statistics,) = found
        assert len(self.queue) == len(model.ready)
        assert statistics.depth == depth
        assert statistics.delayed == len(model.timers)
        assert statistics.in_flight == len(model.running)
        assert (statistics.dead_letters, statistics.dropped) == (model.dead, model.dropped)
        for key in NAMES:
            assert self.queue.retries(key) == model.failures.get(key, 0)
            expected = model.ready[key][0] if key in model.ready else model.running.get(key)
            assert self.queue.priority(key) == expected
        known = {*model.ready, *model.running, *model.failures, *(key for _, key in model.timers)}
        assert set(self.queue._entries) == known  # nothing leaks, nothing is lost


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, phases=PHASES)
