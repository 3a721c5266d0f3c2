"""Evictions: what kube-apiserver 1.36 answers to the same requests, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.requests import PODS, Asker, pod

BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
DONE = {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 201}
MERGE = {"content-type": "application/merge-patch+json"}
FREE = {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "observedGeneration": 1}
SPENT = {**FREE, "disruptionsAllowed": 0, "currentHealthy": 1}
NOW = "2027-01-15T08:00:00Z"
EXHAUSTED = {
    "type": "DisruptionAllowed",
    "status": "False",
    "reason": "InsufficientPods",
    "message": "",
    "observedGeneration": 1,
    "lastTransitionTime": NOW,
}


class Evicter(Asker):
    """A server with the pod ``p``, and budgets whose status is set by hand, as their controller would."""

    def pod(
        self, name: str = "p", *, phase: str = "Running", ready: bool = True, node: str = "n", **labels: str
    ) -> Any:
        made = pod(name, **({"nodeName": node} if node else {}))
        made["metadata"]["labels"] = labels or {"app": "x"}
        self("POST", PODS, made, status=201)
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"status": {"phase": phase, "conditions": conditions}}
        return self("PATCH", f"{PODS}/{name}/status", status, headers=MERGE, status=200)

    def budget(self, status: dict[str, Any] | None, name: str = "b", **spec: Any) -> None:
        wanted = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}, **spec}
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": wanted}
        self("POST", BUDGETS, budget, status=201)
        if status is not None:
            self("PATCH", f"{BUDGETS}/{name}/status", {"status": status}, headers=MERGE, status=200)

    def evict(self, name: str = "p", *, query: Any = (), **fields: Any) -> Any:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **fields}
        return self("POST", f"{PODS}/{name}/eviction", body, query=query)

    def read(self, name: str = "p") -> Any:
        return self("GET", f"{PODS}/{name}")

    def status(self, name: str = "b") -> Any:
        return self("GET", f"{BUDGETS}/{name}")["status"]


def is_going(found: Any) -> bool:
    return found.get("reason") == "NotFound" or "deletionTimestamp" in found["metadata"]


def refused(detail: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "reason": "TooManyRequests",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": detail}]},
        "code": 429,
    }


@pytest.fixture
def server() -> Evicter:
    return Evicter()


def test_without_a_budget_a_pod_is_deleted_and_told_why(server: Evicter) -> None:
    server.pod()
    assert server.evict() == DONE
    found = server.read()
    assert (found["metadata"]["deletionGracePeriodSeconds"], found["metadata"]["generation"]) == (30, 2)
    (told,) = [entry for entry in found["status"]["conditions"] if entry["type"] == "DisruptionTarget"]
    told.pop("lastProbeTime", None)
    assert told == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": NOW,
    }
    server.clock.now += 5
    assert server.evict() == DONE
    assert server.read() == found


def test_a_pod_without_a_node_goes_at_once(server: Evicter) -> None:
    server("POST", PODS, pod(), status=201)
    assert server.evict() == DONE
    assert server.read()["reason"] == "NotFound"


def test_a_budget_is_spent_once(server: Evicter) -> None:
    server.pod()
    server.pod("q")
    server.budget(FREE)
    assert server.evict(deleteOptions={"gracePeriodSeconds": 5}) == DONE
    assert server.read()["metadata"]["deletionGracePeriodSeconds"] == 5
    spent = {**FREE, "disruptionsAllowed": 0, "disruptedPods": {"p": NOW}, "conditions": [EXHAUSTED]}
    assert server.status() == spent
    # The budget's controller has not looked again: it counts two healthy pods still.
    assert server.evict("q") == refused("The disruption budget b does not allow evicting pods currently")
    assert not is_going(server.read("q"))


def test_a_condition_moves_when_it_changes(server: Evicter) -> None:
    server.pod()
    server.pod("q")
    before = {**EXHAUSTED, "status": "True", "reason": "SufficientPods", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    server.budget({**FREE, "disruptionsAllowed": 2, "currentHealthy": 3, "conditions": [before]})
    assert server.evict() == DONE
    assert server.status()["conditions"] == [before]
    assert server.evict("q") == DONE
    assert server.status()["conditions"] == [EXHAUSTED]
    assert sorted(server.status()["disruptedPods"]) == ["p", "q"]


def denial(reason: str) -> dict[str, Any]:
    return {**EXHAUSTED, "reason": reason, "message": "because"}


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (SPENT, "The disruption budget b needs 1 healthy pods and has 1 currently"),
        ({**SPENT, "currentHealthy": 3}, "The disruption budget b does not allow evicting pods currently"),
        (
            {**SPENT, "currentHealthy": 3, "conditions": [denial("Why")]},
            "The disruption budget b does not allow evicting pods currently (Why): because",
        ),
        (
            {**SPENT, "conditions": [denial("SyncFailed")]},
            "The disruption budget b does not allow evicting pods currently because it failed sync: because",
        ),
    ],
)
def test_a_budget_says_why_not(server: Evicter, status: dict[str, Any], detail: str) -> None:
    server.pod()
    server.budget(status)
    assert server.evict() == refused(detail)
    assert server.status() == status
    assert not is_going(server.read())


def test_a_budget_that_nobody_has_looked_at_says_when_to_come_back(server: Evicter) -> None:
    server.pod()
    server.budget(None)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    answer = server.raw("POST", f"{PODS}/p/eviction", body)
    assert (answer.status, answer.headers["retry-after"]) == (429, "10")
    expected = refused("The disruption budget b is still being processed by the server.")
    expected["details"]["retryAfterSeconds"] = 10
    assert server.evict() == expected


@pytest.mark.parametrize(
    ("policy", "status", "code"),
    [
        ({}, SPENT, 201),
        ({}, {**SPENT, "currentHealthy": 0}, 429),
        ({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}, {**SPENT, "currentHealthy": 0}, 429),
        ({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}, {**SPENT, "desiredHealthy": 0}, 429),
        ({"unhealthyPodEvictionPolicy": "AlwaysAllow"}, {**SPENT, "currentHealthy": 0}, 201),
    ],
)
def test_a_pod_that_is_not_ready(server: Evicter, policy: dict[str, str], status: dict[str, Any], code: int) -> None:
    server.pod(ready=False)
    server.budget(status, **policy)
    assert server.evict()["code"] == code
    assert server.status() == status  # it was never counted: nothing is spent
    assert is_going(server.read()) is (code == 201)


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_a_pod_that_serves_nobody_asks_no_budget(server: Evicter, phase: str) -> None:
    server.pod(phase=phase)
    server.budget(SPENT)
    assert server.evict() == DONE
    assert is_going(server.read())


def test_two_budgets_are_too_many(server: Evicter) -> None:
    server.pod()
    server.budget(FREE)
    server.budget(FREE, "c", selector={})
    assert server.evict() == {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        "code": 500,
    }
    assert not is_going(server.read())


@pytest.mark.parametrize(
    "how",
    [
        {"query": {"dryRun": "All"}},
        {"deleteOptions": {"dryRun": ["All"]}},
        {"query": {"dryRun": "All"}, "deleteOptions": {"dryRun": ["All"]}},
    ],
)
def test_a_dry_run_changes_nothing(server: Evicter, how: dict[str, Any]) -> None:
    before = server.pod()
    server.budget(FREE)
    assert server.evict(**how) == DONE
    assert server.read() == before
    assert server.status() == FREE


def test_a_dry_run_is_refused_as_the_deed_would_be(server: Evicter) -> None:
    server.pod()
    server.budget(SPENT)
    assert server.evict(query={"dryRun": "All"})["code"] == 429


@pytest.mark.parametrize(
    ("preconditions", "message"),
    [
        (
            {"uid": "another"},
            "the UID in the precondition (another) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated",
        ),
        (
            {"resourceVersion": "1"},
            "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({version}). "
            "The object might have been modified",
        ),
    ],
)
def test_a_precondition_that_fails_keeps_the_pod(server: Evicter, preconditions: Any, message: str) -> None:
    made = server.pod()["metadata"]
    server.budget(FREE)
    answer = server.evict(deleteOptions={"preconditions": preconditions})
    detail = message.format(uid=made["uid"], version=made["resourceVersion"])
    assert (answer["code"], answer["reason"]) == (409, "Conflict")
    assert answer["message"] == f'Operation cannot be fulfilled on Pod "p": {detail}'
    assert "deletionTimestamp" not in server.read()["metadata"]
    # Spent all the same: the real server asks the budget first, too, and its controller gives the disruption back.
    assert server.status()["disruptionsAllowed"] == 0


def test_preconditions_that_hold(server: Evicter) -> None:
    made = server.pod()["metadata"]
    wanted = {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}
    assert server.evict(deleteOptions={"preconditions": wanted}) == DONE


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"metadata": {"name": "other"}}, "name in URL does not match name in Eviction object"),
        ({"metadata": {}}, "name in URL does not match name in Eviction object"),
        (
            {"metadata": {"name": "p", "namespace": "kube-system"}},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {"apiVersion": "v1"},
            'Eviction in version "v1" cannot be handled as a Eviction: no kind "Eviction" is registered for version "v1" '
            'in scheme "pkg/runtime/scheme.go:111"',
        ),
        (
            {"kind": "Evict"},
            'Evict in version "v1" cannot be handled as a Eviction: no kind "Evict" is registered for version '
            '"policy/v1" in scheme "pkg/runtime/scheme.go:111"',
        ),
        (
            {"apiVersion": "v1", "kind": "Pod"},
            'Pod in version "v1" cannot be handled as a Eviction: converting (v1.Pod) to (policy.Eviction): unknown '
            "conversion",
        ),
        (
            {"deleteOptions": "x"},
            'Eviction in version "v1" cannot be handled as a Eviction: json: cannot unmarshal string into Go struct field '
            "Eviction.deleteOptions of type v1.DeleteOptions",
        ),
        (
            {"deleteOptions": {"gracePeriodSeconds": "x"}},
            'Eviction in version "v1" cannot be handled as a Eviction: json: cannot unmarshal string into Go struct field '
            "DeleteOptions.deleteOptions.gracePeriodSeconds of type int64",
        ),
    ],
)
def test_a_body_that_is_no_eviction_of_this_pod(server: Evicter, body: dict[str, Any], message: str) -> None:
    server.pod()
    answer = server.evict(**body)
    assert (answer["code"], answer["reason"], answer["message"]) == (400, "BadRequest", message)
    assert not is_going(server.read())


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        (
            {"query": {"dryRun": "Some"}},
            422,
            'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
        ),
        (
            {"deleteOptions": {"dryRun": ["Some"]}},
            422,
            'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"',
        ),
        (
            {"query": {"dryRun": "All"}, "deleteOptions": {"dryRun": ["Some"]}},
            500,
            "Non-matching dry-run options in request and content: [All] and [Some]",
        ),
        (
            {"deleteOptions": {"ignoreStoreReadErrorWithClusterBreakingPotential": True}},
            422,
            'Eviction.policy "p" is invalid: deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential: Invalid '
            "value: true: can not be set for pod eviction, try after removing the option",
        ),
        (
            {"query": {"fieldValidation": "Strict"}, "foo": 1},
            400,
            'Eviction in version "v1" cannot be handled as a Eviction: strict decoding error: unknown field "foo"',
        ),
    ],
)
def test_options_that_make_no_sense(server: Evicter, how: dict[str, Any], code: int, message: str) -> None:
    server.pod()
    answer = server.evict(**how)
    assert (answer["code"], answer["message"]) == (code, message)
    assert not is_going(server.read())


def test_the_older_version_and_a_body_without_a_type_are_taken(server: Evicter) -> None:
    server.pod()
    server.pod("q")
    assert server.evict(apiVersion="policy/v1beta1") == DONE
    assert server("POST", f"{PODS}/q/eviction", {"metadata": {"name": "q"}}) == DONE


@pytest.mark.parametrize("body", [b"", b"{", b"[]"])
def test_a_body_that_is_no_object(server: Evicter, body: bytes) -> None:
    server.pod()
    answer = server("POST", f"{PODS}/p/eviction", body, status=400)
    assert answer["message"].startswith("the object provided is unrecognized (must be of type Eviction): ")


def test_what_is_not_there_and_what_is_not_allowed(server: Evicter) -> None:
    assert server.evict("none")["message"] == 'pods "none" not found'
    server.pod()
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        server(method, f"{PODS}/p/eviction", {}, status=405)


def test_a_budgets_counts_are_not_negative(server: Evicter) -> None:
    server.budget(FREE)
    negative = {"status": {"disruptionsAllowed": -1}}
    answer = server("PATCH", f"{BUDGETS}/b/status", negative, headers=MERGE, status=422)
    assert answer["message"] == (
        'PodDisruptionBudget.policy "b" is invalid: status.disruptionsAllowed: Invalid value: -1: must be greater than or '
        "equal to 0"
    )
