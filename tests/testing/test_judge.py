from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.objects import format_micro_time
from pyoperator.testing._audit_lines import read_audit
from pyoperator.testing._judge import Child, ProcessStart, Verdict, judge

if TYPE_CHECKING:
    from pathlib import Path

START = 1_795_261_000.0
A, B = ProcessStart("user-a", "replica a"), ProcessStart("user-b", "replica b")


class Log:
    """An audit log written by hand; times are seconds from the start."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.version = 0
        self.transitions = 0

    def write(
        self,
        user: str,
        at: float,
        *,
        verb: str = "update",
        resource: str = "configmaps",
        group: str = "",
        name: str = "c",
        code: int = 200,
        lasting: float = 0.001,
        **fields: Any,
    ) -> None:
        self.events.append(
            {
                "kind": "Event",
                "stage": "ResponseComplete",
                "verb": verb,
                "user": {"username": user},
                "requestURI": fields.pop("uri", "/x"),
                "objectRef": {"resource": resource, "apiGroup": group, "namespace": "ns", "name": name},
                "responseStatus": {"code": code},
                "requestReceivedTimestamp": format_micro_time(START + at),
                "stageTimestamp": format_micro_time(START + at + lasting),
                **fields,
            }
        )

    def lease(self, user: str, at: float, holder: str, *, duration: int = 15, name: str = "lock", **more: Any) -> None:
        self.version += 1
        spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": self.transitions}
        stored = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}
        self.write(user, at, resource="leases", group="coordination.k8s.io", name=name, responseObject=stored, **more)

    def judge(self, *processes: ProcessStart, **fields: Any) -> Verdict:
        return judge(self.events, lease_namespace="ns", lease_name="lock", processes=processes or (A, B), **fields)


def test_a_clean_hand_over() -> None:
    log = Log()
    log.lease("user-a", 0, "a", verb="create")
    log.write("user-a", 1)
    log.lease("user-a", 2, "")
    log.transitions = 1
    log.lease("user-b", 2.020, "b")
    log.write("user-b", 2.050)
    terminated = ProcessStart("user-a", "replica a", terminated_at=START + 1.9)
    verdict = log.judge(terminated, B)
    assert verdict.clean
    assert verdict.foreign_writes == ()
    assert verdict.leaders == ("replica a", "replica b")
    assert verdict.summary() == {
        "crash_takeover_s": None,
        "gap_ms": [20.0],
        "graceful_handover_ms": 121.0,
        "rolling_handover_max_ms": None,
        "expected": 0,
        "reconciled": 0,
        "duplicates": 0,
        "writes_by_non_leader": 0,
        "lease_transitions": 1,
    }
    assert [round(value) for value in verdict.first_write_ms] == [50]


def test_a_crash_is_measured_from_the_kill() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.lease("user-b", 15.05, "b")
    verdict = log.judge(ProcessStart("user-a", "a", killed_at=START + 1), B)
    assert verdict.crash_takeover_s == pytest.approx(14.051, abs=1e-5)
    assert verdict.gap_ms == ()


def test_only_the_leaders_end_counts_as_hand_over() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.lease("user-a", 2, "")
    log.lease("user-b", 2.1, "b")
    follower = ProcessStart("user-b", "b", terminated_at=START + 1, killed_at=START + 1)
    verdict = log.judge(A, follower)
    assert verdict.sigterm_ms == {}
    assert verdict.crash_takeover_s is None


def test_rolling_hand_overs_are_told_apart() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.lease("user-a", 2, "")
    log.lease("user-b", 2.1, "b")
    log.lease("user-b", 4, "")
    log.lease("user-a2", 4.5, "a2")
    verdict = log.judge(
        ProcessStart("user-a", "a", terminated_at=START + 1.9),
        ProcessStart("user-b", "b", terminated_at=START + 3.9, rolling=True),
        ProcessStart("user-a2", "a2"),
    )
    assert verdict.graceful_handover_ms == pytest.approx(201, abs=0.01)
    assert verdict.rolling_handover_max_ms == pytest.approx(601, abs=0.01)
    assert [round(gap) for gap in verdict.gap_ms] == [100, 500]


def foreign(log: Log, **fields: Any) -> list[str]:
    verdict = log.judge(**fields)
    assert verdict.writes_by_non_leader == len(verdict.foreign_writes)
    assert verdict.clean is not bool(verdict.foreign_writes)
    return [found.why for found in verdict.foreign_writes]


def test_a_write_after_another_took_over_is_foreign() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.lease("user-b", 5, "b")
    log.write("user-a", 5.01)
    assert foreign(log) == ["deposed"]


def test_a_write_after_the_release_is_foreign() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.lease("user-a", 5, "")
    log.write("user-a", 5.01)
    assert foreign(log) == ["released"]


def test_a_write_after_the_lease_ran_out_is_foreign_even_without_a_successor() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.write("user-a", 14.9)
    log.write("user-a", 15.1)
    assert foreign(log) == ["expired"]


def test_a_write_of_a_process_that_never_led_is_foreign() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.write("user-b", 1)
    assert foreign(log) == ["never led"]


def test_a_write_before_the_acquisition_is_foreign() -> None:
    log = Log()
    log.write("user-a", 0)
    log.lease("user-a", 1, "a")
    assert foreign(log) == ["never led"]


def test_a_leader_that_returns_may_write_again() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.lease("user-b", 5, "b")
    log.lease("user-a", 30, "a")
    log.write("user-a", 31)
    assert foreign(log) == []


def test_overlaps_in_flight_are_listed_apart() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.write("user-a", 4.9995, lasting=0.01)
    log.lease("user-b", 5, "b")
    verdict = log.judge()
    assert verdict.writes_by_non_leader == 0
    assert [found.label for found in verdict.overlaps] == ["replica a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"resource": "events"},
        {"resource": "events", "group": "events.k8s.io"},
        {"resource": "subjectaccessreviews", "group": "authorization.k8s.io", "verb": "create"},
        {"resource": "leases", "group": "coordination.k8s.io", "name": "other", "responseObject": {}},
        {"uri": "/api/v1/namespaces/ns/configmaps?dryRun=All"},
        {"verb": "get"},
        {"code": 409},
        {"code": 403},
        {"stage": "ResponseStarted"},
    ],
)
def test_what_a_standby_may_do(fields: dict[str, Any]) -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.write("user-b", 1, **fields)
    assert foreign(log) == []


def test_other_users_are_not_judged() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.write("admin", 1)
    assert foreign(log) == []


def test_the_order_of_lines_does_not_matter() -> None:
    log = Log()
    log.lease("user-a", 0, "a")
    log.write("user-a", 1)
    log.lease("user-b", 5, "b")
    log.write("user-a", 5.01)
    log.events.reverse()
    assert foreign(log) == ["deposed"]


def test_lease_writes_without_bodies_cannot_be_judged() -> None:
    log = Log()
    log.write("user-a", 0, resource="leases", group="coordination.k8s.io", name="lock")
    with pytest.raises(ValueError, match="RequestResponse"):
        log.judge()


def custom(name: str, *, observed: int = 2, ready: str = "True", **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Postgres",
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "generation": 2, **metadata},
        "status": {"observedGeneration": observed, "conditions": [{"type": "Ready", "status": ready}]},
    }


def test_what_is_not_reconciled_is_lost() -> None:
    verdict = Log().judge(
        objects=[
            custom("good"),
            custom("old", observed=1),
            custom("unready", ready="False"),
            custom("leaving", observed=1, deletionTimestamp="2026-01-01T00:00:00Z"),
            {"metadata": {"name": "new", "uid": "u", "generation": 1}},
        ]
    )
    assert (verdict.expected, verdict.reconciled) == (4, 1)
    assert len(verdict.not_reconciled) == 3
    assert not verdict.clean


def child_of(resource: str, namespace: str, name: str) -> Child | None:
    owner = name.split("-", maxsplit=1)[0] if name else "p"
    return Child(f"postgres/{namespace}/{owner}", resource) if resource in ("secrets", "configmaps") else None


def duplicates(log: Log, **fields: Any) -> int:
    verdict = log.judge(child_of=child_of, role_of=lambda child: str(child["kind"]), **fields)
    assert verdict.duplicates == len(verdict.duplicate_children)
    assert verdict.clean is (not verdict.duplicates)
    return verdict.duplicates


def created(log: Log, *times: float, name: str = "p-x", resource: str = "secrets") -> None:
    for at in times:
        log.write("user-a", at, verb="create", resource=resource, name=name, code=201)


def leading() -> Log:
    log = Log()
    log.lease("user-a", 0, "a")
    return log


def test_one_child_per_role_is_none_too_many() -> None:
    log = leading()
    created(log, 1)
    created(log, 1, resource="configmaps")
    created(log, 1, name="q-x")
    assert duplicates(log) == 0


def test_a_second_creation_in_one_role_is_a_duplicate() -> None:
    log = leading()
    created(log, 1)
    created(log, 2, name="p-y")
    assert duplicates(log) == 1


def test_nameless_creations_count_too() -> None:
    log = leading()
    created(log, 1, 2, 3, name="")
    assert duplicates(log) == 2


def test_a_repair_of_what_somebody_else_deleted_is_none() -> None:
    log = leading()
    created(log, 1, 3)
    log.write("admin", 2, verb="delete", resource="secrets", name="p-x")
    assert duplicates(log) == 0


def test_a_creation_after_ones_own_delete_is_one() -> None:
    log = leading()
    created(log, 1, 3)
    log.write("user-a", 2, verb="delete", resource="secrets", name="p-x")
    assert duplicates(log) == 1


def test_a_new_owner_of_the_same_name_may_have_children_again() -> None:
    log = leading()
    created(log, 1, 3)
    log.write("admin", 2, verb="delete", resource="postgres", group="database.example.com", name="p")
    assert duplicates(log) == 0


def test_children_made_while_their_owner_was_being_deleted_are_not_its_successors() -> None:
    log = leading()
    log.write("admin", 1, verb="delete", resource="postgres", group="database.example.com", name="p")
    created(log, 2)
    log.write("admin", 3, verb="create", resource="postgres", group="database.example.com", name="p", code=201)
    created(log, 4)
    assert duplicates(log) == 0
    created(log, 5)
    assert duplicates(log) == 1


def test_a_collection_deleted_by_somebody_else() -> None:
    log = leading()
    created(log, 1, 3)
    log.write("admin", 2, verb="deletecollection", resource="secrets", name="")
    assert duplicates(log) == 0


def child(name: str, *owners: str, kind: str = "Secret", **metadata: Any) -> dict[str, Any]:
    references = [{"uid": owner} for owner in owners]
    return {"kind": kind, "metadata": {"name": name, "namespace": "ns", "ownerReferences": references, **metadata}}


def test_living_children_are_counted() -> None:
    owner = custom("p")
    assert (
        duplicates(leading(), objects=[owner], children=[child("a", "uid-p"), child("b", "uid-p", kind="Service")]) == 0
    )
    assert duplicates(leading(), objects=[owner], children=[child("a", "uid-p"), child("b", "uid-p")]) == 1
    assert duplicates(leading(), objects=[owner], children=[child("a", "uid-gone")]) == 1
    assert duplicates(leading(), objects=[owner], children=[child("a")]) == 1
    going = child("a", deletionTimestamp="2026-01-01T00:00:00Z")
    assert duplicates(leading(), objects=[owner], children=[going]) == 0


def test_retained_children_are_no_orphans() -> None:
    assert duplicates(leading(), children=[child("a")], retained=lambda child: True) == 0


def test_one_duplicate_seen_twice_counts_once() -> None:
    log = leading()
    created(log, 1)
    created(log, 2, name="p-y")
    assert duplicates(log, objects=[custom("p")], children=[child("p-x", "uid-p"), child("p-y", "uid-p")]) == 1


def test_files_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_text(json.dumps({"a": 1}) + "\n" + '{"half')
    second.write_text(json.dumps({"b": 2}) + "\n")
    assert list(read_audit(first, second)) == [{"a": 1}, {"b": 2}]
