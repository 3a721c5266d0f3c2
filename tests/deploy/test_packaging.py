"""Wheel and source distribution: built without a warning, complete, and at home in an empty environment."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.deploy.interpreters import interpreter
from tests.deploy.manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.packaging
OLDEST, NEWEST = "3.11", "3.13"
LOCK = ROOT / "requirements" / "runtime.lock"


def _run(command: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist, and the wheel that was built from it, as ``python -m build`` does.

    The backend is called as a build frontend calls it, with every warning an error.
    """
    folder = tmp_path_factory.mktemp("dist")
    call = (
        "import sys, importlib; backend = importlib.import_module('hatchling.build');"
        "print(getattr(backend, sys.argv[1])(sys.argv[2]))"
    )
    python = [sys.executable, "-W", "error", "-c", call]
    done = _run([*python, "build_sdist", folder], cwd=ROOT)
    assert done.stderr == ""
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    done = _run([*python, "build_wheel", folder], cwd=source)
    assert done.stderr == ""
    return folder


def test_the_metadata_is_complete(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (path,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(path))
    assert metadata["Name"] == "pyoperator"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d+)?", metadata["Version"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["Author"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "# pyoperator" in metadata.get_payload()
    assert set(metadata.get_all("Provides-Extra", [])) == {"apiserver", "compression", "view"}
    required = metadata.get_all("Requires-Dist", [])
    needed = [re.split(r"[><=~! ;\[]", entry)[0] for entry in required if "extra ==" not in entry]
    assert set(needed) <= set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE))
    assert "pyoperator/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {"pyoperator", path.partition("/")[0]}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_installs_into_an_empty_environment(built: Path, tmp_path: Path, version: str, kind: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"MISSING TOOL: python{version}: the package was not installed on it")
    (package,) = built.glob(kind)
    venv = tmp_path / "venv"
    _run([python, "-m", "venv", venv])
    pip: list[str | Path] = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "install", "--require-hashes", "--only-binary", ":all:", "--requirement", LOCK])
    if kind == "*.tar.gz":
        build_lock = ROOT / "requirements" / "build.lock"
        _run([*pip, "install", "--require-hashes", "--only-binary", ":all:", "--requirement", build_lock])
        _run([*pip, "install", "--no-deps", "--no-build-isolation", package])
    else:
        _run([*pip, "install", "--no-deps", package])
    assert _run([*pip, "check"]).stderr == ""
    told = _run([venv / "bin" / "pyoperator", "--version"], cwd=tmp_path).stdout
    assert re.fullmatch(r"pyoperator,? (version )?\S+\n", told)
    # Nothing of the development environment is needed to get at the public names.
    _run([venv / "bin" / "python", "-W", "error", "-c", "from pyoperator import Manager, LeaderElector"], cwd=tmp_path)
