"""Wheel and source distribution: built without a warning, complete, and at home in an empty environment."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.interpreters import interpreter
from tests.deploy.manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.packaging
OLDEST, NEWEST = "3.11", "3.13"
# Debian 12's, CPython 3.11.7's and 3.12.1's, and today's. With hashes, those up to 23.2 refuse to resolve a locked requirement
# that has an extra once the index has a newer release of it: what passed on the day of the lock did not pass ten days later.
PIPS = ("pip==23.0.1", "pip==23.2.1", "pip")
LOCK = ROOT / "requirements" / "runtime.lock"
INSTALLATION = ROOT / "docs" / "installation.md"


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
    assert metadata["Name"] == "pyoperator-runtime"
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
    _run([*pip, "install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", LOCK])
    if kind == "*.tar.gz":
        build_lock = ROOT / "requirements" / "build.lock"
        _run([*pip, "install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", build_lock])
        _run([*pip, "install", "--no-deps", "--no-build-isolation", package])
    else:
        _run([*pip, "install", "--no-deps", package])
    assert _run([*pip, "check"]).stderr == ""
    told = _run([venv / "bin" / "pyoperator", "--version"], cwd=tmp_path).stdout
    assert re.fullmatch(r"pyoperator,? (version )?\S+\n", told)
    # Nothing of the development environment is needed to get at the public names.
    _run([venv / "bin" / "python", "-W", "error", "-c", "from pyoperator import Manager, LeaderElector"], cwd=tmp_path)


@pytest.mark.parametrize("pip", PIPS)
@pytest.mark.parametrize("lock", sorted(path.name for path in LOCK.parent.iterdir()))
def test_each_lock_installs_with_old_and_new_pips(tmp_path: Path, pip: str, lock: str) -> None:
    venv = tmp_path / "venv"
    _run([interpreter(OLDEST) or sys.executable, "-m", "venv", venv])
    call: list[str | Path] = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*call, "install", "--upgrade", pip])
    _run([*call, "install", "--no-deps", "--require-hashes", "--requirement", LOCK.parent / lock])
    assert _run([*call, "check"]).stderr == ""


def test_installed_from_version_control_it_is_complete(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no clone: nothing to install from")
    _run([sys.executable, "-m", "venv", tmp_path / "venv"])
    python = tmp_path / "venv" / "bin" / "python"
    # Pips before 24 take no file:/// behind the @ of a requirement, though any https://.
    _run([python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--upgrade", "pip"])
    (line,) = (line for line in _shell(INSTALLATION) if "git+$URL" in line)
    environment = {**os.environ, "URL": f"file://{ROOT}", "PATH": f"{python.parent}:{os.environ['PATH']}"}
    # The newest commit rather than the branch: a clone may be on none.
    _run(["bash", "-euc", line.replace("@main", f"@{_head()}")], env=environment, cwd=tmp_path)
    told = _run([python.parent / "pyoperator", "--version"], cwd=tmp_path).stdout
    assert told.split()[-1] == metadata_version(python)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="MISSING TOOL kubectl: the README's operator was not run")
def test_the_readmes_operator_runs_on_the_wheel_alone(built: Path, tmp_path: Path) -> None:
    python = interpreter(NEWEST) or sys.executable
    _run([python, "-m", "venv", tmp_path / "venv"])
    binaries = tmp_path / "venv" / "bin"
    (wheel,) = built.glob("*.whl")
    _run([binaries / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install", wheel])
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    # Its ports may be taken by somebody else here.
    elsewhere = program.replace(
        "Manager(leader", 'Manager(metrics_bind_address="0", health_probe_bind_address="0", leader'
    )
    assert elsewhere != program
    (tmp_path / "greeting.py").write_text(elsewhere, "utf-8")
    script = _block(INSTALLATION, "python greeting.py &").replace("greeting.py &", "greeting.py 2> operator.log &")
    path = f"{binaries}:/usr/bin:/bin:{Path(shutil.which('kubectl') or '').parent}"
    environment = {"PATH": path, "HOME": str(tmp_path)}
    # Without the trap a command that fails would leave the others, and they would keep the pipes open.
    begun = "set -m\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n"
    ended = "\nkill -INT %2 && wait %2\nkill -INT %1 && wait %1\n"
    done = _run(["bash", "-euc", f"{begun}{script}{ended}"], env=environment, cwd=tmp_path, timeout=120)
    assert "Hello, world!" in done.stdout.splitlines()


def _shell(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def _block(page: Path, with_line: str) -> str:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if with_line in block)
    return str(found)


def _head() -> str:
    return _run(["git", "rev-parse", "HEAD"], cwd=ROOT).stdout.strip()


def metadata_version(python: Path) -> str:
    call = "import importlib.metadata; print(importlib.metadata.version('pyoperator-runtime'))"
    return _run([python, "-c", call]).stdout.strip()
