"""Sets of code points, and what Unicode says about them: names of categories and scripts, and letters that are one letter.

A set is the code points at which membership changes, in order, beginning outside: ``(97, 123)`` is a to z, and an odd
number of edges reaches to the end. So a complement is one edge more or less, and a code point is in the set if an odd
number of edges lies at or below it.

Python's own ``unicodedata`` would not do: it knows no scripts and no simple case folding, and each Python brings another
Unicode version, while a server has that of the Go it was built with.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

CodePoints: TypeAlias = tuple[int, ...]

NOTHING: CodePoints = ()
ANYTHING: CodePoints = (0,)
LAST = 0x10FFFF
# The letters beyond ASCII that are a case of an ASCII letter: the long s and the Kelvin sign.
_FOREIGN_CASES = {"K": 0x212A, "S": 0x17F}


def span(low: int, high: int) -> CodePoints:
    """Return the set from ``low`` to ``high``, both in it."""
    return (low, high + 1) if high < LAST else (low,)


def listed(ranges: Iterable[str]) -> CodePoints:
    """Return the set of single characters (``"_"``) and of ranges (``"az"``)."""
    return union(span(ord(entry[0]), ord(entry[-1])) for entry in ranges)


def contains(points: CodePoints, code: int) -> bool:
    return bisect_right(points, code) % 2 == 1


def complement(points: CodePoints) -> CodePoints:
    return points[1:] if points and points[0] == 0 else (0, *points)


def union(sets: Iterable[CodePoints]) -> CodePoints:
    ranges = sorted(
        (low, high)
        for points in sets
        for low, high in zip(points[::2], [*points[1::2], *([LAST + 1] if len(points) % 2 else [])], strict=True)
    )
    edges: list[int] = []
    for low, high in ranges:
        if edges and low <= edges[-1]:
            edges[-1] = max(edges[-1], high)
        else:
            edges += (low, high)
    return tuple(edges[:-1] if edges and edges[-1] > LAST else edges)


def folded(points: CodePoints) -> CodePoints:
    """Return the set with all cases of its letters, as ``(?i)`` takes it (simple folding: one code point for another)."""
    if points and points[0] == 0 and len(points) == 1:
        return points
    if len(points) % 2 == 0 and (not points or points[-1] <= 0x80):
        return _folded_ascii(points)
    orbits = _orbits()
    if len(points) == 2 and points[1] - points[0] == 1:  # one letter
        found = [orbits[points[0]]] if points[0] in orbits else []
    else:
        found = [orbit for orbit in {*orbits.values()} if any(contains(points, code) for code in orbit)]
    return union((points, *(span(code, code) for orbit in found for code in orbit)))


def _folded_ascii(points: CodePoints) -> CodePoints:
    """Do it without the table, which most patterns then never need."""
    more: list[CodePoints] = []
    for upper in range(ord("A"), ord("Z") + 1):
        lower = upper | 0x20
        if contains(points, upper) or contains(points, lower):
            foreign = _FOREIGN_CASES.get(chr(upper), upper)
            more += (span(upper, upper), span(lower, lower), span(foreign, foreign))
    return union((points, *more))


def named(name: str, *, fold: bool) -> CodePoints | None:
    """Return the set of a general category or script, by any of its names in any case; None if Go's ``regexp`` has none.

    With all cases of its letters if ``fold``: as Go has it, which for LC does not do so.
    """
    wanted = name.translate(_FILLERS)
    wanted = wanted[:1].translate(_TO_UPPER) + wanted[1:].translate(_TO_LOWER)
    if wanted == "Any":
        return ANYTHING
    return (_named(wanted, "folded") if fold else None) or _named(wanted, "names")


_FILLERS = {ord(char): None for char in "_- "}
# Names are told apart by ASCII case alone: str.upper() would make ASCII of letters that are not.
_TO_UPPER = {code: code & ~0x20 for code in range(ord("a"), ord("z") + 1)}
_TO_LOWER = {code: code | 0x20 for code in range(ord("A"), ord("Z") + 1)}


def _named(name: str, table: str) -> CodePoints | None:
    steps = _tables()[table].get(name)
    if steps is None:
        return None
    return _named(steps, table) if isinstance(steps, str) else _set(table, name)


@cache  # as many as there are sets in the table
def _set(table: str, name: str) -> CodePoints:
    edges = tuple(accumulate(_tables()[table][name]))
    return edges[:-1] if edges[-1] > LAST else edges


@cache  # the same facts by letter: which letters, itself among them, are one letter in other cases
def _orbits() -> dict[int, tuple[int, ...]]:
    return {ord(char): tuple(map(ord, orbit)) for orbit in _tables()["orbits"] for char in orbit}


@cache  # immutable facts of the package (see scripts/unicode-tables), a few milliseconds, read by patterns that need them
def _tables() -> dict[str, Any]:
    import gzip
    import json
    from importlib import resources

    data = resources.files("pyoperator.schema.patterns").joinpath("unicode.json.gz").read_bytes()
    tables: dict[str, Any] = json.loads(gzip.decompress(data))
    return tables
