from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.apiserver.access import Attributes, User, default_roles, forbidden
from tests.apiserver.access.support import binding, cluster_binding, cluster_role, rbac, role, rule

BOB = User("bob", "bob-uid", ("devs", "ops", "system:authenticated"))


def get(resource: str, **fields: str) -> Attributes:
    return Attributes("get", resource=resource, **fields)


def test_nothing_is_allowed_without_a_binding() -> None:
    authorizer, _ = rbac()
    decision = authorizer.authorize(BOB, get("pods", namespace="ns"))
    assert not decision.allowed
    assert decision.reason == ""


def test_masters_bypass_rbac() -> None:
    authorizer, _ = rbac(defaults=False)
    decision = authorizer.authorize(User("admin", groups=("system:masters",)), get("pods"))
    assert decision.allowed
    assert decision.reason == ""


def test_a_cluster_role_binding_allows_everywhere_and_is_named() -> None:
    authorizer, _ = rbac(cluster_role("pod-get", rule("get", "pods")), cluster_binding("b", "pod-get", "User:bob"))
    for namespace in ("", "ns", "other"):
        decision = authorizer.authorize(BOB, get("pods", namespace=namespace))
        assert decision.allowed
        assert decision.reason == 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "pod-get" to User "bob"'
    assert not authorizer.authorize(BOB, Attributes("list", resource="pods")).allowed
    assert not authorizer.authorize(BOB, get("pods", group="apps")).allowed
    assert not authorizer.authorize(BOB, get("pods", subresource="status")).allowed


def test_a_role_binding_allows_only_in_its_namespace() -> None:
    authorizer, _ = rbac(role("ns", "r", rule("get", "pods")), binding("ns", "rb", "Role:r", "Group:devs"))
    decision = authorizer.authorize(BOB, get("pods", namespace="ns"))
    assert decision.allowed
    assert decision.reason == 'RBAC: allowed by RoleBinding "rb/ns" of Role "r" to Group "devs"'
    assert not authorizer.authorize(BOB, get("pods", namespace="other")).allowed
    assert not authorizer.authorize(BOB, get("pods")).allowed


def test_service_accounts_are_subjects() -> None:
    authorizer, _ = rbac(cluster_role("c", rule("get", "pods")), cluster_binding("b", "c", "ServiceAccount:ns/sa"))
    decision = authorizer.authorize(User("system:serviceaccount:ns:sa"), get("pods"))
    assert decision.reason == 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "c" to ServiceAccount "sa/ns"'


@pytest.mark.parametrize(
    ("made", "asked", "allowed"),
    [
        (rule("*", "*", "*"), get("pods", group="apps", subresource="x"), True),
        (rule("get", "*"), get("pods", subresource="log"), True),
        (rule("get", "*/status"), get("pods", subresource="status"), True),
        (rule("get", "*/status"), get("pods"), False),
        (rule("get", "pods/log"), get("pods", subresource="log"), True),
        (rule("get", "pods/log"), get("pods"), False),
        (rule("get", "pods", names="a b"), get("pods", name="b"), True),
        (rule("get", "pods", names="a b"), get("pods", name="c"), False),
        (rule("get", "pods", names="a"), get("pods"), False),
        (rule("get", urls="/metrics"), Attributes("get", path="/metrics"), True),
        (rule("get", urls="/api/*"), Attributes("get", path="/api/v1"), True),
        (rule("get", urls="/api/*"), Attributes("get", path="/apis"), False),
        (rule("get", urls="*"), Attributes("get", path="/anything"), True),
        (rule("get", urls="/metrics"), Attributes("post", path="/metrics"), False),
        (rule("get", "pods", "*"), Attributes("get", path="/pods"), False),
    ],
)
def test_rule_matching(made: dict[str, object], asked: Attributes, *, allowed: bool) -> None:
    authorizer, _ = rbac(cluster_role("c", made), cluster_binding("b", "c", "User:bob"), defaults=False)
    assert authorizer.authorize(BOB, asked).allowed is allowed


def test_a_missing_role_is_told() -> None:
    authorizer, _ = rbac(cluster_binding("b", "nope", "User:bob"), binding("ns", "rb", "Role:gone", "User:bob"))
    assert (
        authorizer.authorize(BOB, get("pods")).reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "nope" not found'
    )
    assert authorizer.authorize(BOB, get("pods", namespace="ns")).reason == (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "nope" not found, '
        'role.rbac.authorization.k8s.io "gone" not found]'
    )


