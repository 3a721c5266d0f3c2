"""Break the rules of high availability one at a time, and see which test notices; see ``scripts/mutants``.

A mutant is one edit of the package. It is made in a copy, and the tests of its rule run there: at least one must fail.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]

_CPU_SECONDS = 30

_ELECTOR = ("tests/leaderelection/test_elector.py",)
_HOSTS = ("tests/leaderelection/test_loop_host.py",)
_FENCE = ("tests/leaderelection/test_leadership.py",)
_HISTORIES = ("tests/simulation/test_elections.py", "-k", "within_the_bound")
_STALLS = ("tests/leaderelection/test_stall_guard.py",)
_LIFE = ("tests/manager/test_life_cycle.py",)
_MANAGER = ("tests/manager/test_manager.py",)
_CHANGES = ("tests/simulation/test_leadership_changes.py", "-k", "standby or every_key")
_TERM = ("tests/simulation/test_start_of_term.py",)
_TRANSPORT = ("tests/client/test_aiohttp_transport.py",)


@dataclass(frozen=True, slots=True)
class Mutant:
    """``old`` occurs once in ``file`` (below pyoperator/) and becomes ``new``; ``tests`` are pytest's arguments."""

    rule: str
    broken: str
    file: str
    old: str
    new: str
    tests: tuple[tuple[str, ...], ...]


