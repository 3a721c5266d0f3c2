"""Ten minutes in which a cache meets every fault there is, by a seed, judged by an oracle.

A real Cache with six informers reads an embedded server through a FaultyTransport on virtual time, while two namespaces
change all the time. After the storm: a bounded quiet time, in which every informer must come to equal the server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.cache import Cache, CacheOptions, owner_uids
from pyoperator.clock import LoopClock, Randomness, virtual_loop_factory
from pyoperator.objects import GroupVersionKind, Scheme
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from tests.simulation.storm_oracle import Historian, Interest, Truth, Verdict
from tests.simulation.storm_phases import BOOKMARKS, DURATION, IDLE_TIMEOUT, PHASES
from tests.simulation.storm_witness import Witness

if TYPE_CHECKING:
    from pyoperator.cache import Informer
    from tests.simulation.storm_phases import Phase

CONFIG_MAP: Final = GroupVersionKind("", "v1", "ConfigMap")
NAMESPACES: Final = ("one", "two")
LABEL: Final = ("tier", "front")

KEPT_BY_COMPACTION: Final = 35
# A half-open connect (30 s), a silent list (60 s) and the longest backoff may follow each other once.
QUIET: Final = 125.0
# What may pass before something that does not work must be called so: a silent stream, a silent list, a backoff.
FRESH_FOR: Final = IDLE_TIMEOUT * 4 / 3 + 60.0 + 30.0
# After all is well, a change is everywhere within this time.
PROMPT: Final = 2.0


@dataclass
class PhaseOutcome:
    """What one phase brought."""

    name: str
    injected: Counter[str] = field(default_factory=Counter)
    genuine: Counter[str] = field(default_factory=Counter)
    lists: int = 0
    events: int = 0
    failures: int = 0
    staleness: float = 0.0
    untrue: float = 0.0
    violations: int = 0

    def add(self, other: PhaseOutcome) -> None:
        self.injected += other.injected
        self.genuine += other.genuine
        self.lists += other.lists
        self.events += other.events
        self.failures += other.failures
        self.staleness = max(self.staleness, other.staleness)
        self.untrue = max(self.untrue, other.untrue)
        self.violations += other.violations


@dataclass
class StormOutcome:
    """What a run came to; it passed if ``violations`` is empty."""

    seed: int
    violations: list[str] = field(default_factory=list)
    phases: list[PhaseOutcome] = field(default_factory=list)
    digest: str = ""
    changes: int = 0
    told: int = 0
    unknown_final_states: int = 0
    converged_after: float = 0.0


@dataclass
class _Watched:
    """One informer, what it should hold, and who listens."""

    interest: Interest
    informer: Informer
    truth: Truth
    historians: list[Historian] = field(default_factory=list)
    fresh_since: float | None = None

    def listen(self, name: str, verdict: Verdict) -> None:
        historian = Historian(f"{self.interest.name}/{name}", self.truth, verdict)
        self.historians.append(historian)
        self.informer.add_handler(historian)


class Storm:
    """One run; ``rate``: changes a second, ``names``: objects that come and go in each namespace."""

    def __init__(self, seed: int, *, rate: float, names: int) -> None:
        loop = asyncio.get_running_loop()
        self.random = Randomness(seed)
        self.rate = rate
        self.names = names
        self.now = loop.time
        self.verdict = Verdict(loop.time)
        self.server = APIServer(
            clock=LoopClock(loop),
            random=Randomness(seed + 1),
            # So short a history that whoever was away for half a minute finds it compacted.
            options=ServerOptions(history=int(rate * 30), bookmark_interval=BOOKMARKS),
        )
        self.admin = InProcessTransport(self.server)
        self.witness = Witness(self.admin)
        self.network = FaultyTransport(self.witness, random=Randomness(seed + 2))
        self.cache = Cache(
            self.network,
            Scheme(),
            clock=LoopClock(loop),
            random=Randomness(seed + 3),
            logger=structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(50)),
        )
        self.watched: list[_Watched] = []
        self.phases: list[PhaseOutcome] = []
        self.changes = 0

    # --- the cache

    def watch(self, interest: Interest, options: CacheOptions, truth: Truth | None = None) -> None:
        """Add an informer with a first handler; some get an index."""
        informer = self.cache.get_informer(CONFIG_MAP, options)
        watched = _Watched(interest, informer, truth if truth is not None else Truth(self.server, interest, self.now))
        watched.listen("first", self.verdict)
        self.watched.append(watched)
        if interest.name == "all":
            informer.add_index("owner", owner_uids)
            informer.add_index("tier", lambda entry: [entry.metadata.labels.get("tier", "")])

    def watch_all(self) -> None:
        options = CacheOptions(idle_timeout=IDLE_TIMEOUT, resync_period=50.0)
        self.watch(Interest("all"), options)
        self.watch(
            Interest("selected", label=LABEL),
            CacheOptions(idle_timeout=IDLE_TIMEOUT, label_selector="=".join(LABEL), resync_period=0.0),
        )
        self.watch(
            Interest("metadata", metadata_only=True),
            CacheOptions(idle_timeout=IDLE_TIMEOUT, metadata_only=True, page_size=7),
        )
        self.watch(
            Interest("each namespace", namespaces=NAMESPACES),
            CacheOptions(idle_timeout=IDLE_TIMEOUT, namespaces=NAMESPACES, page_size=2),
        )
        self.watch(
            Interest("one namespace", namespaces=("two",)),
            CacheOptions(idle_timeout=IDLE_TIMEOUT, namespaces=("two",), page_size=0),
        )

    # --- the changes

    async def put(self, method: str, namespace: str, name: str, body: dict[str, Any] | None = None) -> int:
        path = f"/api/v1/namespaces/{namespace}/configmaps" + ("" if method == "POST" else f"/{name}")
        told = await self.admin.request(method, path, body=msgspec.json.encode(body) if body is not None else None)
        self.changes += told.status in (200, 201)
        return told.status

    def config_map(self, name: str) -> dict[str, Any]:
        random = self.random
        metadata: dict[str, Any] = {"name": name, "labels": {"tier": random.choice(("front", "back"))}}
        if random.random() < 0.1:
            metadata["finalizers"] = ["example.com/slow"]
        if random.random() < 0.3:
            metadata["annotations"] = {"note": 'braces }{ and "quotes" \\ ' * random.randint(1, 5)}
        metadata["managedFields"] = [
            {"manager": "storm", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
        ]
        return {"metadata": metadata, "data": {"n": str(self.changes), "blob": "x" * random.randint(0, 300)}}

    async def users(self) -> None:
        random = self.random
        while True:
            await asyncio.sleep(random.expovariate(self.rate))
            namespace, name = random.choice(NAMESPACES), f"a{random.randrange(self.names)}"
            choice = random.random()
            if choice < 0.8:
                body = self.config_map(name)
                if await self.put("PUT", namespace, name, body) not in (200, 201):
                    await self.put("POST", namespace, name, body)
                continue
            await self.put("DELETE", namespace, name)
            if choice < 0.9:
                # The same name with a new uid, before anybody could look.
                await self.put("POST", namespace, name, self.config_map(name))

    # --- the weather

    async def rage(self, duration: float) -> None:
        """Go through all phases, with the writers, the watchmen and the newcomers at work."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(task) for task in (self.users(), self.watchman(), self.newcomers())]
            for phase in PHASES:
                await self.live_through(phase, duration / DURATION)
            for task in tasks:
                task.cancel()

    async def live_through(self, phase: Phase, scale: float) -> None:
        outcome = PhaseOutcome(phase.name)
        self.phases.append(outcome)
        self.verdict.phase = phase.name
        before = self._counts()
        self.network.faults = phase.faults if not phase.outage else Faults(refused=1.0)
        self.network.partitioned = phase.partition
        end = self.now() + phase.seconds * scale
        async with asyncio.TaskGroup() as group:
            hang_ups = group.create_task(self._every(phase.hang_up, self.server.store.close_watchers))
            compactions = group.create_task(self._every(phase.compaction, self._compact))
            await asyncio.sleep(end - self.now())
            hang_ups.cancel()
            compactions.cancel()
        self.network.partitioned = False
        after = self._counts()
        outcome.injected = after[0] - before[0]
        outcome.genuine = after[1] - before[1]
        outcome.lists, outcome.events, outcome.failures = (
            late - early for late, early in zip(after[2], before[2], strict=True)
        )

    def _counts(self) -> tuple[Counter[str], Counter[str], tuple[int, int, int]]:
        statuses = [watched.informer.status() for watched in self.watched]
        sums = (
            sum(status.lists for status in statuses),
            self.verdict.told,
            sum(status.failures for status in statuses),
        )
        return Counter(self.network.injected), Counter(self.witness.seen), sums

    async def _every(self, seconds: float, action: Any) -> None:
        while seconds:
            await asyncio.sleep(self.random.uniform(0.5, 1.5) * seconds)
            action()

    def _compact(self) -> None:
        self.server.store.compact(self.server.store.revision - KEPT_BY_COMPACTION)

    # --- the watchmen

    async def watchman(self) -> None:
        """Look every second whether what the cache says of itself is true."""
        while True:
            await asyncio.sleep(1.0)
            self.look()

    def look(self) -> None:
        phase = self.phases[-1]
        unsynced = False
        for watched in self.watched:
            status = watched.informer.status()
            name = watched.interest.name
            if status.unexpected_errors or status.unreadable or status.handler_errors or status.index_errors:
                self.verdict.violated(f"{name}: {status.failure or 'errors of its own'}: {status}")
            unsynced = unsynced or not status.synced
            stale = watched.truth.staleness(watched.informer)
            if not status.synced:
                continue
            phase.staleness = max(phase.staleness, stale)
            if status.failing_for is not None:
                watched.fresh_since = None
                continue
            watched.fresh_since = self.now() if watched.fresh_since is None else watched.fresh_since
            if status.sign_of_life_age is None or status.sign_of_life_age > FRESH_FOR:
                self.verdict.violated(f"{name} claims to be fresh, last sign of life: {status.sign_of_life_age}")
            # A claim may begin with the reconnect that is about to bring what was missed; it must not outlive that.
            untrue = min(stale, self.now() - watched.fresh_since)
            phase.untrue = max(phase.untrue, untrue)
            if untrue > FRESH_FOR:
                self.verdict.violated(f"{name} has claimed for {untrue:.1f} s to be fresh, and misses a change")
        if unsynced and self.cache.health().ready:
            self.verdict.violated("the cache claims to be ready before everything is synced")

    async def newcomers(self) -> None:
        """Add handlers all the time, and an informer in the middle of it."""
        interest = Interest("latecomer", namespaces=("one",), label=LABEL)
        truth = Truth(self.server, interest, self.now)  # it knows what was before the informer came
        for number in range(4):
            await asyncio.sleep(self.random.uniform(80.0, 150.0))
            for watched in self.watched:
                watched.listen(f"late-{number}", self.verdict)
            if number == 1:
                self.watch(
                    interest,
                    CacheOptions(
                        idle_timeout=IDLE_TIMEOUT, namespaces=("one",), label_selector="=".join(LABEL), page_size=3
                    ),
                    truth,
                )

    # --- the judgement

    async def calm_down(self, outcome: StormOutcome) -> None:
        """End all faults; everything must be equal within the quiet time, and then stay alive."""
        self.verdict.phase = "quiet"
        self.phases.append(PhaseOutcome("quiet"))
        self.network.faults = Faults()
        self.network.partitioned = False
        calm = self.now()
        while unequal := self.unequal():
            if self.now() > calm + QUIET:
                for difference in unequal:
                    self.verdict.violated(f"after {QUIET:.0f} s of quiet: {difference}")
                return
            await asyncio.sleep(1.0)
            self.look()
        outcome.converged_after = self.now() - calm
        # Equal by a list is not yet alive. Every watch is, once the longest backoff and a silent stream are over.
        await asyncio.sleep(calm + QUIET - self.now())
        for namespace in NAMESPACES:
            for number in range(3):
                body = self.config_map(f"last-{number}")
                body["metadata"].pop("finalizers", None)
                await self.put("POST", namespace, f"last-{number}", body)
            await self.put("DELETE", namespace, "last-0")
        await asyncio.sleep(PROMPT)
        for difference in self.unequal():
            self.verdict.violated(f"{PROMPT:.0f} s after a change, all being well: {difference}")
        for watched in self.watched:
            status = watched.informer.status()
            if status.failing_for is not None or not status.synced:
                self.verdict.violated(f"{watched.interest.name} is well and says {status.failure!r}")
            if watched.interest.name == "all":
                self._check_indexes(watched)

    def unequal(self) -> list[str]:
        found: list[str] = []
        for watched in self.watched:
            found += watched.truth.difference(watched.informer)
            found += [
                f"{historian.name} was told something else than the cache holds"
                for historian in watched.historians
                if not historian.agrees_with(watched.informer)
            ]
        return found

    def _check_indexes(self, watched: _Watched) -> None:
        store = watched.informer.store
        for tier in ("front", "back"):
            indexed = {entry.key for entry in store.select(indexed={"tier": tier})}
            wanted = {entry.key for entry in store.entries() if entry.metadata.labels["tier"] == tier}
            if indexed != wanted:
                self.verdict.violated(f"the index of {tier} differs from the objects: {indexed ^ wanted}")


