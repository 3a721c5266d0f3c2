"""The locks are complete, so that they can be installed without resolving (``--no-deps``), and nothing is hidden by it."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.deploy.interpreters import SUPPORTED
from tests.deploy.lock import PLACES, Place, locked, requirements_of, roots, unmet
from tests.deploy.manifests import ROOT

LOCKS = {
    "runtime.lock": roots(),
    "dev.lock": roots(groups=("dev",), extras=True),
    "build.lock": [Requirement("hatchling>=1.27")],
    "release.lock": roots(dependencies=False, groups=("release",)),
}


def _text(name: str) -> str:
    return (ROOT / "requirements" / name).read_text("utf-8")


def test_there_are_no_other_locks() -> None:
    assert {path.name for path in (ROOT / "requirements").iterdir()} == set(LOCKS)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.system}-{place.python}")
@pytest.mark.parametrize("name", [name for name in LOCKS if name != "release.lock"])
def test_every_requirement_of_every_locked_package_is_in_the_lock(name: str, place: Place) -> None:
    # What release.lock alone names is not installed here: `pip check` looks at it when its environment is made.
    assert [*unmet(locked(_text(name)), LOCKS[name], place)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_nothing_is_locked_twice_or_without_an_exact_version(name: str) -> None:
    text = _text(name)
    entries = re.findall(r"^[a-z0-9]\S*", text, re.MULTILINE)
    assert entries
    assert all(re.fullmatch(r"[a-z0-9.-]+==[^=*]+", entry) for entry in entries)
    assert len(locked(text)) == len(entries)


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_asked_for_is_in_the_lock(name: str) -> None:
    entries = locked(_text(name))
    assert {requirement.name for requirement in LOCKS[name]} <= set(entries)


def test_what_is_installed_here_is_what_is_locked() -> None:
    # Or the test above would read the metadata of other versions. (make newest and oldest run other ones on purpose.)
    entries = locked(_text("dev.lock"))
    tools = [requirement.name for requirement in roots(groups=("dev",)) if requirement.name in entries]
    for name in ("pytest", "pytest-cov", "coverage", "mypy", "hatchling"):
        assert name in tools
        assert entries[name].specifier.contains(version(name)), name


def test_the_supported_pythons_are_the_classifiers() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert tuple(named) == SUPPORTED


def test_a_missing_requirement_is_told_extras_and_markers_included() -> None:
    lock = locked("a==1 \\\n    --hash=sha256:0\nb==2 ; python_version < '3.12' \\\n    --hash=sha256:0\n")
    needs = {"a": ["b>=1", "c ; extra == 'more'", "d ; sys_platform == 'win32'"], "b": ["a>=3"]}
    old, new = Place("3.11", "Linux"), Place("3.13", "Linux")

    def told(wanted: str, place: Place) -> list[str]:
        return sorted(unmet(lock, [Requirement(wanted)], place, needs.get))

    assert told("a", old) == ["b needs a>=3, but 1 is locked"]
    assert told("a", new) == ["a needs b>=1, which is not locked for Python 3.13 on Linux"]
    assert told("a[more]", old) == [
        'a needs c; extra == "more", which is not locked for Python 3.11 on Linux',
        "b needs a>=3, but 1 is locked",
    ]
    assert told("a==2", new)[0] == "a needs b>=1, which is not locked for Python 3.13 on Linux"
    assert "pyproject.toml needs a==2, but 1 is locked" in told("a==2", new)


def test_metadata_that_is_not_here_is_not_made_up() -> None:
    assert requirements_of("no-such-distribution-anywhere") is None
    assert requirements_of("pytest-cov") is not None