MUTANTS = (
    # The lock.
    Mutant(
        "lock",
        "leaseTransitions is not counted",
        "leaderelection/_following.py",
        "candidate.lease.transitions + 1",
        "candidate.lease.transitions",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "lock",
        "a renewal counts as a transition",
        "leaderelection/_leading.py",
        "self._tenure.acquired, stamp, candidate.token)",
        "self._tenure.acquired, stamp, candidate.token + 1)",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "lock",
        "writes carry no resourceVersion, so they overwrite whatever is there",
        "leaderelection/_record.py",
        "        document = dict(self.document)\n",
        "        document = dict(self.document)\n"
        '        document["metadata"] = {k: v for k, v in document["metadata"].items() if k != "resourceVersion"}\n',
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "lock",
        "fields that others wrote are dropped",
        "leaderelection/_record.py",
        "{**(spec if isinstance(spec, dict) else {}), **_spec_of(terms)}",
        "_spec_of(terms)",
        (_ELECTOR,),
    ),
    Mutant(
        "lock",
        "a fraction of a lease duration is truncated",
        "leaderelection/_config.py",
        "if self.lease_duration != int(self.lease_duration) or self.lease_duration < 1:",
        "if self.lease_duration < 1:",
        (("tests/leaderelection/test_config.py",),),
    ),
    # Rule 1.
    Mutant(
        "1",
        "valid-until counts from the answer",
        "leaderelection/_leading.py",
        "            self._confirm(claim, record)\n            return\n",
        "            self._confirm(claim, record)\n"
        "            candidate.valid_until = now + candidate.config.renew_deadline\n"
        "            return\n",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "1",
        "leadership goes on past valid-until while a renewal is in flight",
        "leaderelection/_leading.py",
        "if candidate.valid_until is not None and now >= candidate.valid_until:",
        "if candidate.pending is None and candidate.valid_until is not None and now >= candidate.valid_until:",
        (_ELECTOR,),
    ),
    Mutant(
        "1",
        "an acquisition that was answered too late is used",
        "leaderelection/_leading.py",
        "if over or now >= until - candidate.config.write_margin:",
        "if over:",
        (_ELECTOR,),
    ),
    Mutant(
        "1",
        "a renewal is valid for the lease duration",
        "leaderelection/_leading.py",
        "candidate.valid_until = claim.sent_at + candidate.config.renew_deadline",
        "candidate.valid_until = claim.sent_at + candidate.config.lease_duration",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "1",
        "a request may outlast valid-until",
        "leaderelection/_candidate.py",
        "            remaining.append(self.valid_until - now)\n",
        "            pass\n",
        (_ELECTOR,),
    ),
    Mutant(
        "1",
        "elapsed time stands still in suspend",
        "clock/_readings.py",
        'if hasattr(time, "CLOCK_BOOTTIME"):',
        "if False:",
        (("tests/clock/test_readings.py",),),
    ),
    # Rule 2.
    Mutant(
        "2",
        "the fence ignores its margin",
        "leaderelection/_leadership.py",
        "        if remaining >= self._config.write_margin:\n",
        "        if remaining >= 0:\n",
        (_FENCE,),
    ),
    Mutant(
        "2",
        "a renewal on the elector's thread opens a fence that was closed",
        "leaderelection/_leadership.py",
        "            if self._shut:\n                return\n",
        "",
        (_FENCE,),
    ),
    Mutant(
        "2",
        "the gate is not asked again right before the bytes are written",
        "client/_exchange.py",
        "            self.gate.admit(self.method, self.path)\n",
        "            pass\n",
        (_TRANSPORT,),
    ),
    Mutant(
        "2",
        "a write in flight is not given up at valid-until",
        "client/_aiohttp.py",
        "deadline = min(deadline, started + bound)",
        "pass",
        (_TRANSPORT,),
    ),
    Mutant(
        "2",
        "some writes pass by the fence",
        "client/_gate.py",
        '_READ_ONLY = frozenset({"GET", "HEAD", "OPTIONS"})',
        '_READ_ONLY = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})',
        (_TRANSPORT, ("tests/client",), ("tests/simulation/test_fence.py",)),
    ),
    Mutant(
        "2",
        "manager.client is not fenced",
        "manager/_connections.py",
        "self.fenced = self.make(gate)",
        "self.fenced = self.make(OpenGate())",
        (_MANAGER, ("tests/simulation/test_fence.py",)),
    ),
    # Rule 3.
    Mutant(
        "3",
        "a 409 is not looked into",
        "leaderelection/_elector.py",
        "            candidate.doubt = self._conflicted = True\n",
        "            self._conflicted = True\n",
        (_ELECTOR,),
    ),
    Mutant(
        "3",
        "no step-down when another holds the Lease",
        "leaderelection/_leading.py",
        "if record.holder != candidate.config.identity:",
        "if not record.holder:",
        (_ELECTOR,),
    ),
    Mutant(
        "3",
        "no step-down when the Lease was released by hand",
        "leaderelection/_leading.py",
        "if record.holder != candidate.config.identity:",
        "if record.holder and record.holder != candidate.config.identity:",
        (_ELECTOR,),
    ),
    Mutant(
        "3",
        "no step-down when the Lease is deleted",
        "leaderelection/_elector.py",
        "            self._leading.lose(wall, reason)\n            return\n",
        "            return\n",
        (_ELECTOR,),
    ),
    Mutant(
        "3",
        "a watch event counts that is older than the last write",
        "leaderelection/_elector.py",
        "        if record.version > candidate.floor:\n            candidate.floor = record.version\n            if kind",
        "        if True:\n            candidate.floor = record.version\n            if kind",
        (_ELECTOR,),
    ),
    Mutant(
        "3",
        "a lost answer is adopted if only the holder is the same",
        "leaderelection/_claims.py",
        'if claim.terms == record.terms and claim.uid in {"", record.uid}:',
        "if claim.terms.holder == record.holder:",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "3",
        "a lost answer is adopted from when it is found out",
        "leaderelection/_leading.py",
        "            self.confirmed_at = claim.sent_at\n",
        "            claim = type(claim)(claim.terms, claim.uid, candidate.claims.latest)\n"
        "            self.confirmed_at = claim.sent_at\n",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "3",
        "a second process with the same identity is not noticed",
        "leaderelection/_leading.py",
        'self.lose(wall, "somebody else renews the Lease under this identity")',
        "candidate.lease = record",
        (_ELECTOR,),
    ),
    Mutant(
        "3",
        "a duration shortened by hand does not shorten leadership",
        "leaderelection/_leading.py",
        "            self._shorten(record.duration, now)\n",
        "",
        (_ELECTOR,),
    ),
    # Rule 4.
    Mutant(
        "4",
        "a follower does not watch",
        "leaderelection/_elector.py",
        "            and candidate.phase in {Phase.FOLLOWING, Phase.LEADING}\n",
        "            and candidate.phase is Phase.LEADING\n",
        (_ELECTOR, _HOSTS),
    ),
    Mutant(
        "4",
        "it takes over a second early",
        "leaderelection/_following.py",
        "self._acquire_at = now + record.duration",
        "self._acquire_at = now + record.duration - 1.0",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "4",
        "expiry is counted by its own duration, not by the record's",
        "leaderelection/_following.py",
        "self._acquire_at = now + record.duration",
        "self._acquire_at = now + self._candidate.config.lease_duration",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "4",
        "timestamps of another machine are compared",
        "leaderelection/_following.py",
        "self._acquire_at = now + record.duration",
        "from pyoperator.objects import parse_time\n"
        '            stamp = parse_time(record.terms.renewed or "1970-01-01T00:00:00.000000Z")\n'
        "            self._acquire_at = now + max(0.0, stamp + record.duration - 1.767e9 - now)",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "4",
        "a renewal that was seen does not start the count again",
        "leaderelection/_elector.py",
        "            elif changed:\n                self._following.changed(record, now)",
        "            elif changed and (old is None or old.holder != record.holder):\n"
        "                self._following.changed(record, now)",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "4",
        "edited labels rejuvenate a dead leader",
        "leaderelection/_elector.py",
        "changed = not candidate.known or old is None or old.terms != record.terms or old.uid != record.uid",
        "changed = not candidate.known or old is None or old.resource_version != record.resource_version",
        (_ELECTOR,),
    ),
    Mutant(
        "4",
        "a free Lease is taken after a retry period",
        "leaderelection/_following.py",
        "            self._acquire_at = now + self._handover_delay(now)\n        else:",
        "            self._acquire_at = now + self._candidate.config.retry_period\n        else:",
        (_ELECTOR, _HOSTS),
    ),
    Mutant(
        "4",
        "the old wait as little as the young",
        "leaderelection/_following.py",
        "return 0.005 * self._candidate.random.random() + 0.015 * age / (age + 30.0)",
        "return 0.02 * self._candidate.random.random()",
        (_ELECTOR,),
    ),
    Mutant(
        "4",
        "no polling where watching is forbidden",
        "leaderelection/_elector.py",
        "        candidate.schedule_poll(now)\n        return self._proceed(now, wall)\n\n    def release",
        "        candidate.poll_at = NEVER\n        return self._proceed(now, wall)\n\n    def release",
        (_ELECTOR, _HOSTS),
    ),
    Mutant(
        "4",
        "a watch that died silently is kept",
        "leaderelection/_elector.py",
        "                candidate.close_watch()  # silence was not silence: the watch is dead\n",
        "                pass\n",
        (_ELECTOR,),
    ),
    Mutant(
        "4",
        "a deleted Lease is taken before its last terms have run out",
        "leaderelection/_following.py",
        "        until = candidate.seen_at + old.duration if held and old is not None else now\n",
        "        until = now\n",
        (_ELECTOR,),
    ),
    # Rule 5.
    Mutant(
        "5",
        "renewals go on although the work loop stands still",
        "leaderelection/_renewals.py",
        'if method != "GET" and not self._may_renew():',
        "if False:",
        (("tests/leaderelection/test_renewals.py",),),
    ),
    Mutant(
        "5",
        "the switch is not told of renewals",
        "leaderelection/_renewals.py",
        "            self._on_renewed(self.valid_until)\n",
        "            pass\n",
        (_FENCE,),
    ),
    Mutant(
        "5",
        "a stalled leader's process goes on when its time is over",
        "leaderelection/_stall_guard.py",
        "                self._end_process(_FAILURE)\n",
        "",
        (_STALLS,),
    ),
    Mutant(
        "5",
        "renewals go on although nobody watches the work loop any more",
        "leaderelection/_stall_guard.py",
        "return not self.heartbeat.beyond_limit and not (self._watch is not None and self._watch.done())",
        "return not self.heartbeat.beyond_limit",
        (_STALLS,),
    ),
    Mutant(
        "5",
        "without a manager nobody watches the work loop",
        "leaderelection/_leader_elector.py",
        "            may_renew=self._guard.may_renew,\n",
        "",
        (("tests/leaderelection/test_stalled_elector.py", "-k", "beyond_the_limit"),),
    ),
    # Rule 6.
    Mutant(
        "6",
        "the lease is released although work goes on",
        "manager/_life_cycle.py",
        "            if not blockers:\n                # Also when",
        "            if True:\n                # Also when",
        (_LIFE,),
    ),
    Mutant(
        "6",
        "a thread that goes on does not count as work",
        "manager/_group.py",
        'found = [f"{self.name}: {what}" for what in told()] if told is not None else []',
        "found: list[str] = []",
        (_LIFE,),
    ),
    Mutant(
        "6",
        "the lease is released before the work has stopped",
        "manager/_life_cycle.py",
        '            blockers = await self._stop_group("leader", deadline,',
        '            await self._leave_election(())\n            blockers = await self._stop_group("leader", deadline,',
        (_LIFE,),
    ),
    Mutant(
        "6",
        "a release leaves the gate open",
        "leaderelection/_releasing.py",
        "        candidate.valid_until = None\n",
        "",
        (_ELECTOR,),
    ),
    Mutant(
        "6",
        "a release writes over another holder",
        "leaderelection/_releasing.py",
        "elif lease is None or candidate.claims.of(lease) is None:",
        "elif lease is None:",
        (_ELECTOR, _HISTORIES),
    ),
    Mutant(
        "6",
        "a release does not wait for an acquisition in flight",
        "leaderelection/_releasing.py",
        "        if not acquiring:\n            candidate.cancel_pending()\n",
        "        candidate.cancel_pending()\n",
        (_ELECTOR,),
    ),
    Mutant(
        "6",
        "a release is tried after what was written has run out",
        "leaderelection/_releasing.py",
        "give_up_at = min(now + config.renew_deadline / 2, candidate.claims.latest + config.renew_deadline)",
        "give_up_at = now + config.renew_deadline / 2",
        (_ELECTOR, _HOSTS),
    ),
    Mutant(
        "6",
        "a candidate that has lost tries to release",
        "leaderelection/_elector.py",
        "        if phase in {Phase.FOLLOWING, Phase.LEADING}:\n            self._releasing.begin(now)",
        "        if phase is not Phase.RELEASING:\n            self._releasing.begin(now)",
        (_ELECTOR, _HISTORIES),
    ),
    # Rule 7.
    Mutant(
        "7",
        "the fence stays open when leadership is lost",
        "leaderelection/_leadership.py",
        "            if valid_until is None:\n                self._tenure = None\n",
        "            if valid_until is None:\n",
        (_FENCE, _HOSTS),
    ),
    Mutant(
        "7",
        "work is not cancelled when leadership is lost",
        "leaderelection/_leader_elector.py",
        "            body.cancel()\n",
        "",
        (_HOSTS,),
    ),
    Mutant(
        "7",
        "it campaigns again although work did not stop",
        "manager/_life_cycle.py",
        "        return not left\n",
        "        return True\n",
        (_LIFE,),
    ),
    Mutant(
        "7",
        "work is drained rather than cancelled when leadership is lost",
        "manager/_life_cycle.py",
        '        self._groups["leader"].cut_short()\n\n    async def _leave',
        "\n    async def _leave",
        (_LIFE,),
    ),
    # Rule 8.
    Mutant(
        "8",
        "caches and controllers are warmed up by the leader only",
        "manager/_life_cycle.py",
        "        for runnable in self.runnables():\n            self._warm_up(runnable)\n",
        "",
        (_LIFE, _CHANGES),
    ),
    Mutant(
        "8",
        "a standby works",
        "manager/_life_cycle.py",
        "            await self._election.acquire()\n            await self._lead(Phase.LEADING)\n",
        "            await self._lead(Phase.LEADING)\n            await self._election.acquire()\n",
        (_LIFE, _CHANGES),
    ),
    # Rule 9.
    Mutant(
        "9",
        "cached keys are not enqueued at the start of a term",
        "controller/_controller.py",
        "            if watch.for_kind or dropped:\n                watch.source.replay(dispatch)",
        "            if dropped:\n                watch.source.replay(dispatch)",
        (_TERM,),
    ),
    Mutant(
        "9",
        "backoffs of the former term are kept",
        "controller/_queue.py",
        "            entry.failures = 0\n            retry, entry.retry = entry.retry, None\n",
        "            retry = None\n",
        (_TERM,),
    ),
    Mutant(
        "9",
        "a standby's backlog keeps its priority",
        "controller/_controller.py",
        "self.queue.begin_term(LOW_PRIORITY)",
        "self.queue.begin_term(100)",
        (_TERM,),
    ),
)


