"""The operator's command line: what it takes, and how it refuses what makes no sense."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import postgres_operator.main
from postgres_operator.main import Duration, Settings, main

if TYPE_CHECKING:
    from pyoperator.manager import Manager

COMMAND = Path(sys.executable).with_name("postgres-operator")
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "current-context": "c",
}


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Catch the settings instead of running a manager."""
    seen: list[Settings] = []

    def build(settings: Settings) -> Manager:
        seen.append(settings)
        return object()  # type: ignore[return-value]

    def run(build_it: object) -> int:
        assert callable(build_it)
        build_it()
        return 0

    monkeypatch.setattr(postgres_operator.main, "build_manager", build)
    monkeypatch.setattr(postgres_operator.main, "run", run)
    monkeypatch.setattr(postgres_operator.main, "configure_logging", lambda *_: None)
    return seen


def test_defaults(captured: list[Settings]) -> None:
    assert CliRunner().invoke(main, []).exit_code == 0
    settings = captured[0]
    assert settings.leader_elect is False
    assert settings.leader_election_id == "postgres-operator.example.com"
    assert (settings.lease_duration, settings.renew_deadline, settings.retry_period) == (15, 10, 2)
    assert (settings.metrics_bind_address, settings.health_probe_bind_address) == (":8080", ":8081")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--leader-elect"], True),
        (["--leader-elect=true"], True),
        (["--leader-elect=false"], False),
        (["--leader-elect", "--namespace", "a"], True),
        ([], False),
    ],
)
def test_leader_elect(captured: list[Settings], arguments: list[str], *, expected: bool) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert captured[0].leader_elect is expected


def test_flags_have_twins_in_the_environment(captured: list[Settings]) -> None:
    environment = {
        "POSTGRES_OPERATOR_LEADER_ELECT": "true",
        "POSTGRES_OPERATOR_LEASE_DURATION": "1m",
        "POSTGRES_OPERATOR_NAMESPACE": "one two",
    }
    assert CliRunner().invoke(main, ["--lease-duration", "30s"], env=environment).exit_code == 0
    assert captured[0].leader_elect is True
    assert captured[0].lease_duration == 30  # a flag wins over the environment
    assert captured[0].namespace == ("one", "two")


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("4", 4), ("0.5", 0.5), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], ["--bogus"]),
        (["--lease-duration", "soon"], ["soon", "15s"]),
        (["--max-concurrent-reconciles", "0"], ["max-concurrent-reconciles"]),
        (["--log-level", "loud"], ["loud", "debug"]),
        (["--leader-elect", "--leader-election-namespace=n", "--lease-duration=5s"], ["5", "renew"]),
        (["--leader-elect", "--leader-election-namespace=n", "--lease-duration=15.5s"], ["whole number of seconds"]),
        (["--leader-elect"], ["leader_election_namespace"]),
        (["--health-probe-bind-address", "nonsense"], ["nonsense"]),
        (["--kubeconfig", "/does/not/exist"], ["/does/not/exist", "argument kubeconfig"]),
        (["--context", "other"], ["other"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(KUBECONFIG))
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert message.lower().startswith("error: ")
    for word in words:
        assert word.lower() in message.lower(), message


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("postgres-operator, version 0.")
