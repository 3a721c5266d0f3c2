"""Rule 2: the fence."""

from __future__ import annotations

import threading

import pytest

from pyoperator.client import Gate, LeadershipLost
from pyoperator.leaderelection import ElectionConfig, Leadership
from pyoperator.leaderelection._renewals import ToldLeadership


class FixedClock:
    def __init__(self) -> None:
        self.now = 100.0

    def wall(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def leadership(clock: FixedClock) -> Leadership:
    return Leadership(ElectionConfig(name="op", namespace="default", identity="a"), clock)


def test_admits_with_the_seconds_left_and_refuses_in_the_margin(leadership: Leadership, clock: FixedClock) -> None:
    gate: Gate = leadership
    leadership.publish(110.0, 7)
    assert gate.admit("PUT", "/x") == 10.0
    assert leadership.is_leader
    assert leadership.token == 7
    clock.now = 109.0
    assert gate.admit("PUT", "/x") == 1.0
    leadership.check()
    clock.now = 109.001
    with pytest.raises(LeadershipLost, match=r"PUT /x was not sent.*manager\.unfenced_client\(reason=\.\.\.\)"):
        gate.admit("PUT", "/x")
    with pytest.raises(LeadershipLost, match=r"unfenced_client"):
        leadership.check()
    assert leadership.is_leader  # still, but nothing new may be sent
    clock.now = 110.0
    assert not leadership.is_leader
    assert leadership.statistics().refused_total == 1


def test_margin_shrinks_with_the_retry_period(clock: FixedClock) -> None:
    config = ElectionConfig(
        name="op", namespace="default", identity="a", lease_duration=2, renew_deadline=1.0, retry_period=0.2
    )
    leadership = Leadership(config, clock)
    leadership.publish(100.11, 1)
    assert leadership.admit("PUT", "/x") == pytest.approx(0.11)
    leadership.publish(100.09, 1)
    with pytest.raises(LeadershipLost):
        leadership.admit("PUT", "/x")


def test_closed_before_and_after_a_tenure_and_logged_once(
    leadership: Leadership, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with pytest.raises(LeadershipLost, match="does not hold the Lease default/op"):
            leadership.admit("POST", "/x")
    assert capsys.readouterr().out.count("write refused") == 1
    leadership.publish(200.0, 3)
    leadership.publish(None, 3)
    with pytest.raises(LeadershipLost):
        leadership.admit("POST", "/x")
    assert leadership.valid_until is None
    assert leadership.token == 3
    assert capsys.readouterr().out.count("write refused") == 1


def test_closed_for_good_whatever_a_renewal_says_until_the_elector_has_stepped_down(leadership: Leadership) -> None:
    leadership.publish(110.0, 7)
    leadership.close()
    leadership.publish(112.0, 7)  # a renewal that was under way, on the elector's thread
    assert not leadership.is_leader
    with pytest.raises(LeadershipLost):
        leadership.admit("PUT", "/x")
    leadership.publish(None, 7)
    leadership.publish(120.0, 8)
    assert leadership.is_leader
    assert leadership.token == 8


def test_closing_is_told_and_what_is_ignored_is_not(clock: FixedClock) -> None:
    told: list[float | None] = []
    leadership = ToldLeadership(ElectionConfig(name="op", namespace="default", identity="a"), clock, told.append)
    leadership.close()
    leadership.publish(110.0, 1)
    leadership.close()
    leadership.publish(112.0, 1)
    leadership.publish(None, 1)
    assert told == [110.0, None]


def test_refusals_are_counted_from_any_thread(leadership: Leadership) -> None:
    def refuse() -> None:
        for _ in range(200):
            with pytest.raises(LeadershipLost):
                leadership.admit("PUT", "/x")

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leadership.statistics().refused_total == 800