def copy_of_the_repository(into: Path) -> None:
    for name in ("pyoperator", "tests", "examples", "benchmarks", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, into / name)


def caught_by(mutant: Mutant, copy: Path) -> str:
    """Run the mutant's tests on it; return the first that fails, "" if it survives."""
    file = copy / "pyoperator" / mutant.file
    healthy = file.read_text("utf-8")
    if healthy.count(mutant.old) != 1:
        raise LookupError(f"{mutant.file} has changed: adapt the mutant {mutant.broken!r}")
    file.write_text(healthy.replace(mutant.old, mutant.new), "utf-8")
    try:
        for tests in mutant.tests:
            failed = _first_failure(copy, tests)
            if failed:
                return failed
        return ""
    finally:
        file.write_text(healthy, "utf-8")


def _first_failure(copy: Path, tests: Sequence[str]) -> str:
    places = [str(copy), str(copy / "examples" / "postgres-operator")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *tests]
    # Bounded by time of the processor: a broken rule may make a loop endless, and machines differ in what else they do.
    command = ["/bin/sh", "-c", 'ulimit -t "$0" && exec "$@"', str(_CPU_SECONDS), *pytest]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        return f"{tests[0].removeprefix('tests/')} (does not end)"
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or found is None:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return found[1].removeprefix("tests/")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants and print the table in Markdown; 0 if none survived."""
    parser = argparse.ArgumentParser(
        prog="mutants", description="Break each rule of high availability; see who notices."
    )
    parser.add_argument("--rule", help="only the mutants of this rule")
    parser.add_argument("--trust", action="store_true", help="don't run the tests without mutants first")
    options = parser.parse_args(arguments)
    survivors = 0
    print("| rule | broken how | caught by |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        copy_of_the_repository(copy)
        for mutant in MUTANTS:
            if options.rule in {None, mutant.rule}:
                catcher = caught_by(mutant, copy)
                survivors += not catcher
                print(
                    f"| {mutant.rule} | {mutant.broken} | {f'`{catcher}`' if catcher else '**nobody**'} |", flush=True
                )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
