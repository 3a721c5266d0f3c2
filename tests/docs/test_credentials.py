"""docs/guides/credentials.md: the tests that its table names exist, in the files that it names."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import DOCS, ROOT

_PROOF = re.compile(r"`(?P<test>[Tt]est_?\w+)`(?: in )?|\[[\w.]+\]\(\.\./\.\./(?P<path>tests/client/[\w.]+)\)")


def test_every_kind_of_credentials_has_its_tests() -> None:
    page = (DOCS / "guides/credentials.md").read_text("utf-8")
    rows = [
        line for line in page.partition("## The kinds")[2].partition("##")[0].splitlines() if line.startswith("| `")
    ]
    assert len(rows) >= 10
    for row in page.splitlines():
        waiting: list[str] = []
        for match in _PROOF.finditer(row):
            if match["test"]:
                waiting.append(match["test"])
                continue
            tree = ast.parse((ROOT / match["path"]).read_text("utf-8"))
            found = {
                node.name
                for node in ast.walk(tree)
                if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef | ast.ClassDef)
            }
            assert set(waiting) <= found, f"{match['path']} lacks {set(waiting) - found}"
            waiting = []
        assert not waiting, f"{waiting} without a file"
    assert all("tests/client/" in row for row in rows), "a kind without a test"
