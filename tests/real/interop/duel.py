"""Let candidates of pyoperator and of client-go compete for one Lease, and judge who led when.

Two witnesses: every version of the Lease, in the order of a watch, and what each process tells of its own work.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from pyoperator.objects import GroupVersionKind
from tests.real.interop.witnesses import Line, Version, history_faults, interval_faults, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyoperator.client import Client

Side = Literal["pyoperator", "client-go"]
OTHER: dict[Side, Side] = {"pyoperator": "client-go", "client-go": "pyoperator"}

HERE = Path(__file__).parent
LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
NAME = "interop.example.com"
DURATION = 3.0
_DURATIONS = (f"--lease-duration={DURATION:g}s", "--renew-deadline=2s", "--retry-period=500ms")
_PATIENCE = 60.0  # seconds until a step that does not come fails the run


class Changes:
    """Wait for a condition that grows true by what others report."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not so within {_PATIENCE:g} s: {what}") from None


class Candidate:
    """One process of one side; ``lines`` is what it told so far, kept in a file as well."""

    def __init__(self, side: Side, identity: str, changes: Changes, log: Path) -> None:
        self.side = side
        self.identity = identity
        self.lines: list[Line] = []
        self.killed: int | None = None
        self._changes = changes
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, command: Sequence[str]) -> None:
        with self._log.with_suffix(".stderr").open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        self._reading = asyncio.create_task(self._read(), name=f"what {self.identity} tells")
        await self.campaign()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._log.open("ab") as log:
            async for text in self._process.stdout:
                log.write(text)
                if text.startswith(b"{"):  # the rest is pyoperator's log
                    self.lines.append(msgspec.json.decode(text, type=Line))
                    self._changes.tell()

    async def campaign(self) -> None:
        await self._command("campaign")

    async def release(self) -> None:
        await self._command("release")

    async def _command(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        await self._process.stdin.drain()

    async def terminate(self) -> None:
        code = await self._end(signal.SIGTERM)
        assert code == 0, f"{self.identity} ended with {code}: {self._log.with_suffix('.stderr').read_text()}"

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)
        self.killed = time.monotonic_ns()

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(_PATIENCE):
            code = await self._process.wait()
            await self._reading
        return code

    def count(self, event: str) -> int:
        return sum(line.event == event for line in self.lines)

    @property
    def leads(self) -> bool:
        return self.count("started") > self.count("stopped")

    def intervals(self) -> list[tuple[int, int, str]]:
        """Return when it led by its own word, in monotonic nanoseconds; a killed one did until it was dead."""
        starts = [line.mono for line in self.lines if line.event == "started"]
        stops = [line.mono for line in self.lines if line.event == "stopped"]
        if len(stops) < len(starts) and self.killed is not None:
            stops.append(self.killed)
        return [(start, stop, self.identity) for start, stop in zip(starts, stops, strict=True)]


@dataclass(slots=True)
class Result:
    """What was seen in a whole run."""

    versions: list[Version] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    gaps: dict[Side, list[float]] = field(default_factory=lambda: {"pyoperator": [], "client-go": []})
    """Seconds from release to acquisition, by the side that gave the Lease back."""
    crash_gaps: dict[Side, list[float]] = field(default_factory=lambda: {"pyoperator": [], "client-go": []})
    """Seconds from the last renewal's record to the acquisition's, by the side that was killed."""

    def faults(self) -> list[str]:
        """Return every breach of the rules of election, by either witness: none, if both sides understand each other."""
        return [
            *history_faults(self.versions),
            *interval_faults([one for candidate in self.candidates for one in candidate.intervals()]),
            *self._unseen(),
        ]

    @property
    def acquisitions(self) -> int:
        """How many tenures began, by the watch."""
        return sum(after.holder not in {"", before.holder} for before, after in pairwise(self.versions)) + 1

    @property
    def transitions(self) -> int:
        """The Lease's own count: one less, since its creation is no change."""
        return self.versions[-1].transitions

    def _unseen(self) -> list[str]:
        sides = {candidate.identity: candidate.side for candidate in self.candidates}
        seen = {
            (candidate.side, sides.get(line.holder))
            for candidate in self.candidates
            for line in candidate.lines
            if line.event == "observed"
        }
        return [f"{side} never saw {OTHER[side]} lead" for side in OTHER if (side, OTHER[side]) not in seen]

    def report(self) -> str:
        lines = [
            f"hand-overs {sum(map(len, self.gaps.values()))}, crashes {sum(map(len, self.crash_gaps.values()))}, "
            f"versions of the Lease {len(self.versions)}, processes {len(self.candidates)}, faults {len(self.faults())}",
            f"tenures {self.acquisitions}, leaseTransitions {self.transitions}",
        ]
        for side, gaps in self.gaps.items():
            lines.append(f"release to acquisition, {side} -> {OTHER[side]}, ms: {spread(gaps, 1000)}")
        for side, gaps in self.crash_gaps.items():
            lines.append(f"last renewal to take-over, {side} killed, s: {spread(gaps, 1)}")
        return "\n".join(lines)


