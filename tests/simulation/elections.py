"""Histories of elections in true time, by a seed: several electors (no asyncio), one Lease, and everything that goes wrong.

Replay one: ``scripts/simulate --seed N --verbose``.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyoperator.clock import Randomness
from tests.simulation.election_conditions import Conditions
from tests.simulation.election_judge import Judge, Tally
from tests.simulation.election_process import Process
from tests.simulation.election_store import LeaseStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.election_conditions import Beyond

_FAULTS = (
    "pause",
    "pause",
    "crash",
    "crash",
    "terminate",
    "terminate",
    "outage",
    "cut",
    "watch",
    "wall",
    "edit",
    "edit",
)


@dataclass(slots=True)
class History:
    """What one seed came to."""

    seed: int
    conditions: Conditions
    violations: list[str]
    tally: Tally
    steps: int
    seconds: float  # of true time
    fingerprint: int


class World:
    """True time, the network, the Lease and the processes of one history."""

    def __init__(self, seed: int, beyond: Beyond = "", tell: Callable[[str], None] | None = None) -> None:
        self.random = Randomness(seed)
        self.conditions = Conditions.draw(self.random, beyond)
        self.now = 0.0
        self.tell: Callable[[str], None] | None = (
            None if tell is None else lambda line: tell(f"{self.now:11.6f} {line}")
        )
        self.judge = Judge(self.conditions)
        self.store = LeaseStore()
        self.watchers: dict[str, Process] = {}
        self.outage_until = 0.0
        self.outage_refuses = False
        self.watch_forbidden = self.random.choice((-1, -1, -1, 0))
        self.steps = 0
        self._chaos = True
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._print = 0
        if self.tell is not None:
            self.tell(str(self.conditions))
        self._processes = [Process(self, place, 1) for place in range(self.conditions.candidates)]

    # What everybody uses.

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._queue, (time, next(self._order), call, arguments))

    def delay(self) -> float:
        if not self._chaos or self.random.random() < 0.8:
            return self.random.uniform(0.0002, 0.005)
        return self.random.uniform(0.0002, self.conditions.election_delay)

    def loses(self, process: Process) -> bool:
        """Whether the network loses a message of ``process`` now."""
        return self.now < process.cut_until or (self._chaos and self.random.random() < self.conditions.loss)

    def handle(self, author: Process, method: str, body: bytes | None) -> tuple[int, bytes]:
        """Carry out a request at the API server, or fail as one does."""
        broken = self._chaos and self.random.random() < self.conditions.errors
        if broken and self.random.random() < 0.7:
            return self.random.choice((429, 500, 503)), b"{}"
        status, answer, spec = self.store.handle(method, body)
        if self.tell is not None:
            self.tell(f"{author} {method} -> {status} {'(told 504)' if broken else ''} {self.store.summary()}")
        if spec is not None:
            self._print = hash((self._print, self.now))
            self.judge.committed(self.now, author, spec)
            self._notify("MODIFIED")
        return (504, b"{}") if broken else (status, answer)

    def restart(self, process: Process, pause: float | None = None) -> None:
        """End a process as SIGKILL does, and start the next one in its place."""
        process.crash()
        if self.tell is not None:
            self.tell(f"{process} ends")
        wait = self.random.uniform(0.1, 1.0) if pause is None else pause
        self.at(self.now + wait * self.conditions.retry_period, self._start, process)

    # The history.

    def run(self) -> History:
        self.at(0.0, self._trouble)
        calm = self.conditions.chaos
        self._run_until(calm)
        self._calm()
        self._settle(calm)
        return History(0, self.conditions, self.judge.violations, self.judge.tally, self.steps, self.now, self._print)

    def _run_until(self, end: float) -> None:
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(queue)
            self.steps += 1
            call(*arguments)
        self.now = end

    def _settle(self, calm: float) -> None:
        """From now on all is well: one leader must be found soon, and must stay."""
        lease = self.conditions.lease_duration
        latest, step = calm + 3.5 * lease + self.conditions.renew_deadline, 0.1 * lease
        leader, since = None, calm
        while True:
            self._run_until(self.now + step)
            leaders = [process for process in self._processes if process.leads]
            found = leaders[0] if len(leaders) == 1 else None
            if found is not leader:
                leader, since = found, self.now
            if leader is not None and self.now >= since + lease:
                self.judge.tally.calm_until_leader = max(0.0, since - calm) / lease
                return
            if self.now > latest:
                self.judge.fault(self.now, f"no lasting leader after {self.now - calm:.1f} s of calm: {leaders}")
                return

    def _calm(self) -> None:
        self._chaos = False
        self.outage_until = min(self.outage_until, self.now)
        for process in self._processes:
            process.calm()
        if self.tell is not None:
            self.tell("calm")

    def _start(self, former: Process) -> None:
        if self._processes[former.place] is former:
            self._processes[former.place] = Process(self, former.place, former.life + 1)

    # Trouble.

    def _trouble(self) -> None:
        if not self._chaos:
            return
        random, conditions = self.random, self.conditions
        self.at(self.now + random.expovariate(1 / conditions.pause_between_faults), self._trouble)
        kind = random.choice(_FAULTS)
        leading = [process for process in self._processes if process.leads]
        # The leader is where it hurts.
        victim = random.choice(leading if leading and random.random() < 0.6 else self._processes)
        if self.tell is not None:
            self.tell(f"--- {kind} {victim}")
        some_time = conditions.lease_duration * random.choice((0.05, 0.3, 0.66, 0.8, 1.0, 1.5, 2.5))
        if kind == "pause":
            victim.pause(some_time)
        elif kind == "crash":
            if victim.alive:
                self.restart(victim, random.choice((0.05, 0.5, 5.0)))
        elif kind == "terminate":
            victim.terminate()
        elif kind == "outage":
            self.outage_until = self.now + some_time
            self.outage_refuses = random.random() < 0.5
        elif kind == "cut":
            victim.cut_until = self.now + some_time
        elif kind == "watch":
            victim.lose_watch(silently=random.random() < 0.6)
        elif kind == "wall":
            victim.step_wall(random.choice((-3600.0, -1.0, 1.0, 3600.0)))
        elif conditions.edits and self.store.lease is not None:
            self._edit()

    def _edit(self) -> None:
        """Do to the Lease what people do."""
        random, store = self.random, self.store
        choice = random.choice(("delete", "free", "seize", "shorten", "recount", "annotate", "renew"))
        if choice == "delete":
            gone = store.delete()
            self.judge.edited(self.now, None)
            for watcher in list(self.watchers.values()):
                watcher.observe("DELETED", gone)
            return
        if choice == "annotate":
            store.annotate(str(self.now))
        else:
            edits: dict[str, dict[str, Any]] = {
                "free": {"holderIdentity": None},
                "seize": {"holderIdentity": "by-hand", "leaseDurationSeconds": 2},
                "shorten": {"leaseDurationSeconds": 1},
                "recount": {"leaseTransitions": random.randrange(100)},
                "renew": {"renewTime": "2030-01-01T00:00:00.000000Z"},
            }
            before = store.lease
            spec = store.edit(edits[choice])
            if before is None or before["spec"] != spec:  # the same terms again are not younger
                self.judge.edited(self.now, spec)
        if self.tell is not None:
            self.tell(f"by hand: {choice} {store.summary()}")
        self._notify("MODIFIED")

    def _notify(self, kind: str) -> None:
        assert self.store.lease is not None
        for watcher in list(self.watchers.values()):
            watcher.observe(kind, self.store.lease)


def simulate(seed: int, beyond: Beyond = "", tell: Callable[[str], None] | None = None) -> History:
    """Run the history of ``seed``; ``tell`` hears of every step of it."""
    history = World(seed, beyond, tell).run()
    history.seed = seed
    return history
