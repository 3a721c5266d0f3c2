"""Nothing tells users to install ``pyoperator`` from the package index: there, that is another project."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deploy.manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# `pip install pyoperator`, a requirement with an extra or a version, an entry of a list of dependencies; `./pyoperator` is a folder.
WRONG = re.compile(
    r"""pip\s+install\s+(?:-\S+\s+)*["']?pyoperator(?![\w./-])"""
    r"""|(?<![\w./-])pyoperator\[[a-z]"""
    r"""|(?<![\w./-])pyoperator\s*[=~>]=\s*\d"""
    r"""|dependencies\s*=\s*\[[^\]]*["']pyoperator["']"""
)
SAID_TO_BE_WRONG = "gets a\nstranger's package"  # the installation page warns of the command by showing it


def _texts() -> Iterator[tuple[Path, str]]:
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        pytest.skip("no clone: which files are ours is not known")
    for name in told.stdout.split("\0"):
        path = ROOT / name
        if name and path != ROOT / "tests" / "deploy" / "test_name.py" and path.is_file():
            try:
                yield path, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # a picture, a table


def test_no_text_of_ours_names_the_strangers_package() -> None:
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path, text in _texts() for match in WRONG.finditer(text)]
    assert found == ["docs/installation.md: pip install pyoperator"]
    assert SAID_TO_BE_WRONG in (ROOT / "docs" / "installation.md").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "pip install pyoperator",
        "pip install 'pyoperator[apiserver]'",
        "python -m pip install --quiet pyoperator",
        "needs pyoperator[view]",
        "pyoperator>=0.1",
        'dependencies = ["pyoperator", "click"]',
    ],
)
def test_wrong_ones_are_seen(text: str) -> None:
    assert WRONG.search(text)


@pytest.mark.parametrize(
    "text",
    [
        'pip install "./pyoperator[apiserver]"',
        "pip install pyoperator-runtime",
        "pip install dist/pyoperator_runtime-0.1-py3-none-any.whl",
        "pyoperator-runtime[apiserver]",
        "pyoperator --version",
    ],
)
def test_right_ones_pass(text: str) -> None:
    assert not WRONG.search(text)
