from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver.access import (
    ANONYMOUS,
    Authenticator,
    CertificateSubject,
    Credential,
    ServiceAccountTokens,
    TokenFileError,
    User,
    parse_tokens,
)
from pyoperator.clock import Randomness
from tests.apiserver.access.support import FakeClock, ObjectTable

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT: dict[str, Any] = {"kind": "ServiceAccount", "metadata": {"namespace": "ns", "name": "sa", "uid": "u1"}}
POD: dict[str, Any] = {"kind": "Pod", "metadata": {"namespace": "ns", "name": "p", "uid": "pu"}}


def accounts(clock: FakeClock, *objects: dict[str, Any]) -> tuple[ServiceAccountTokens, ObjectTable]:
    table = ObjectTable(objects or (ACCOUNT, POD))
    return ServiceAccountTokens(b"k" * 32, getter=table.get, clock=clock, random=Randomness(1)), table


def test_no_credential_is_anonymous_unless_forbidden() -> None:
    assert Authenticator().authenticate(Credential()) is ANONYMOUS
    assert Authenticator(anonymous=None).authenticate(Credential()) is None


def test_a_wrong_token_is_never_anonymous() -> None:
    assert Authenticator().authenticate(Credential(bearer_token="nope")) is None
    assert Authenticator().authenticate(Credential(bearer_token="")) is None


def test_static_tokens_certificates_and_trust() -> None:
    authenticator = Authenticator(tokens={"t": User("bob", groups=("devs",))})
    assert authenticator.authenticate(Credential(bearer_token="t")) == User(
        "bob", groups=("devs", "system:authenticated")
    )
    assert authenticator.authenticate(Credential(certificate=CertificateSubject("eve", ("ops",)))) == User(
        "eve", groups=("ops", "system:authenticated")
    )
    assert authenticator.authenticate(Credential(user=User("sys"))) == User("sys", groups=("system:authenticated",))


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text("s3cret,bob,u\n")
    authenticator = Authenticator(tokens={"s3cret2": User("x")}, token_file=path, clock=FakeClock())
    assert repr(Credential(bearer_token="s3cret")) == "<redacted>"
    assert "s3cret" not in repr(authenticator)


def test_the_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens.csv", FakeClock()
    path.write_text('t1,bob,bob-uid,"devs,ops"\n')
    authenticator = Authenticator(token_file=path, clock=clock)
    assert authenticator.authenticate(Credential(bearer_token="t1")) == User(
        "bob", "bob-uid", ("devs", "ops", "system:authenticated")
    )
    with path.open("a") as file:
        file.write("t2,eve,eve-uid\n")
    found = authenticator.authenticate(Credential(bearer_token="t2"))
    assert found is not None
    assert found.name == "eve"
    path.write_text("t2,eve,eve-uid\n")
    clock.now += 1
    assert authenticator.authenticate(Credential(bearer_token="t1")) is None


def test_a_file_gone_wrong_keeps_the_last_good_tokens(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens.csv", FakeClock()
    path.write_text("t1,bob,u\n")
    authenticator = Authenticator(token_file=path, clock=clock)
    path.write_text("s3cret\n")
    clock.now += 1
    assert authenticator.authenticate(Credential(bearer_token="t1")) is not None
    assert "line 1" in authenticator.problem
    assert "s3cret" not in authenticator.problem
    os.remove(path)
    clock.now += 1
    assert authenticator.authenticate(Credential(bearer_token="t1")) is not None
    path.write_text("t3,bob,u\n")
    clock.now += 1
    assert authenticator.authenticate(Credential(bearer_token="t3")) is not None
    assert authenticator.problem == ""


def test_a_bad_token_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="cannot read"):
        Authenticator(token_file=tmp_path / "none", clock=FakeClock())
    path = tmp_path / "bad"
    path.write_text("only,two\n")
    with pytest.raises(TokenFileError, match="TOKEN,NAME,UID"):
        Authenticator(token_file=path, clock=FakeClock())


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        users = parse_tokens(text)
    except TokenFileError:
        return
    assert all(token and user.name for token, user in users.items())


def test_service_account_tokens_carry_who_and_how_long() -> None:
    clock = FakeClock()
    tokens, _ = accounts(clock)
    answer = tokens.issue("ns", "sa", {"spec": {}})
    assert answer["spec"] == {
        "audiences": ["https://kubernetes.default.svc"],
        "expirationSeconds": 3600,
        "boundObjectRef": None,
    }
    assert answer["status"]["expirationTimestamp"] == "2026-11-21T12:36:54Z"
    user = Authenticator(service_accounts=tokens).authenticate(Credential(bearer_token=answer["status"]["token"]))
    assert user is not None
    assert user.name == "system:serviceaccount:ns:sa"
    assert user.uid == "u1"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    clock.now += 3600
    assert tokens.verify(answer["status"]["token"]) is None


def test_a_token_dies_with_its_account_or_pod() -> None:
    tokens, table = accounts(FakeClock())
    token = tokens.issue("ns", "sa", {"spec": {}})["status"]["token"]
    bound = tokens.issue("ns", "sa", {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}})
    verified = tokens.verify(bound["status"]["token"])
    assert verified is not None
    assert verified[0].extra["authentication.kubernetes.io/pod-uid"] == ("pu",)
    table.objects.remove(POD)
    assert tokens.verify(bound["status"]["token"]) is None
    assert tokens.verify(token) is not None
    table.objects[0] = {"kind": "ServiceAccount", "metadata": {"namespace": "ns", "name": "sa", "uid": "u2"}}
    assert tokens.verify(token) is None


def test_audiences_bind() -> None:
    tokens, _ = accounts(FakeClock())
    token = tokens.issue("ns", "sa", {"spec": {"audiences": ["vault"]}})["status"]["token"]
    assert tokens.verify(token) is None
    verified = tokens.verify(token, ("vault", "other"))
    assert verified is not None
    assert verified[1] == ("vault",)


def test_tokens_of_another_key_or_changed_ones_are_refused() -> None:
    clock = FakeClock()
    tokens, table = accounts(clock)
    token = tokens.issue("ns", "sa", {"spec": {}})["status"]["token"]
    other = ServiceAccountTokens(b"x" * 32, getter=table.get, clock=clock, random=Randomness(1))
    assert other.verify(token) is None
    header, payload, signature = token.split(".")
    for forged in (
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature}x",
        f"{header}.{payload[:-2]}.{signature}",
        "a.b.c",
        "",
    ):
        assert tokens.verify(forged) is None


@given(st.text())
def test_any_text_is_just_no_token(text: str) -> None:
    tokens, _ = accounts(FakeClock())
    assert tokens.verify(text) is None


@pytest.mark.parametrize(
    ("name", "spec", "code", "message"),
    [
        ("nope", {}, 404, 'serviceaccounts "nope" not found'),
        (
            "sa",
            {"expirationSeconds": 5},
            422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 5: '
            "may not specify a duration less than 10 minutes",
        ),
        ("sa", {"boundObjectRef": {"kind": "Pod", "name": "gone"}}, 404, 'pods "gone" not found'),
        ("sa", {"expirationSeconds": "x"}, 400, "TokenRequest: spec.expirationSeconds must be an integer"),
    ],
)
def test_token_requests_that_fail(name: str, spec: dict[str, Any], code: int, message: str) -> None:
    tokens, _ = accounts(FakeClock())
    with pytest.raises(StatusError) as caught:
        tokens.issue("ns", name, {"spec": spec})
    assert (caught.value.code, str(caught.value)) == (code, message)
