"""Real processes: kubectl against the server, and a server killed in mid-flight."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-c", "from pyoperator.cli import main; main()", "apiserver"]
pytestmark = pytest.mark.e2e


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("kubeconfig: "), line
    return process, line.removeprefix("kubeconfig: ").strip()


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> None:
    process.send_signal(number)
    process.communicate(timeout=60)


@pytest.fixture
def kubeconfig() -> Iterator[str]:
    process, path = start()
    yield path
    stop(process)


def kubectl(kubeconfig: str, *arguments: str, given: str = "", fails: bool = False) -> str:
    done = subprocess.run(
        ["kubectl", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "KUBECONFIG": kubeconfig, "HOME": str(Path(kubeconfig).parent)},
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


def test_kubectl(kubeconfig: str) -> None:
    if shutil.which("kubectl") is None:
        warnings.simplefilter("always")
        pytest.skip("kubectl is not installed: the embedded server was NOT tested against it")
    assert "+pyoperator" in kubectl(kubeconfig, "version")
    assert "kube-system" in kubectl(kubeconfig, "get", "ns")
    assert kubectl(kubeconfig, "create", "configmap", "a", "--from-literal=k=v") == "configmap/a created\n"
    assert yaml.safe_load(kubectl(kubeconfig, "get", "cm", "a", "-o", "yaml"))["data"] == {"k": "v"}
    kubectl(kubeconfig, "label", "cm", "a", "x=y")
    assert kubectl(kubeconfig, "get", "cm", "-l", "x=y", "-o", "name") == "configmap/a\n"
    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "1"}})
    assert kubectl(kubeconfig, "apply", "-f", "-", given=manifest) == "configmap/b created\n"
    assert kubectl(kubeconfig, "apply", "-f", "-", given=manifest.replace('"1"', '"2"')) == "configmap/b configured\n"
    assert kubectl(kubeconfig, "apply", "-f", "-", given=manifest.replace('"1"', '"2"')) == "configmap/b unchanged\n"
    assert kubectl(kubeconfig, "auth", "can-i", "create", "pods") == "yes\n"
    assert "deployments" in kubectl(kubeconfig, "api-resources")
    assert kubectl(kubeconfig, "delete", "cm", "a", "b").count("deleted") == 2
    assert 'configmaps "a" not found' in kubectl(kubeconfig, "get", "cm", "a", fails=True)


def call(path: str, url: str, body: object = None) -> object:
    token = yaml.safe_load(Path(path).read_text())["users"][0]["user"].get("token", "")
    data = None if body is None else json.dumps(body).encode()
    headers = (
        {"authorization": f"Bearer {token}", "content-type": "application/json"}
        if token
        else {"content-type": "application/json"}
    )
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    arguments = ("--insecure", "--data-dir", str(tmp_path / "data"))
    process, path = start(*arguments)
    server = yaml.safe_load(Path(path).read_text())["clusters"][0]["cluster"]["server"]
    collection = f"{server}/api/v1/namespaces/default/configmaps"
    made = [call(path, collection, {"metadata": {"name": f"c{number}"}}) for number in range(20)]
    stop(process, signal.SIGKILL)
    process, path = start(*arguments)
    server = yaml.safe_load(Path(path).read_text())["clusters"][0]["cluster"]["server"]
    found = call(path, f"{server}/api/v1/namespaces/default/configmaps")
    stop(process)
    assert isinstance(found, dict)
    by_name = {item["metadata"]["name"]: item["metadata"] for item in found["items"]}
    assert len(by_name) == 20
    for answer in made:
        assert isinstance(answer, dict)
        assert by_name[answer["metadata"]["name"]] == answer["metadata"]
