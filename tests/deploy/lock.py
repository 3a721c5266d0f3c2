"""The locks as data: which packages, for which platforms, and whether what they need is locked as well."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.interpreters import SUPPORTED
from tests.deploy.manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ENTRY = re.compile(r"^([a-z0-9][^ \\\n]*==[^\\\n]*?) *\\?$", re.MULTILINE)
_LATEST_PATCH = 99  # of a Python version: `python_full_version < '3.11.3'` is about long past ones


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lock is installed: a Python on an operating system."""

    python: str
    system: str

    @property
    def markers(self) -> dict[str, str]:
        full = f"{self.python}.{_LATEST_PATCH}"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": "x86_64" if self.system == "Linux" else "arm64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
            "sys_platform": self.system.lower(),
        }


PLACES = tuple(Place(python, system) for python in SUPPORTED for system in ("Linux", "Darwin"))


def locked(text: str) -> dict[str, Requirement]:
    """Read a lock's text: canonical name -> requirement with its exact version and marker."""
    entries = [Requirement(entry.strip()) for entry in _ENTRY.findall(text)]
    return {canonicalize_name(entry.name): entry for entry in entries}


def roots(*, dependencies: bool = True, extras: bool = False, groups: tuple[str, ...] = ()) -> list[Requirement]:
    """Return what ``pyproject.toml`` asks for: the library's dependencies, all its extras, dependency groups."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    texts: list[str] = [*project["project"]["dependencies"]] if dependencies else []
    if extras:
        texts += [text for extra in project["project"]["optional-dependencies"].values() for text in extra]
    texts += [text for group in groups for text in project["dependency-groups"][group]]
    return [Requirement(text) for text in texts]


def requirements_of(name: str) -> list[str] | None:
    """Return what an installed distribution says it requires; None if it is not installed here."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return None


def unmet(
    lock: Mapping[str, Requirement],
    wanted: list[Requirement],
    place: Place,
    read: Callable[[str], list[str] | None] = requirements_of,
) -> Iterator[str]:
    """Yield what is needed in that place and not locked for it, from the wanted ones on, extras included.

    Packages whose metadata can't be read here (they are for another place) are taken at their word: the resolver's.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [("pyproject.toml", requirement, "") for requirement in wanted]
    while waiting:
        who, requirement, extra = waiting.pop()
        markers = {**place.markers, "extra": extra}
        if requirement.marker is not None and not requirement.marker.evaluate(markers):
            continue
        name = canonicalize_name(requirement.name)
        entry = lock.get(name)
        if entry is None or (entry.marker is not None and not entry.marker.evaluate(place.markers)):
            yield f"{who} needs {requirement}, which is not locked for Python {place.python} on {place.system}"
            continue
        (version,) = [specifier.version for specifier in entry.specifier]
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{who} needs {requirement}, but {version} is locked"
        for further in ("", *requirement.extras):
            if (name, further) not in seen:
                seen.add((name, further))
                waiting += [(name, Requirement(text), further) for text in read(name) or []]
