"""The library names its own options: which flags a program has, only that program knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pyoperator

PACKAGE = Path(pyoperator.__file__).parent
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
# Programs of our own: their users have these flags.
_PROGRAMS = ("cli/", "testing/lab/")
# Both an object and a program, `pyoperator apiserver`: option first, then its flag.
_BOTH = "apiserver/"


def texts(source: str) -> list[str]:
    """Every text in the code that is no docstring; of an f-string its fixed parts together."""
    tree = ast.parse(source)
    found: list[str] = []
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) for part in node.values if isinstance(part, ast.Constant)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (inside | bare):
            found.append(node.value)
    return found


def foreign_flags(text: str, *, both: bool) -> list[str]:
    if "kubectl" in text:
        return []
    return [
        flag[0]
        for flag in _FLAG.finditer(text)
        if not (both and re.search(rf"\b{flag[1].replace('-', '_').removesuffix('_address')}\b", text[: flag.start()]))
    ]


def test_no_message_names_a_flag_that_the_users_program_may_not_have() -> None:
    found = [
        f"{place}: {flag} in {text!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (place := path.relative_to(PACKAGE).as_posix()).startswith(_PROGRAMS)
        for text in texts(path.read_text("utf-8"))
        for flag in foreign_flags(text, both=place.startswith(_BOTH))
    ]
    assert not found, "name the option instead:\n" + "\n".join(found)


def test_a_flag_is_seen() -> None:
    assert texts('def f():\n    "--doc"\n    raise E(f"give --data-dir {x} or --y")') == ["give --data-dir  or --y"]
    assert foreign_flags("give --data-dir", both=True) == ["--data-dir"]
    assert foreign_flags("give data_dir (--data-dir)", both=True) == []
    assert foreign_flags("give data_dir (--data-dir)", both=False) == ["--data-dir"]
