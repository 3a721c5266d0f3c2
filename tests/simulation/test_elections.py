"""Two thousand histories of elections: one effective writer at any true time, and a judge that can see otherwise."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.leaderelection import Terms, _claims, _elector, _following, _leading, _releasing
from tests.simulation.elections import simulate
from tests.simulation.histories import elections, main

if TYPE_CHECKING:
    from pyoperator.leaderelection._candidate import Candidate
    from tests.simulation.election_conditions import Beyond


@pytest.mark.parametrize("first", [0, 500, 1000, 1500])
def test_histories_within_the_bound(first: int) -> None:
    report = elections(range(first, first + 500))
    assert report.failures == {}, "replay one: scripts/simulate --verbose --seed N"
    # The histories are worth something: leaders change, by release and by expiry.
    assert report.counts["changes_of_leader"] > 1000
    assert report.counts["releases"] > 150
    assert max(report.samples["leaderless_leases"]) > 1.0


def test_edits_that_cancel_each_other_out_are_no_renewal() -> None:
    """The one of a hundred thousand in which a follower slept through both: it counts from when it saw those terms."""
    assert simulate(69489).violations == []


@pytest.mark.parametrize("beyond", ["skew", "delay"])
def test_beyond_the_bound_the_judge_sees_two_writers(beyond: Beyond) -> None:
    seen = [violation for seed in range(60) for violation in simulate(seed, beyond).violations]
    assert any("could still write" in violation for violation in seen)


class TestTheJudgeSeesEachBrokenRule:
    """Break a rule in the elector itself; 200 histories must be enough to notice."""

    def sees(self, what: str) -> bool:
        return any(what in violation for seed in range(200) for violation in simulate(seed).violations)

    def test_valid_until_counted_from_the_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begin = _leading.Leading.begin

        def late(leading: Any, claim: _claims.Claim, record: Any, now: float, wall: float) -> bool:
            begun = begin(leading, claim, record, now, wall)
            candidate: Candidate = leading._candidate
            if begun:
                candidate.valid_until = now + candidate.config.renew_deadline
            return begun

        monkeypatch.setattr(_leading.Leading, "begin", late)
        assert self.sees("longer than its last write that was carried out allows")

    def test_taken_before_expiry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        changed = _following.Following.changed

        def impatient(following: Any, record: Any, now: float) -> None:
            changed(following, dataclasses.replace(record, terms=dataclasses.replace(record.terms, duration=1)), now)

        monkeypatch.setattr(_following.Following, "changed", impatient)
        assert self.sees("before its lease had run out")
        assert self.sees("could still write")

    def test_a_write_that_was_not_carried_out_is_believed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_claims.Claims, "of", lambda claims, record: next(iter(claims._claims[::-1]), None))
        assert self.sees("longer than its last write that was carried out allows")

    def test_leading_beyond_valid_until(self, monkeypatch: pytest.MonkeyPatch) -> None:
        publish = _leading.Leading._confirm

        def generous(leading: Any, claim: Any, record: Any) -> None:
            publish(leading, claim, record)
            candidate: Candidate = leading._candidate
            if candidate.valid_until is not None:
                candidate.valid_until += candidate.config.lease_duration

        monkeypatch.setattr(_leading.Leading, "_confirm", generous)
        assert self.sees("could still write")

    def test_transitions_not_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def uncounted(holder: str, duration: int, acquired: str, renewed: str, transitions: int) -> Terms:
            return Terms(holder, duration, acquired, renewed, max(transitions - 1, 0))

        monkeypatch.setattr(_following, "Terms", uncounted)
        assert self.sees("acquired with leaseTransitions")

    def test_release_of_what_is_not_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begin = _releasing.Releasing.begin

        def grasping(releasing: Any, now: float) -> None:
            candidate: Candidate = releasing._candidate
            if candidate.lease is not None:
                candidate.claims.add(candidate.lease.terms, candidate.lease.uid, now)
            begin(releasing, now)

        monkeypatch.setattr(_releasing.Releasing, "begin", grasping)
        assert self.sees("released a Lease that")

    def test_nobody_leads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_elector.Elector, "watch_ended", lambda *_: [])
        monkeypatch.setattr(_following.Following, "changed", lambda *_: None)
        assert self.sees("no lasting leader")


def test_a_history_is_reproducible_and_can_be_told() -> None:
    told: list[str] = []
    first, second = simulate(7), simulate(7, tell=told.append)
    assert (first.fingerprint, first.steps, first.tally) == (second.fingerprint, second.steps, second.tally)
    assert simulate(8).fingerprint != first.fingerprint
    assert any("acquired" in line for line in told)


def test_the_command_names_failing_seeds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--verbose"]) == 0
    assert "PUT -> 200" in capsys.readouterr().out
    beyond = next(seed for seed in range(60) if simulate(seed, "skew").violations)
    assert main(["--seed", str(beyond), "--beyond", "skew"]) == 1
    assert "could still write" in capsys.readouterr().out
