"""The plan of a run: every fault, in an order that the seed gives."""

from __future__ import annotations

from collections import Counter

from chaos._faults import FAULTS
from chaos._run import Plan


def counts(plan: Plan, server: str) -> Counter[str]:
    return Counter(fault.name for fault in plan.order(server, can_restart=True))


def test_the_seed_decides_the_order() -> None:
    first, again, other = (Plan(seed=seed).order("embedded", can_restart=True) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert Counter(first) == Counter(other)


def test_every_fault_is_in_a_run_on_the_embedded_server() -> None:
    found = counts(Plan(), "embedded")
    assert set(found) == {fault.name for fault in FAULTS}
    assert found["sigstop"] == 40


def test_the_real_server_gets_a_shorter_part() -> None:
    found = counts(Plan(), "real")
    assert found["sigstop"] == 10
    assert {"partition", "half-open", "server-restarted"} <= set(found)
    # A real one can't be told to answer with errors.
    assert not {"server-errors", "throttled", "history-gone"} & set(found)
    assert "server-restarted" not in {fault.name for fault in Plan().order("real", can_restart=False)}


def test_only_and_times_choose() -> None:
    assert counts(Plan(only=("sigkill", "sigterm"), times=2), "embedded") == {"sigkill": 2, "sigterm": 2}
    assert max(counts(Plan(times=1), "embedded").values()) == 1
    assert "throttled" not in counts(Plan(times=1), "real")


def test_what_dead_watches_lead_to_comes_before_the_end() -> None:
    for seed in range(20):
        order = [fault.name for fault in Plan(seed=seed).order("embedded", can_restart=True)]
        assert order.index("watches-dead") < len(order) / 2
