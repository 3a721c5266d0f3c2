"""The embedded server answers as the real kube-apiserver did, or does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyoperator.clock import Randomness
from tests.conformance.known_differences import KNOWN_DIFFERENCES
from tests.conformance.normal import comparable
from tests.conformance.scenario import Scenario, load, recorded
from tests.conformance.sides import EmbeddedSide, RealSide

SCENARIOS = load()
KUBECONFIG = os.environ.get("PYOPERATOR_REAL_KUBECONFIG", "")
ETCD = os.environ.get("PYOPERATOR_REAL_ETCD", "")  # host:port


def name_of(scenario: Scenario) -> str:
    return f"{scenario.area}/{scenario.name}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
def test_embedded_server_answers_as_the_real_one_did(scenario: Scenario) -> None:
    wanted = recorded(scenario.area).get(scenario.name)
    assert wanted is not None, "not recorded: run scripts/record-conformance with a real server's kubeconfig"
    answers = scenario.run(EmbeddedSide(), "c-00000000")
    assert len(answers) == len(wanted), "the scenario has changed: run scripts/record-conformance"
    for number, (ours, theirs) in enumerate(zip(answers, wanted, strict=True)):
        mine, real = comparable(ours, theirs)
        known = KNOWN_DIFFERENCES.get((name_of(scenario), number))
        step = scenario.steps[number]["do"]
        if known is not None:
            assert mine != real, f"step {number} ({step}) is no longer different: take it out of KNOWN_DIFFERENCES"
            continue
        assert json.dumps(mine, indent=1, sort_keys=True) == json.dumps(real, indent=1, sort_keys=True), (
            f"step {number}: {step}"
        )


def test_known_differences_name_steps_that_exist() -> None:
    steps = {(name_of(scenario), number) for scenario in SCENARIOS for number in range(len(scenario.steps))}
    assert not set(KNOWN_DIFFERENCES) - steps


@pytest.mark.real_server
@pytest.mark.skipif(not KUBECONFIG, reason="PYOPERATOR_REAL_KUBECONFIG names no real kube-apiserver")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
def test_real_server_answers_as_recorded(scenario: Scenario) -> None:
    if scenario.compacts and not ETCD:
        pytest.skip("PYOPERATOR_REAL_ETCD names no etcd to compact")
    namespace = f"c-{Randomness().getrandbits(32):08x}"
    answers = scenario.run(RealSide(Path(KUBECONFIG), ETCD), namespace)
    assert json.dumps(answers, indent=1, sort_keys=True) == json.dumps(
        recorded(scenario.area)[scenario.name], indent=1, sort_keys=True
    )
