"""The lab's private folder."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from pyoperator.apiserver.access import TokenFile
from pyoperator.clock import SystemClock
from pyoperator.testing.lab import LabError
from pyoperator.testing.lab._folder import LabFolder, remove_abandoned

if TYPE_CHECKING:
    from pathlib import Path

ADMIN = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "lab", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "admin", "user": {"token": "administrator"}}],
    "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
    "current-context": "lab",
}


def test_each_user_has_a_kubeconfig_of_its_own_and_nobody_elses_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = LabFolder()
    folder.kubeconfig.write_text(yaml.safe_dump(ADMIN))
    paths = [folder.add_user(name, ["lab:replicas"]) for name in ("replica-0-1", "replica-1-1")]
    known = TokenFile(folder.tokens, clock=SystemClock())
    for path, name in zip(paths, ("replica-0-1", "replica-1-1"), strict=True):
        assert path.stat().st_mode & 0o777 == 0o600
        assert "administrator" not in path.read_text()
        document = yaml.safe_load(path.read_text())
        assert document["clusters"] == ADMIN["clusters"]
        assert document["contexts"][0]["context"]["user"] == name
        user = known.find(document["users"][0]["user"]["token"])
        assert user is not None
        assert (user.name, user.groups) == (name, ("lab:replicas",))
    assert [path.stat().st_mode & 0o777 for path in (folder.path, folder.home, folder.tokens)] == [0o700, 0o700, 0o600]
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(LabError, match="set TMPDIR to a writable one"):
        LabFolder()


def test_what_a_killed_launcher_left_behind_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = "from pyoperator.testing.lab._folder import LabFolder as F; print(F().path, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(tmp_path), "PATH": ""},
    ) as other:
        assert other.stdout is not None
        left = other.stdout.readline().strip()
        mine = LabFolder()
        older = tmp_path / "pyoperator-lab-without-lock"
        older.mkdir()
        # Both are alive.
        assert remove_abandoned() == []
        other.kill()
        other.wait()
        assert [str(path) for path in remove_abandoned()] == [left]
    assert sorted(tmp_path.iterdir()) == sorted([mine.path, older])
    mine.remove()
