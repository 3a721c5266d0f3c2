"""A simulated process that competes: the real elector, clocks of its own, and a network that delays and loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.clock import Randomness
from pyoperator.leaderelection import (
    CancelRequest,
    CloseWatch,
    ElectionConfig,
    Elector,
    OpenWatch,
    Report,
    SendRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.leaderelection import Action
    from tests.simulation.elections import World

_NEVER = float("inf")
_EPOCH = 1.7e9


class Process:
    """One process from its start to its end; its work writes as long as its gate lets it."""

    def __init__(self, world: World, place: int, life: int) -> None:
        conditions, random = world.conditions, world.random
        self.world = world
        self.place = place
        self.life = life
        self.identity = f"c{place}-{life}"
        self.rate = random.choice((1.0, conditions.rate, random.uniform(1.0, conditions.rate)))
        self.offset = random.uniform(0.0, 1e5)
        self.wall_offset = random.uniform(-7200.0, 7200.0)
        self.alive = True
        self.terminating = False
        self.paused_until = 0.0
        self.cut_until = 0.0
        self._asleep: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        # What the judge asks for.
        self.gate_end = float("-inf")  # the last instant (true) at which its work can have sent, or will be able to
        self.drained = False  # its work has stopped, and nothing of it is under way
        self.committed_at = float("-inf")
        self.sent_before_commit = float("-inf")
        self.tenure_transitions = -1
        # Wire.
        self._sent: dict[int, float] = {}
        self._live: set[int] = set()
        self._watch: int | None = None
        self._watch_dead = False
        self._watch_free_at = 0.0
        self._tick_at = _NEVER
        self._valid_until: float | None = None
        self._sending = 0.0
        self._elector = Elector(
            ElectionConfig(
                name="op",
                namespace="default",
                identity=self.identity,
                lease_duration=conditions.lease_duration,
                renew_deadline=conditions.renew_deadline,
                retry_period=conditions.retry_period,
            ),
            Randomness(random.getrandbits(32)),
        )
        self._input(self._elector.campaign)

    def elapsed(self) -> float:
        return self.world.now * self.rate + self.offset

    @property
    def leads(self) -> bool:
        """Whether its work may write now."""
        return (
            self.alive and not self.terminating and self._valid_until is not None and self.elapsed() < self._valid_until
        )

    # What happens to it.

    def pause(self, seconds: float) -> None:
        self.paused_until = max(self.paused_until, self.world.now + seconds)
        self.world.at(self.paused_until, self._wake)

    def crash(self) -> None:
        self.alive = False
        self.gate_end = min(self.gate_end, self.world.now)
        self.world.judge.gate_closed(self.world.now, self)
        if self._watch is not None:
            self.world.watchers.pop(self.identity, None)

    def terminate(self) -> None:
        """SIGTERM: the work stops, what it sent is answered, then the Lease is released and the process ends."""
        if self.world.now < self.paused_until:
            self._asleep.append((self.terminate, ()))
            return
        if self.terminating or not self.alive:
            return
        self.terminating = True
        self.gate_end = min(self.gate_end, self.world.now)
        self.world.judge.gate_closed(self.world.now, self)
        self.world.at(self.world.now + self.world.conditions.delay, self._release)

    def lose_watch(self, *, silently: bool) -> None:
        if silently:
            self._watch_dead = True
        elif self._watch is not None:
            self._input(self._elector.watch_ended, self._watch, 0, "broken")

    def step_wall(self, seconds: float) -> None:
        self.wall_offset += seconds

    def calm(self) -> None:
        self.paused_until = min(self.paused_until, self.world.now)
        self._wake()
        self.cut_until = min(self.cut_until, self.world.now)

    def confirmed(self, now: float) -> None:
        """The judge tells that this process's write was carried out."""
        self.committed_at = now
        self.sent_before_commit = max(self.sent_before_commit, self._sending)

    # Work.

    def _wake(self) -> None:
        """SIGCONT: everything that came in the meantime is found at once, in its order."""
        if self.world.now >= self.paused_until:
            asleep, self._asleep = self._asleep, []
            for call, arguments in asleep:
                call(*arguments)

    def _release(self) -> None:
        if not self.alive:
            return
        if self.world.now < self.paused_until:
            self._asleep.append((self._release, ()))
            return
        self.drained = True
        self._input(self._elector.release)
        self.world.at(self.world.now + 0.6 * self.world.conditions.renew_deadline, self._end)

    def _end(self) -> None:
        if self.alive:
            self.world.restart(self)

    # The driver's part.

    def _input(self, call: Callable[..., list[Action]], *arguments: Any) -> None:
        world = self.world
        if not self.alive:
            return
        if world.now < self.paused_until:
            self._asleep.append((self._input, (call, *arguments)))
            return
        now = self.elapsed()
        actions = call(now, _EPOCH + self.wall_offset + now, *arguments)
        self._publish()
        for action in actions:
            self._carry_out(action)
        due = self._elector.next_tick
        if due < _NEVER:
            true = max(world.now, (due - self.offset) / self.rate) + 1e-7
            if true < self._tick_at or self._tick_at <= world.now:
                self._tick_at = true
                world.at(true, self._tick, true)

    def _tick(self, planned: float) -> None:
        if planned == self._tick_at:
            self._tick_at = _NEVER
            self._input(self._elector.tick)

    def _publish(self) -> None:
        """Open, move or close the gate, as the driver does before anybody hears of a change."""
        valid_until = self._elector.valid_until
        if valid_until == self._valid_until:
            return
        self._valid_until = valid_until
        now, judge = self.world.now, self.world.judge
        if valid_until is None:
            self.gate_end = min(self.gate_end, now)
            judge.gate_closed(now, self)
        elif not self.terminating:
            # The fence's margin is left out: the judge is stricter than the product.
            self.gate_end = (valid_until - self.offset) / self.rate
            judge.gate_moved(now, self, valid_until)

    def _carry_out(self, action: Action) -> None:
        match action:
            case SendRequest():
                self._send(action)
            case CancelRequest(request=number):
                self._live.discard(number)
            case OpenWatch(watch=number):
                self._open(number)
            case CloseWatch():
                self._watch = None
                self.world.watchers.pop(self.identity, None)
            case Report(transition=transition):
                if self.world.tell is not None:
                    self.world.tell(f"{self.identity} {transition.kind} {transition.holder} {transition.reason}")
                if transition.kind == "lost" and not self.terminating:
                    self._after_loss()

    def _after_loss(self) -> None:
        """Exit and be started again, or compete again in the same process (rule 7)."""
        if self.world.random.random() < 0.5:
            self.world.at(self.world.now, self._input, self._elector.campaign)
        else:
            self.world.at(self.world.now, self._end)

    def _send(self, action: SendRequest) -> None:
        world, number = self.world, action.request
        self._live.add(number)
        sent_at = self.elapsed()
        world.at(world.now + action.timeout / self.rate, self._failed, number, True)
        if not world.loses(self):
            world.at(world.now + world.delay(), self._reach, action, sent_at)

    def _reach(self, action: SendRequest, sent_at: float) -> None:
        """On the server's side: even if the process is dead or gave up by now."""
        world = self.world
        if world.now < world.outage_until:
            if world.outage_refuses:
                world.at(world.now + world.delay(), self._failed, action.request, False)
            return
        self._sending = sent_at
        status, body = world.handle(self, action.method, action.body)
        if not world.loses(self):
            world.at(world.now + world.delay(), self._answered, action.request, status, body)

    def _answered(self, number: int, status: int, body: bytes) -> None:
        if number in self._live:
            self._live.discard(number)
            self._input(self._elector.answered, number, status, body)

    def _failed(self, number: int, sent: bool) -> None:
        if number in self._live:
            self._live.discard(number)
            self._input(lambda now, wall: self._elector.failed(now, wall, number, "no answer", sent=sent))

    def _open(self, number: int) -> None:
        world = self.world
        self._watch, self._watch_dead = number, False
        if world.watch_forbidden == self.place:
            world.at(world.now + world.delay(), self._end_watch, number, 403)
        elif world.now < max(world.outage_until, self.cut_until):
            world.at(world.now + world.delay(), self._end_watch, number, 0)
        else:
            world.watchers[self.identity] = self
            if world.store.lease is not None:
                self.observe("ADDED", world.store.lease)

    def _end_watch(self, number: int, status: int) -> None:
        self._input(self._elector.watch_ended, number, status, "refused")

    def observe(self, kind: str, item: dict[str, Any]) -> None:
        """One event of the watch sets out; a stream keeps its order."""
        world = self.world
        if self._watch_dead or not self.alive or world.now < self.cut_until:
            self._watch_dead = True  # what is lost once on a stream is lost until a new one
            return
        arrival = max(world.now + world.delay(), self._watch_free_at)
        self._watch_free_at = arrival
        world.at(arrival, self._input, self._elector.watch_event, self._watch, kind, item)

    def __str__(self) -> str:
        return self.identity

    def __repr__(self) -> str:
        return f"<Process {self.identity}>"
