from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver.access import Attributes, User, impersonated_user
from tests.apiserver.access.support import cluster_binding, cluster_role, rbac, rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOB = User("bob", groups=("system:authenticated",))
ADMIN = User("admin", groups=("system:masters",))
LIST_PODS = Attributes("list", resource="pods")


def act(user: User, headers: Mapping[str, str | Sequence[str]], *objects: dict[str, object]) -> User | None:
    authorizer, _ = rbac(*objects)
    return impersonated_user(authorizer, user, headers, LIST_PODS)


def test_no_header_no_impersonation() -> None:
    assert act(ADMIN, {"accept": "*/*"}) is None


def test_masters_may_be_anybody() -> None:
    headers: dict[str, str | Sequence[str]] = {
        "impersonate-user": "alice",
        "impersonate-group": ["g1", "g2"],
        "impersonate-uid": "7",
        "impersonate-extra-scopes%2fx": ["view", "edit"],
    }
    assert act(ADMIN, headers) == User(
        "alice", "7", ("g1", "g2", "system:authenticated"), {"scopes/x": ("view", "edit")}
    )


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (
            "system:serviceaccount:ns:sa",
            ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
        ),
        ("system:anonymous", ("system:unauthenticated",)),
        ("system:node:n1", ("system:nodes", "system:authenticated")),
        ("alice", ("system:authenticated",)),
    ],
)
def test_groups_follow_from_the_name(name: str, groups: tuple[str, ...]) -> None:
    assert act(ADMIN, {"impersonate-user": name}) == User(name, groups=groups)


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("alice", "impersonate-on:user-info:list"),
        ("system:serviceaccount:ns:sa", "impersonate-on:serviceaccount:list"),
    ],
)
def test_others_may_not(name: str, verb: str) -> None:
    with pytest.raises(StatusError) as caught:
        act(BOB, {"impersonate-user": name})
    assert caught.value.code == 403
    assert str(caught.value) == (
        f'pods is forbidden: User "bob" cannot {verb} resource "pods" in API group "" at the cluster scope'
    )


def test_the_verb_impersonate_allows_what_it_names() -> None:
    allowed = (
        cluster_role("i", rule("impersonate", "users", names="alice"), rule("impersonate", "groups", names="g1")),
        cluster_binding("i", "i", "User:bob"),
    )
    assert act(BOB, {"impersonate-user": "alice", "impersonate-group": "g1"}, *allowed) is not None
    for headers in (
        {"impersonate-user": "eve"},
        {"impersonate-user": "alice", "impersonate-group": "system:masters"},
        {"impersonate-user": "alice", "impersonate-uid": "1"},
        {"impersonate-user": "alice", "impersonate-extra-a": "b"},
    ):
        with pytest.raises(StatusError):
            act(BOB, headers, *allowed)


def test_constrained_impersonation_needs_both_permissions() -> None:
    on = rule("impersonate-on:user-info:list", "pods")
    who = rule("impersonate:user-info", "users", "authentication.k8s.io", names="alice")
    binding = cluster_binding("i", "i", "User:bob")
    assert act(BOB, {"impersonate-user": "alice"}, cluster_role("i", on, who), binding) is not None
    for half in (on, who):
        with pytest.raises(StatusError):
            act(BOB, {"impersonate-user": "alice"}, cluster_role("i", half), binding)


def test_a_group_without_a_user_is_a_bad_request() -> None:
    with pytest.raises(StatusError) as caught:
        act(ADMIN, {"impersonate-group": "alice"})
    assert caught.value.code == 400
    assert str(caught.value) == (
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"alice"}, Extra:map[string][]string(nil)} '
        "without impersonating a user name"
    )
