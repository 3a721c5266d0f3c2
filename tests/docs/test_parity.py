"""docs/parity.md: every tick names tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import NamedTuple

from tests.docs.pages import DOCS, ROOT

STATES = {"yes", "ours", "partly", "no"}
_ROW = re.compile(r"^\| (?P<feature>[^|]+) \| (?P<state>[^|]+) \| (?P<proof>[^|]*) \|$", re.MULTILINE)
_PROOF = re.compile(r"`(?P<test>test_\w+)`(?: in )?|\[(?P<shown>[^\]]+)\]\(\.\./(?P<path>tests/[\w/.-]+)\)")


class Row(NamedTuple):
    feature: str
    state: str
    proof: str


def rows() -> list[Row]:
    found = [
        Row(*(part.strip() for part in match.groups()))
        for match in _ROW.finditer((DOCS / "parity.md").read_text("utf-8"))
    ]
    return [row for row in found if not row.feature.startswith(("---", "feature"))]


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def proofs(row: Row) -> list[tuple[str, str]]:
    """Pair each test that a row names with the file that follows it; a file alone stands for all that is in it."""
    found: list[tuple[str, str]] = []
    waiting: list[str] = []
    for match in _PROOF.finditer(row.proof):
        if match["test"]:
            waiting.append(match["test"])
        else:
            found += [(name, match["path"]) for name in waiting or [""]]
            waiting = []
    assert not waiting, f"{row.feature}: {waiting} without a file"
    return found


def test_the_page_has_rows_and_each_state_is_known() -> None:
    found = rows()
    assert len(found) > 60
    assert {row.state for row in found} <= STATES
    assert len({row.feature for row in found}) == len(found)


def test_what_is_ticked_names_tests_that_exist() -> None:
    for row in rows():
        named = proofs(row)
        if row.state in {"yes", "ours"}:
            assert named, f"{row.feature}: ticked, and no test named"
        for name, path in named:
            assert (ROOT / path).is_file(), f"{row.feature}: no {path}"
            assert not name or name in functions(path), f"{row.feature}: no {name} in {path}"
