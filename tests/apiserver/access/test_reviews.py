from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver.access import REVIEW_KINDS, Authenticator, Reviews, User
from tests.apiserver.access.support import FakeClock, rbac

BOB = User("bob", "bob-uid", ("devs", "system:authenticated"))
ADMIN = User("admin", groups=("system:masters", "system:authenticated"))


def reviews() -> Reviews:
    authorizer, _ = rbac()
    authenticator = Authenticator(tokens={"t": User("bob", "bob-uid", ("devs",))})
    return Reviews(authorizer, authenticator, clock=FakeClock())


def ask(kind: str, spec: dict[str, Any], user: User = ADMIN, namespace: str = "") -> dict[str, Any]:
    return reviews().handle_review(kind, {"spec": spec}, user, namespace=namespace)


PODS = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ns"}}


def test_may_i() -> None:
    assert ask("SelfSubjectAccessReview", PODS)["status"] == {"allowed": True}
    answer = ask("SelfSubjectAccessReview", PODS, BOB)
    assert answer["apiVersion"] == "authorization.k8s.io/v1"
    assert answer["status"] == {"allowed": False}
    assert answer["spec"] == PODS


def test_may_they() -> None:
    assert ask("SubjectAccessReview", {**PODS, "user": "bob"})["status"] == {"allowed": False}
    healthz = {"nonResourceAttributes": {"path": "/healthz", "verb": "get"}, "user": "bob"}
    assert ask("SubjectAccessReview", healthz)["status"] == {"allowed": False}
    assert ask("SubjectAccessReview", {**healthz, "groups": ["system:authenticated"]})["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" '
        'to Group "system:authenticated"',
    }


def test_locally() -> None:
    answer = ask("LocalSubjectAccessReview", {**PODS, "user": "bob"}, namespace="ns")
    assert answer["metadata"] == {"namespace": "ns"}
    assert answer["status"] == {"allowed": False}


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        (
            "SelfSubjectAccessReview",
            {},
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes "
            "must be specified",
        ),
        (
            "SelfSubjectAccessReview",
            {**PODS, "nonResourceAttributes": {"path": "/healthz", "verb": "get"}},
            'spec.nonResourceAttributes: Invalid value: {"Path":"/healthz","Verb":"get"}: cannot be specified in '
            "combination with resourceAttributes",
        ),
        ("SubjectAccessReview", PODS, 'spec.user: Invalid value: "": at least one of user or group must be specified'),
        (
            "LocalSubjectAccessReview",
            {**PODS, "user": "bob"},
            'spec.resourceAttributes.namespace: Invalid value: "ns": must match metadata.namespace',
        ),
    ],
)
def test_questions_that_make_no_sense(kind: str, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        ask(kind, spec, namespace="other")
    assert caught.value.code == 422
    assert str(caught.value) == f'.authorization.k8s.io "" is invalid: {message}'


def test_which_rules_have_i() -> None:
    status = ask("SelfSubjectRulesReview", {"namespace": "default"}, BOB)["status"]
    assert status["incomplete"] is False
    assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]} in status[
        "resourceRules"
    ]
    assert all(rule["verbs"] == ["get"] for rule in status["nonResourceRules"])
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    assert everything in ask("SelfSubjectRulesReview", {"namespace": "default"})["status"]["resourceRules"]
    with pytest.raises(StatusError, match="no namespace on request"):
        ask("SelfSubjectRulesReview", {})


def test_who_am_i() -> None:
    answer = ask("SelfSubjectReview", {}, BOB)
    assert answer["metadata"] == {"creationTimestamp": "2026-11-21T11:36:54Z"}
    assert answer["status"] == {
        "userInfo": {"username": "bob", "uid": "bob-uid", "groups": ["devs", "system:authenticated"]}
    }


def test_whose_token() -> None:
    status = ask("TokenReview", {"token": "t"})["status"]
    assert status["authenticated"] is True
    assert status["user"] == {"username": "bob", "uid": "bob-uid", "groups": ["devs", "system:authenticated"]}
    assert ask("TokenReview", {"token": "nope"})["status"] == {"user": {}, "error": "invalid bearer token"}
    with pytest.raises(StatusError, match="token is required"):
        ask("TokenReview", {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["verb", "resource", "a"]), inner),
    max_leaves=5,
)
FIELDS = [
    "user",
    "groups",
    "extra",
    "uid",
    "resourceAttributes",
    "nonResourceAttributes",
    "token",
    "namespace",
    "audiences",
]


@given(st.sampled_from(sorted(REVIEW_KINDS)), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_input_is_answered_or_refused(kind: str, spec: dict[str, Any]) -> None:
    try:
        ask(kind, spec, BOB)
    except StatusError as error:
        assert error.code in (400, 422)  # noqa: PT017  # the other outcome is an answer