async def _scenario(seed: int, *, rate: float, names: int, duration: float) -> StormOutcome:
    outcome = StormOutcome(seed)
    storm = Storm(seed, rate=rate, names=names)
    for namespace in NAMESPACES:
        body = msgspec.json.encode({"metadata": {"name": namespace}})
        await storm.admin.request("POST", "/api/v1/namespaces", body=body)
    before = asyncio.all_tasks()
    storm.watch_all()
    running = asyncio.create_task(storm.cache.run())
    await storm.rage(duration)
    await storm.calm_down(outcome)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    leaked = asyncio.all_tasks() - before
    if leaked:
        storm.verdict.violated(f"tasks are left: {sorted(task.get_name() for task in leaked)}")
    if storm.server.store.watchers:
        storm.verdict.violated(f"{storm.server.store.watchers} watches are left at the server")
    for phase in storm.phases:
        phase.violations = storm.verdict.by_phase.get(phase.name, 0)
        storm.verdict.note(str(phase))
    outcome.violations = storm.verdict.violations
    outcome.phases = storm.phases
    outcome.digest = storm.verdict.digest
    outcome.changes = storm.changes
    outcome.told = storm.verdict.told
    outcome.unknown_final_states = storm.verdict.unknown_final_states
    return outcome


def run_storm(seed: int, *, rate: float = 20.0, names: int = 20, duration: float = DURATION) -> StormOutcome:
    """Run one seed on a virtual loop; the same seed and size give the same outcome, digest included."""
    with asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
        return runner.run(_scenario(seed, rate=rate, names=names, duration=duration))
