"""The Dockerfile: what can be said without a container engine, and its steps, run in a folder instead."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.interpreters import interpreter
from tests.deploy.manifests import ROOT

LOCKS = ("runtime.lock", "build.lock")
EVERY_LOCK = ("dev.lock", "release.lock", *LOCKS)
# On disk, of the base image that the Dockerfile names (python:3.13 on Alpine): what its tags have had, rounded up.
BASE_MEGABYTES = 50
LIMIT_MEGABYTES = 150


def _instructions() -> list[tuple[str, str]]:
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def _of(name: str) -> list[str]:
    return [rest for instruction, rest in _instructions() if instruction == name]


def _pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))


def test_two_stages_of_one_pinned_base() -> None:
    assert _of("ARG") == ["PYTHON_IMAGE=docker.io/library/python:3.13.9-alpine3.22"]
    assert _of("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]


def test_runs_as_a_number_and_as_process_one() -> None:
    assert _of("USER") == ["65532:65532"]
    assert _of("ENTRYPOINT") == ['["postgres-operator"]']
    assert _of("CMD") == []


def test_copies_what_exists_and_is_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [source for rest in _of("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]]
    for source in sources:
        assert (ROOT / source).exists()
        assert source in kept


@pytest.mark.parametrize("lock", EVERY_LOCK)
def test_locks_are_hashed_and_name_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "index" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_shipped_is_what_is_tested(lock: str) -> None:
    tested = _pins("dev.lock")
    assert {name: tested.get(name) for name in _pins(lock)} == _pins(lock)


@pytest.mark.packaging
def test_its_steps_make_a_working_operator_within_the_limit(tmp_path: Path) -> None:
    """Run every RUN line with /opt and the sources in a temporary folder; then what ENTRYPOINT starts."""
    python = interpreter("3.13") or sys.executable
    (tmp_path / "opt").mkdir()
    source = tmp_path / "src"
    for rest in _of("COPY"):
        if rest.startswith("--from"):
            continue
        *names, target = rest.split()
        for name in names:
            where = source / target / Path(name).name if target.endswith("/") else source / target
            where.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-R", str(ROOT / name), str(where)], check=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for rest in _of("RUN"):
        step = rest.replace("/opt/", f"{tmp_path}/opt/")
        if step.startswith("python "):
            step = f"{shlex.quote(str(python))} {step.removeprefix('python ')}"
        done = subprocess.run(
            ["/bin/sh", "-ec", step], cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{rest}\n{done.stdout}\n{done.stderr}"
    operator = tmp_path / "opt" / "operator"
    (entrypoint,) = re.findall(r'"(.*)"', _of("ENTRYPOINT")[0])
    told = subprocess.run(
        [str(operator / "bin" / entrypoint), "--version"], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("postgres-operator, version ")
    size = sum(path.lstat().st_size for path in operator.rglob("*")) / 1e6
    print(f"/opt/operator has {size:.0f} MB, with the base about {size + BASE_MEGABYTES:.0f} MB")
    assert size + BASE_MEGABYTES < LIMIT_MEGABYTES
