"""Leaders whose work loop stands still, in every way there is, as real processes under leases of 6/4/2 s.

Each of three processes is made to stand still twice: for half of ``stall_limit``, which must cost nothing, and for four
times that, which must end the process before anyone else leads. A fourth is stopped with SIGSTOP past its lease. One
more process stands by for all of them. All of it happens at once, in the fixture; the tests look at what came of it,
and the server's audit log says who wrote when.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from pyoperator.apiserver import EmbeddedServer
from pyoperator.client import Client
from pyoperator.objects import ObjectKey, Scheme, Unstructured
from pyoperator.testing import InProcessTransport
from pyoperator.testing._audit_lines import lease_writes_in, read_audit
from pyoperator.testing._judge import ProcessStart, Verdict, judge
from tests.e2e.stalling_operator import CONFIG_MAP, LEASE_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
STALL_LIMIT = 4.0  # the default: renew_deadline
STALLS = ("python", "released", "held")
STANDBY = "standby"
WITHIN = 180.0


class Operator:
    """One process of ``tests.e2e.stalling_operator``."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.ended_at: float | None = None
        self._lines: list[str] = []
        self._ended = False
        self._more = asyncio.Condition()
        self._errors: asyncio.Task[bytes] | None = None
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._errors = asyncio.create_task(self.process.stderr.read())
        while raw := await self.process.stdout.readline():
            async with self._more:
                self._lines.append(raw.decode())
                self._more.notify_all()
        async with self._more:
            self._ended = True
            self._more.notify_all()

    async def line(self, *starting: str) -> list[str]:
        """Return the words of the first line that starts with these, waiting for it; each is returned once."""
        async with self._more:
            while True:
                for line in self._lines:
                    words = line.split()
                    if words[: len(starting)] == list(starting):
                        self._lines.remove(line)
                        return words
                assert not self._ended, f"{self.name} ended without {starting}: {await self.errors()}"
                await self._more.wait()

    def command(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")

    async def end(self) -> int:
        code = await self.process.wait()
        self.ended_at = time.time()
        return code

    async def errors(self) -> str:
        assert self._errors is not None
        return (await self._errors).decode()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


@dataclass
class Outcome:
    """What became of one process; times are wall times of this machine, as in the audit log."""

    kept: bool = False
    liveness: list[tuple[int, str]] = field(default_factory=list)
    code: int = -1
    ended_at: float = 0.0
    taken_at: float = 0.0
    errors: str = ""
    verdict: Verdict = field(default_factory=Verdict)


class Stage:
    """A server with an audit log, and the processes that play on it."""

    def __init__(self, folder: Path, server: EmbeddedServer, client: Client) -> None:
        self.folder = folder
        self.server = server
        self.client = client
        self.operators: list[Operator] = []

    async def start(self, name: str, *namespaces: str) -> Operator:
        kubeconfig = self.folder / f"{name}.kubeconfig"
        self.server.write_kubeconfig(kubeconfig, token=f"token-of-{name}", user=name)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.e2e.stalling_operator",
            str(kubeconfig),
            *namespaces,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        operator = Operator(name, process)
        self.operators.append(operator)
        return operator

    async def count(self, namespace: str) -> int:
        found = await self.client.get(CONFIG_MAP, ObjectKey(namespace, "work"))
        return int(found["data"]["count"])

    async def goes_on(self, namespace: str) -> None:
        """Wait until the leader, whoever it is, has written some more."""
        seen = {await self.count(namespace)}  # a new leader counts from one again
        while len(seen) <= 10:
            await asyncio.sleep(0.02)
            seen.add(await self.count(namespace))

    def events(self, namespace: str) -> list[dict[str, Any]]:
        return [
            event
            for event in read_audit(self.folder / "audit.log")
            if (event.get("objectRef") or {}).get("namespace") == namespace
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def _stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("stalls")
    tokens = folder / "tokens.csv"
    names = [*STALLS, "stopped", STANDBY]
    tokens.write_text("".join(f'token-of-{name},{name},{name},"system:masters"\n' for name in names))
    tokens.chmod(0o600)
    async with EmbeddedServer(audit_log=folder / "audit.log", token_file=tokens) as server:
        client = Client(InProcessTransport(server.server), scheme=Scheme())
        stage = Stage(folder, server, client)
        try:
            yield stage
        finally:
            await asyncio.gather(*(operator.kill() for operator in stage.operators))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="outcomes")
async def _outcomes(stage: Stage) -> dict[str, Outcome]:
    names = [*STALLS, "stopped"]
    for name in names:
        for kind, namespace, data in (("Namespace", "", {}), ("ConfigMap", name, {"data": {"count": "0"}})):
            metadata = {"name": "work", "namespace": namespace} if namespace else {"name": name}
            await stage.client.create(Unstructured({"apiVersion": "v1", "kind": kind, "metadata": metadata, **data}))
    async with asyncio.timeout(WITHIN):
        subjects = await asyncio.gather(*(stage.start(name, name) for name in names))
        leading = [await subject.line("leads", subject.name) for subject in subjects]
        standby = await stage.start(STANDBY, *names)
        await standby.line("stands", "by")
        found = await asyncio.gather(
            *(
                _stall(stage, subject, standby, words[2])
                for subject, words in zip(subjects[:-1], leading, strict=False)
            ),
            _stop(stage, subjects[-1], standby),
        )
    outcomes = dict(zip(names, found, strict=True))
    for operator in stage.operators:
        await operator.kill()
    for subject in subjects:
        outcome, events = outcomes[subject.name], stage.events(subject.name)
        processes = [ProcessStart(user=name, label=name) for name in (subject.name, STANDBY)]
        outcome.verdict = judge(events, lease_namespace=subject.name, lease_name=LEASE_NAME, processes=processes)
        taken = [write for write in lease_writes_in(events, subject.name, LEASE_NAME) if write.user == STANDBY]
        outcome.taken_at = min(write.received for write in taken)
        outcome.ended_at = subject.ended_at or 0.0
        outcome.errors = await subject.errors()
    return outcomes


async def _stall(stage: Stage, subject: Operator, standby: Operator, port: str) -> Outcome:
    outcome = Outcome()
    subject.command(subject.name, 0.5 * STALL_LIMIT)
    await subject.line("stalls")
    await subject.line("goes", "on")
    await stage.goes_on(subject.name)
    lease = lease_writes_in(stage.events(subject.name), subject.name, LEASE_NAME)
    outcome.kept = {write.user for write in lease} == {subject.name}
    subject.command(subject.name, 4 * STALL_LIMIT)
    await subject.line("stalls")
    if subject.name != "held":
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in ("/healthz", "/healthz/event-loop"):
                async with session.get(path) as answer:
                    outcome.liveness.append((answer.status, await answer.text()))
    outcome.code = await subject.end()
    await standby.line("leads", subject.name)
    await stage.goes_on(subject.name)
    return outcome


async def _stop(stage: Stage, subject: Operator, standby: Operator) -> Outcome:
    await stage.goes_on(subject.name)
    subject.process.send_signal(signal.SIGSTOP)
    await standby.line("leads", subject.name)
    await stage.goes_on(subject.name)
    subject.process.send_signal(signal.SIGCONT)
    outcome = Outcome(code=await subject.end())
    await stage.goes_on(subject.name)
    return outcome


@pytest.mark.parametrize("how", STALLS)
async def test_a_stall_of_half_the_limit_costs_nothing(outcomes: dict[str, Outcome], how: str) -> None:
    assert outcomes[how].kept


@pytest.mark.parametrize("how", STALLS)
async def test_a_stall_of_four_times_the_limit_ends_the_process_before_another_leads(
    outcomes: dict[str, Outcome], how: str
) -> None:
    outcome = outcomes[how]
    assert outcome.code == 1, outcome.errors
    assert outcome.ended_at < outcome.taken_at
    assert outcome.verdict.leaders == (how, STANDBY)


@pytest.mark.parametrize("how", [*STALLS, "stopped"])
async def test_nobody_writes_who_does_not_lead(outcomes: dict[str, Outcome], how: str) -> None:
    assert outcomes[how].verdict.foreign_writes == ()
    assert outcomes[how].verdict.leaders == (how, STANDBY)


@pytest.mark.parametrize(("how", "inside"), [("python", "in _spin"), ("released", "in Writer._stall")])
async def test_liveness_fails_and_says_where_the_loop_stands(
    outcomes: dict[str, Outcome], how: str, inside: str
) -> None:
    (all_checks, one_check), errors = outcomes[how].liveness, outcomes[how].errors
    assert all_checks == (500, "[-]event-loop failed: reason withheld\nhealthz check failed\n")
    assert one_check[0] == 500
    assert inside in one_check[1]
    assert f'{inside}"]' in errors
    assert "ending the process: the work loop stands still" in errors
    assert "dead man's switch" not in errors, "the switch was needed"


async def test_the_dead_mans_switch_leaves_the_stack(outcomes: dict[str, Outcome]) -> None:
    errors = outcomes["held"].errors
    assert "dead man's switch: no Python code runs" in errors
    assert "in _holding" in errors
    assert "ending the process: the work loop" not in errors


async def test_a_process_that_was_stopped_past_its_lease_ends_when_it_goes_on(outcomes: dict[str, Outcome]) -> None:
    # By its switch, or by stepping down, whichever thread the machine lets run first.
    assert outcomes["stopped"].code in {1, 3}
