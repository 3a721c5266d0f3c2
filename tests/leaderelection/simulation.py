"""Whole elections in true time: candidates with clocks of their own, a network that delays and loses, a judge.

Each candidate's work writes whenever its fence lets it. The judge sees the server's side only: a write that arrives
while somebody else holds the Lease is foreign.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.clock import Randomness
from pyoperator.leaderelection import (
    CancelRequest,
    CloseWatch,
    ElectionConfig,
    Elector,
    OpenWatch,
    Phase,
    Report,
    SendRequest,
)
from tests.leaderelection.lease_server import LeaseServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyoperator.leaderelection import Action


@dataclass
class Conditions:
    """What a history may contain; times in seconds."""

    candidates: int = 3
    max_delay: float = 3.5
    loss: float = 0.05
    skew: float = 1.1
    edits: bool = False
    chaos_until: float = 150.0
    quiet: float = 60.0


@dataclass
class Verdict:
    foreign: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    changes: int = 0
    writes: int = 0
    late_writers: set[str] = field(default_factory=set)
    leaders_at_end: int = 0


class World:
    def __init__(self, seed: int, conditions: Conditions) -> None:
        self.random = Randomness(seed)
        self.conditions = conditions
        self.server = LeaseServer()
        self.server.listeners.append(self._committed)
        self.verdict = Verdict()
        self.now = 0.0
        self.chaos = True
        self.outage_until = 0.0
        self.edited_at = -1e9
        self.by_hand = False
        self.last_commit = 0.0
        self.holder = ""
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.candidates = [Candidate(self, index) for index in range(conditions.candidates)]

    def at(self, time: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time, next(self._order), call))

    def delay(self) -> float:
        if not self.chaos:
            return 0.002
        short = self.random.random() < 0.8
        return self.random.uniform(0.0005, 0.02 if short else self.conditions.max_delay)

    def lost(self) -> bool:
        return self.chaos and self.random.random() < self.conditions.loss

    def run(self) -> Verdict:
        for candidate in self.candidates:
            candidate.start()
        self.at(0.0, self._trouble)
        self.at(self.conditions.chaos_until, self._calm)
        end = self.conditions.chaos_until + self.conditions.quiet
        while self._queue[0][0] <= end:
            self.now, _, call = heapq.heappop(self._queue)
            call()
        self.verdict.leaders_at_end = sum(candidate.may_write() for candidate in self.candidates)
        return self.verdict

    def _calm(self) -> None:
        self.chaos = False
        self.outage_until = 0.0

    def _trouble(self) -> None:
        if not self.chaos:
            return
        self.at(self.now + self.random.expovariate(1 / 8), self._trouble)
        victim = self.random.choice(self.candidates)
        kind = self.random.random()
        if kind < 0.3:
            victim.pause(self.random.choice([0.5, 3.0, 9.0, 12.0, 20.0, 40.0]))
        elif kind < 0.45:
            victim.crash()
        elif kind < 0.65:
            victim.hand_over()
        elif kind < 0.8:
            self.outage_until = self.now + self.random.choice([1.0, 6.0, 14.0])
        elif self.conditions.edits and self.server.lease is not None:
            self.by_hand, self.edited_at = True, self.now
            edit = self.random.randrange(5)
            if edit == 0:
                self.server.delete()
            elif edit == 1:
                self.server.edit(holderIdentity="")
            elif edit == 2:
                self.server.edit(holderIdentity="by-hand", leaseDurationSeconds=5)
            elif edit == 3:
                self.server.edit(leaseDurationSeconds=3)
            else:
                self.server.annotate(note=str(self.now))
            self.by_hand = False
        else:
            victim.watch_dead = True

    def _committed(self, kind: str, item: dict[str, Any]) -> None:
        holder = "" if kind == "DELETED" else item["spec"].get("holderIdentity", "")
        if holder != self.holder:
            age = self.now - self.last_commit
            legal = 15.0 / self.conditions.skew
            if self.holder and holder and age < legal and not self.by_hand and self.edited_at < self.last_commit:
                self.verdict.early.append(f"{self.now:.3f}: {holder} took over from {self.holder} after {age:.3f} s")
            self.verdict.changes += 1
            self.holder = holder
        self.last_commit = self.now
        for candidate in self.candidates:
            candidate.observe(kind, item)

    def write_arrives(self, writer: str) -> None:
        self.verdict.writes += 1
        if not self.chaos:
            self.verdict.late_writers.add(writer)
        # Until a leader has heard of it, an edit by hand makes two: bounded by its deadline and the delay.
        excused = self.now < self.edited_at + 10.0 + self.conditions.max_delay
        if self.holder and self.holder != writer and not excused:
            self.verdict.foreign.append(f"{self.now:.3f}: {writer} wrote while {self.holder} held the Lease")


class Candidate:
    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.life = 0
        self.rate = world.random.uniform(1.0, world.conditions.skew)
        self.offset = world.random.uniform(0, 1e5)
        self.wall_offset = world.random.uniform(-7200, 7200)
        self.paused_until = 0.0
        self.watch_dead = False
        self.watch: int | None = None
        self.watch_free_at = 0.0
        self.working = True
        self.live: set[int] = set()
        self.elector: Elector

    def start(self) -> None:
        self.life += 1
        self.identity = f"c{self.index}-{self.life}"
        config = ElectionConfig(name="op", namespace="default", identity=self.identity)
        self.elector = Elector(config, Randomness(self.world.random.getrandbits(32)))
        self.watch, self.watch_dead, self.working = None, False, True
        self.live.clear()
        self._input(self.elector.campaign)
        self._work(self.life)

    def elapsed(self) -> float:
        return self.world.now * self.rate + self.offset

    def may_write(self) -> bool:
        until = self.elector.valid_until
        return self.working and until is not None and until - self.elapsed() >= self.elector.config.write_margin

    def pause(self, seconds: float) -> None:
        self.paused_until = self.world.now + seconds

    def crash(self) -> None:
        self.life += 1  # whatever was under way belongs to a former life
        self.elector.stop(self.elapsed(), 0.0)
        self.world.at(self.world.now + self.world.random.uniform(0.1, 20.0), self.start)

    def hand_over(self) -> None:
        """SIGTERM: the work stops, what it sent is answered, then the Lease is released."""
        self.working = False
        life = self.life

        def release() -> None:
            if life == self.life:
                self._input(self.elector.release)
                self.world.at(self.world.now + 6.0, restart)

        def restart() -> None:
            if life == self.life:
                self.crash()

        self.world.at(max(self.world.now, self.paused_until) + self.world.conditions.max_delay + 0.01, release)

    def observe(self, kind: str, item: dict[str, Any]) -> None:
        watch, life = self.watch, self.life
        if watch is None or self.watch_dead:
            return
        arrival = max(self.world.now + self.world.delay(), self.watch_free_at)
        self.watch_free_at = arrival  # a stream keeps its order

        def event() -> None:
            if life == self.life:
                self._input(lambda now, wall: self.elector.watch_event(now, wall, watch, kind, item))

        self.world.at(arrival, event)

    def _work(self, life: int) -> None:
        if life != self.life:
            return
        world = self.world
        if world.now >= self.paused_until and self.may_write():
            identity = self.identity
            world.at(world.now + world.delay(), lambda: world.write_arrives(identity))
        world.at(world.now + world.random.uniform(0.1, 0.5), lambda: self._work(life))

    def _input(self, call: Callable[[float, float], list[Action]]) -> None:
        world, life = self.world, self.life
        if world.now < self.paused_until:
            world.at(self.paused_until, lambda: self._input(call) if life == self.life else None)
            return
        now = self.elapsed()
        self._carry_out(call(now, 1.7e9 + self.wall_offset + now))
        due = self.elector.next_tick
        if due < float("inf"):
            true = max(world.now, (due - self.offset) / self.rate) + 1e-7

            def tick() -> None:
                if life == self.life and self.elector.next_tick <= self.elapsed():
                    self._input(self.elector.tick)

            world.at(true, tick)

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case SendRequest():
                    self._send(action)
                case CancelRequest(request=number):
                    self.live.discard(number)
                case OpenWatch(watch=number):
                    self._open(number)
                case CloseWatch():
                    self.watch, self.watch_dead = None, False
                case Report(transition=transition) if transition.kind == "lost":
                    self._after_loss()
                case Report():
                    pass

    def _after_loss(self) -> None:
        """Exit and be restarted, or campaign again in the same process (rule 7)."""
        life = self.life

        def again() -> None:
            if life == self.life:
                self._input(self.elector.campaign)

        def end() -> None:
            if life == self.life:
                self.crash()

        self.world.at(self.world.now, self.world.random.choice([again, end]))

    def _open(self, number: int) -> None:
        world, life = self.world, self.life
        self.watch, self.watch_dead = number, False
        if world.now < world.outage_until:

            def refused() -> None:
                if life == self.life:
                    self._input(lambda now, wall: self.elector.watch_ended(now, wall, number, 0, "refused"))

            world.at(world.now + 0.001, refused)
        elif world.server.lease is not None:
            self.observe("ADDED", world.server.lease)

    def _send(self, action: SendRequest) -> None:
        world, life = self.world, self.life
        number = action.request
        self.live.add(number)
        identity = self.identity

        def deliver(call: Callable[[float, float], list[Action]]) -> Callable[[], None]:
            def arrive() -> None:
                if life == self.life and number in self.live:
                    self.live.discard(number)
                    self._input(call)

            return arrive

        def time_out(now: float, wall: float) -> list[Action]:
            return self.elector.failed(now, wall, number, "timeout")

        def reach() -> None:
            if world.now < world.outage_until:
                return
            status, body = world.server.handle(action.method, action.path, action.body, identity)
            if not world.lost():
                answer = deliver(lambda now, wall: self.elector.answered(now, wall, number, status, body))
                world.at(world.now + world.delay(), answer)

        world.at(world.now + action.timeout / self.rate, deliver(time_out))
        if not world.lost():
            world.at(world.now + world.delay(), reach)


def simulate(seed: int, conditions: Conditions) -> tuple[Verdict, World]:
    world = World(seed, conditions)
    return world.run(), world


def leading(world: World) -> list[str]:
    return [candidate.identity for candidate in world.candidates if candidate.elector.phase is Phase.LEADING]