def test_aggregated_roles_take_rules_by_label() -> None:
    label = "rbac.authorization.k8s.io/aggregate-to-view"
    authorizer, table = rbac(cluster_binding("b", "admin", "User:bob"))
    assert authorizer.authorize(BOB, Attributes("list", resource="pods")).allowed
    assert authorizer.authorize(BOB, Attributes("create", group="apps", resource="deployments")).allowed
    assert not authorizer.authorize(BOB, get("widgets", group="x.io")).allowed
    table.add(cluster_role("widgets", rule("get", "widgets", "x.io"), labels={label: "true"}))
    assert authorizer.authorize(BOB, get("widgets", group="x.io")).allowed


def test_the_stored_default_roles_are_already_aggregated() -> None:
    roles = {obj["metadata"]["name"]: obj for obj in default_roles() if obj["kind"] == "ClusterRole"}
    assert {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["namespaces"]} in roles["view"]["rules"]
    assert len(roles["admin"]["rules"]) > len(roles["edit"]["rules"]) > len(roles["view"]["rules"])
    view = {resource for item in roles["view"]["rules"] for resource in item["resources"]}
    assert "secrets" not in view


def test_the_index_is_built_once_per_revision() -> None:
    authorizer, table = rbac()
    authorizer.authorize(BOB, get("pods"))
    lists = table.lists
    for _ in range(10):
        authorizer.authorize(BOB, get("pods"))
    assert table.lists == lists
    table.add(cluster_role("c", rule("get", "pods")), cluster_binding("b", "c", "User:bob"))
    assert authorizer.authorize(BOB, get("pods")).allowed


def test_discovery_is_open_to_everybody_known() -> None:
    authorizer, _ = rbac()
    for path in ("/api", "/apis/apps/v1", "/openapi/v3", "/version"):
        assert authorizer.authorize(BOB, Attributes("get", path=path)).allowed
    anonymous = User("system:anonymous", groups=("system:unauthenticated",))
    assert authorizer.authorize(anonymous, Attributes("get", path="/healthz")).allowed
    assert not authorizer.authorize(anonymous, Attributes("get", path="/api")).allowed


@pytest.mark.parametrize(
    ("asked", "message", "details"),
    [
        (
            Attributes("get", "coordination.k8s.io", "leases", namespace="ns", name="x"),
            'leases.coordination.k8s.io "x" is forbidden: User "bob" cannot get resource "leases" in API group '
            '"coordination.k8s.io" in the namespace "ns"',
            {"name": "x", "group": "coordination.k8s.io", "kind": "leases"},
        ),
        (
            Attributes("list", resource="nodes"),
            'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
            {"kind": "nodes"},
        ),
        (
            Attributes("get", resource="pods", subresource="status", namespace="ns", name="x"),
            'pods "x" is forbidden: User "bob" cannot get resource "pods/status" in API group "" in the namespace "ns"',
            {"name": "x", "kind": "pods"},
        ),
        (Attributes("get", path="/metrics"), 'forbidden: User "bob" cannot get path "/metrics"', {}),
    ],
)
def test_refusals_are_worded_as_the_real_ones(asked: Attributes, message: str, details: object) -> None:
    error = forbidden(BOB, asked)
    assert error.code == 403
    assert error.body()["message"] == message
    assert error.body().get("details") == details


NAMES = st.sampled_from(["pods", "pods/log", "*", "*/log", "leases"])


@given(
    st.lists(NAMES, min_size=1, max_size=3),
    st.lists(st.sampled_from(["get", "list", "*"]), min_size=1, max_size=2),
    st.sampled_from(["pods", "leases", "nodes"]),
    st.sampled_from(["", "log"]),
    st.sampled_from(["get", "list", "update"]),
)
def test_who_is_allowed_covers_what_is_allowed(
    resources: list[str], verbs: list[str], resource: str, subresource: str, verb: str
) -> None:
    """Authorization and the escalation check read the same rule the same way."""
    from pyoperator.apiserver.access import PolicyRule

    made = PolicyRule(tuple(verbs), ("",), tuple(resources))
    full = f"{resource}/{subresource}" if subresource else resource
    assert made.allows_resource(verb, "", resource, subresource, "") == made.covers(PolicyRule((verb,), ("",), (full,)))
