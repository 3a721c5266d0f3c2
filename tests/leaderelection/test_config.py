from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.clock import Randomness
from pyoperator.leaderelection import ElectionConfig, ElectionConfigError, default_identity, default_namespace

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {"name": "op.example.com", "namespace": "default", "identity": "a"}


def test_defaults_are_those_of_controller_runtime() -> None:
    config = ElectionConfig(**GOOD)
    assert (config.lease_duration, config.renew_deadline, config.retry_period) == (15.0, 10.0, 2.0)
    assert config.release_on_cancel
    assert config.request_timeout == 5.0
    assert config.write_margin == 1.0
    assert config.path == "/apis/coordination.k8s.io/v1/namespaces/default/leases/op.example.com"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lease_duration": 10.0}, "must be greater than renew deadline"),
        ({"lease_duration": 15.5}, "whole number of seconds"),
        ({"lease_duration": 0}, "whole number of seconds"),
        ({"renew_deadline": 2.4}, "1.2 x retry period"),
        ({"retry_period": 0}, "above zero"),
        ({"jitter_factor": -1.0}, "negative"),
        ({"name": ""}, "leader_election_id"),
        ({"name": "Not_DNS"}, "lower-case"),
        ({"name": "a" * 254}, "can't name a Lease"),
        ({"namespace": ""}, "leader_election_namespace"),
        ({"namespace": "a.b"}, "can't be a namespace"),
        ({"identity": ""}, "default_identity"),
    ],
)
def test_errors_teach(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ElectionConfigError) as caught:
        ElectionConfig(**{**GOOD, **change})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_identities_of_one_host_differ() -> None:
    assert default_identity({"POD_NAME": "pod", "HOSTNAME": "h"}, Randomness(1)).startswith("pod_")
    assert default_identity({"HOSTNAME": "h"}).startswith("h_")
    assert default_identity({}).startswith(f"{socket.gethostname()}_")
    assert default_identity({}) != default_identity({})


def test_namespace_and_identity_are_found_if_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "here")
    monkeypatch.setenv("POD_NAME", "pod-0")
    one, two = ElectionConfig(name="op"), ElectionConfig(name="op")
    assert one.namespace == "here"
    assert one.identity.startswith("pod-0_")
    assert one.identity != two.identity
    monkeypatch.delenv("POD_NAMESPACE")
    with pytest.raises(ElectionConfigError, match="leader_election_namespace"):
        ElectionConfig(name="op")


def test_namespace_precedence(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("from-file\n")
    assert default_namespace("flag", {"POD_NAMESPACE": "pod"}, file) == "flag"
    assert default_namespace("", {"POD_NAMESPACE": "pod"}, file) == "pod"
    assert default_namespace("", {}, file) == "from-file"
    with pytest.raises(ElectionConfigError, match="leader_election_namespace"):
        default_namespace("", {}, tmp_path / "absent")
