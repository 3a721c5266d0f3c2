"""The queue against a model so simple that it is evidently right, in any sequence of operations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyoperator.clock import virtual_loop_factory
from pyoperator.controller import Backoff, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = st.sampled_from("abcde")
PRIORITIES = st.sampled_from([-100, 0, 3])


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

    def add(self, key: str, priority: int) -> None:
        self.turn += 1
        if key in self.running:
            self.again[key] = max(priority, self.again.get(key, priority))
        elif key not in self.ready or self.ready[key][0] < priority:
            self.ready[key] = (priority, self.turn)

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
        self.now += seconds
        for place, (due, _, priority) in sorted(self.timers.items(), key=lambda item: item[1][:2]):
            if due <= self.now + 1e-9:
                del self.timers[place]
                self.add(place[1], priority)

    def next(self) -> str:
        return min(self.ready, key=lambda key: (-self.ready[key][0], self.ready[key][1]))


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = virtual_loop_factory()
        self.queue = WorkQueue[str](backoff=Backoff(0.5, 4.0))
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
        self.model.add(key, priority)

    @rule(key=KEYS, priority=PRIORITIES, after=st.sampled_from([0.25, 1.0, 2.5, 7.0]))
    def add_later(self, key: str, priority: int, after: float) -> None:
        self.on_loop(lambda: self.queue.add(key, priority=priority, after=after))
        self.model.put_off("timer", key, after, priority)

    @rule(key=KEYS, priority=PRIORITIES)
    def fail(self, key: str, priority: int) -> None:
        self.on_loop(lambda: self.queue.add_rate_limited(key, priority=priority))
        failures = self.model.failures.get(key, 0)
        self.model.put_off("retry", key, min(0.5 * 2**failures, 4.0), priority)
        self.model.failures[key] = failures + 1

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.on_loop(lambda: self.queue.forget(key))
        self.model.failures.pop(key, None)
        self.model.timers.pop(("retry", key), None)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.model.pass_time(seconds)

    @precondition(lambda self: self.model.ready)
    @rule()
    def get(self) -> None:
        expected = self.model.next()
        priority = self.model.ready.pop(expected)[0]
        assert self.loop.run_until_complete(self.queue.get()) == expected
        assert self.queue.priority(expected) == priority
        self.model.running[expected] = priority

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.running)))
        self.on_loop(lambda: self.queue.done(key))
        del self.model.running[key]
        if key in self.model.again:
            self.model.add(key, self.model.again.pop(key))

    @rule(priority=PRIORITIES)
    def demote(self, priority: int) -> None:
        self.on_loop(lambda: self.queue.demote_all(priority))
        model = self.model
        for key in sorted(model.ready, key=lambda key: (-model.ready[key][0], model.ready[key][1])):
            if model.ready[key][0] >= priority:
                model.turn += 1
                model.ready[key] = (priority, model.turn)
        model.again = {key: min(value, priority) for key, value in model.again.items()}
        model.timers = {place: (due, turn, min(value, priority)) for place, (due, turn, value) in model.timers.items()}

    @invariant()
    def agree(self) -> None:
        model = self.model
        depth: dict[int, int] = {}
        for priority, _ in model.ready.values():
            depth[priority] = depth.get(priority, 0) + 1
        statistics = self.queue.statistics() if self.queue._running == {} else None
        assert len(self.queue) == len(model.ready)
        if statistics is not None:
            assert statistics.depth == depth
            assert statistics.delayed == len(model.timers)
        for key in "abcde":
            assert self.queue.retries(key) == model.failures.get(key, 0)
            expected = model.ready[key][0] if key in model.ready else model.running.get(key)
            assert self.queue.priority(key) == expected
        known = {*model.ready, *model.running, *model.failures, *(key for _, key in model.timers)}
        assert set(self.queue._entries) == known  # nothing leaks, nothing is lost


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
