"""docs/dependencies.md names every package that is shipped, and nothing else, under licences that fit."""

from __future__ import annotations

import re
from importlib.metadata import metadata

from tests.deploy.manifests import ROOT

LOCKED = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "runtime.lock").read_text(), re.MULTILINE))
TABLE = dict(
    re.findall(r"^\| ([a-z0-9-]+) \|.*\| ([^|]+) \|$", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
)
FITTING = {"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "PSF-2.0", "MPL-2.0"}


def _licences(text: str) -> set[str]:
    return set(re.split(r" (?:and|or) ", text))


def test_the_table_is_the_lock() -> None:
    assert {name for name in TABLE if name not in {"package", "---"}} == LOCKED


def test_licences_fit_and_are_what_the_packages_say() -> None:
    for name in LOCKED:
        told = _licences(TABLE[name])
        assert told <= FITTING, name
        found = metadata(name)
        if "License-Expression" in found:
            expression = found["License-Expression"]
            named = set(re.split(r" (?:AND|OR) ", expression.replace("(", "").replace(")", "")))
            assert named == told, name
