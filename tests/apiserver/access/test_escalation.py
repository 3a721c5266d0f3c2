from __future__ import annotations

from typing import Any

import pytest

from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver.access import User, check_escalation
from tests.apiserver.access.support import RBAC, binding, cluster_binding, cluster_role, rbac, role, rule

BOB = User("bob", groups=("devs", "ops", "system:authenticated"))
HOLDER = (cluster_role("pod-get", rule("get", "pods")), cluster_binding("pod-get", "pod-get", "User:bob"))


def refused(authorizer: Any, obj: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    with pytest.raises(StatusError) as caught:
        check_escalation(authorizer, BOB, obj, old)
    return caught.value.body()


def test_what_one_has_can_be_given() -> None:
    authorizer, _ = rbac(*HOLDER)
    check_escalation(authorizer, BOB, role("default", "r1", rule("get", "pods")))
    check_escalation(authorizer, BOB, binding("default", "rb", "ClusterRole:pod-get", "User:alice"))


def test_what_one_lacks_cannot_and_is_listed() -> None:
    authorizer, _ = rbac(*HOLDER)
    made = role("default", "r2", rule("get list", "pods pods/log"), rule("*", "deployments", "apps", names="a b"))
    body = refused(authorizer, made)
    assert body["code"] == 403
    assert body["message"] == (
        'roles.rbac.authorization.k8s.io "r2" is forbidden: user "bob" (groups=["devs" "ops" "system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["pods/log"], Verbs:["get" "list"]}\n'
        '{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["a"], Verbs:["*"]}\n'
        '{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["b"], Verbs:["*"]}'
    )


def test_paths_cannot_be_given_either() -> None:
    authorizer, _ = rbac(*HOLDER)
    body = refused(authorizer, cluster_role("r3", rule("get post", urls="/metrics /healthz")))
    assert body["message"].splitlines()[1:] == [
        '{NonResourceURLs:["/healthz"], Verbs:["post"]}',
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}',
        '{NonResourceURLs:["/metrics"], Verbs:["post"]}',
    ]


def test_aggregation_is_for_administrators() -> None:
    made = cluster_role("r", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    authorizer, table = rbac(*HOLDER)
    assert "must have cluster-admin privileges to use the aggregationRule" in refused(authorizer, made)["message"]
    table.add(cluster_binding("all", "cluster-admin", "User:bob"))
    check_escalation(authorizer, BOB, made)


def test_the_verbs_escalate_and_bind_are_ways_around() -> None:
    authorizer, _ = rbac(
        cluster_role("free", rule("escalate", "roles", RBAC), rule("bind", "clusterroles", RBAC, names="edit")),
        cluster_binding("free", "free", "User:bob"),
    )
    check_escalation(authorizer, BOB, role("default", "r", rule("*", "*", "*")))
    check_escalation(authorizer, BOB, binding("default", "rb", "ClusterRole:edit", "User:alice"))
    refused(authorizer, binding("default", "rb", "ClusterRole:view", "User:alice"))


def test_a_binding_to_an_unknown_role_is_not_found() -> None:
    authorizer, _ = rbac(*HOLDER)
    body = refused(authorizer, binding("default", "rb", "ClusterRole:nope", "User:alice"))
    assert body["message"] == 'rolebindings.rbac.authorization.k8s.io "nope" not found'


def test_an_update_that_grants_nothing_passes() -> None:
    authorizer, _ = rbac()
    old = role("default", "r", rule("*", "*", "*"))
    check_escalation(authorizer, BOB, {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}, old)
    refused(authorizer, role("default", "r", rule("*", "*", "*"), rule("get", "x")), old)


def test_masters_and_other_kinds_pass() -> None:
    authorizer, _ = rbac()
    check_escalation(authorizer, User("a", groups=("system:masters",)), role("default", "r", rule("*", "*", "*")))
    check_escalation(authorizer, BOB, {"kind": "ConfigMap", "metadata": {"name": "c"}})