class Duel:
    """One run: two processes at a time, one of each side, and the leader is asked to go, again and again."""

    def __init__(self, client: Client, namespace: str, kubeconfig: str, program: Path, folder: Path) -> None:
        self.result = Result()
        self._client = client
        self._namespace = namespace
        self._kubeconfig = kubeconfig
        self._program = program
        self._folder = folder
        self._changes = Changes()
        self._numbers = itertools.count(1)
        self._sides: dict[Side, Candidate] = {}

    async def run(self, hand_overs: int, crashes: int) -> Result:
        """Hand over so many times, a release and a SIGTERM alternately for each side, then crash each side so often."""
        start = await self._client.list(LEASE, namespace=self._namespace)
        watching = asyncio.create_task(self._watch(start.resource_version), name="watch the Lease")
        try:
            leader = await self._start("pyoperator")
            await self._until_led_by(leader)
            await self._follow(await self._start("client-go"), leader)
            for number in range(hand_overs):
                leader = await self._hand_over(leader, terminate=number % 4 >= 2)
            for _ in range(2 * crashes):
                leader = await self._crash(leader)
            for candidate in (self._sides[OTHER[leader.side]], leader):
                await candidate.terminate()
            await self._changes.until("given back in the end", lambda: self.result.versions[-1].holder == "")
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            for candidate in self._sides.values():
                await candidate.kill()
        return self.result

    async def _hand_over(self, leader: Candidate, *, terminate: bool) -> Candidate:
        follower = self._sides[OTHER[leader.side]]
        await (leader.terminate() if terminate else leader.release())
        await self._until_led_by(follower)
        released, taken = self._last_change()
        assert released.holder == "", f"{leader.identity} did not give the Lease back"
        self.result.gaps[leader.side].append(taken.seen - released.seen)
        if terminate:
            leader = await self._start(leader.side)
        else:
            await leader.campaign()
        await self._follow(leader, follower)
        return follower

    async def _crash(self, leader: Candidate) -> Candidate:
        follower = self._sides[OTHER[leader.side]]
        await leader.kill()
        await self._until_led_by(follower)
        last, taken = self._last_change()
        assert last.holder == leader.identity, "somebody gave a dead leader's Lease back"
        self.result.crash_gaps[leader.side].append(taken.acquired - last.renewed)
        await self._follow(await self._start(leader.side), follower)
        return follower

    async def _start(self, side: Side) -> Candidate:
        identity = f"{side}-{next(self._numbers)}"
        candidate = Candidate(side, identity, self._changes, self._folder / f"{identity}.jsonl")
        self.result.candidates.append(candidate)
        self._sides[side] = candidate
        if side == "pyoperator":
            command = [sys.executable, str(HERE / "candidate.py"), self._kubeconfig, self._namespace, NAME, identity]
        else:
            named = (f"--kubeconfig={self._kubeconfig}", f"--namespace={self._namespace}", f"--name={NAME}")
            command = [str(self._program), *named, f"--identity={identity}", *_DURATIONS]
        await candidate.start(command)
        return candidate

    async def _until_led_by(self, candidate: Candidate) -> None:
        def led() -> bool:
            versions = self.result.versions
            return bool(versions) and versions[-1].holder == candidate.identity and candidate.leads

        await self._changes.until(f"{candidate.identity} leads", led)

    async def _follow(self, candidate: Candidate, leader: Candidate) -> None:
        """Wait until the candidate, which just began to campaign, has read the other's record."""

        def seen() -> bool:
            since = max((line.mono for line in candidate.lines if line.event in {"ready", "stopped"}), default=0)
            holders = [line.holder for line in candidate.lines if line.event == "observed" and line.mono > since]
            return holders[-1:] == [leader.identity]

        await self._changes.until(f"{candidate.identity} sees that {leader.identity} leads", seen)

    def _last_change(self) -> tuple[Version, Version]:
        """Return the last version of the former holder (its release, if it released) and the acquisition after it."""
        versions = self.result.versions
        newest = versions[-1].holder
        position = next(i for i in range(len(versions) - 1, 0, -1) if versions[i - 1].holder != newest)
        return versions[position - 1], versions[position]

    async def _watch(self, resource_version: str) -> None:
        loop = asyncio.get_running_loop()
        while True:  # the server ends a watch now and then
            async with self._client.watch(
                LEASE,
                namespace=self._namespace,
                field_selector=f"metadata.name={NAME}",
                resource_version=resource_version,
            ) as events:
                async for event in events:
                    resource_version = event.object.metadata["resourceVersion"]
                    self.result.versions.append(Version.of(event.object, loop.time()))
                    self._changes.tell()


async def build(folder: Path) -> Path:
    """Build the candidate that elects with client-go; raises AssertionError with what the compiler says."""
    program = folder / "candidate"
    process = await asyncio.create_subprocess_exec(
        "go",
        "build",
        "-mod=readonly",
        "-buildvcs=false",
        f"-o={program}",
        ".",
        cwd=HERE,
        env={"GOMAXPROCS": "1", **os.environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"go build failed: {output.decode()}"
    return program
