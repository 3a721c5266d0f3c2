"""The error and warning texts of the library, read from its source: what the guide on troubleshooting must explain."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pyoperator

PACKAGE = Path(pyoperator.__file__).parent

# The core of the embedded server answers requests in the words of the real one; those are the API's, not ours.
_WORDS_OF_THE_API = ("apiserver",)
_BUT_OURS = ("apiserver/http", "apiserver/storage/_sqlite.py", "apiserver/access/_token_file.py")

_LOG_METHODS = frozenset({"warning", "error", "exception", "critical"})
_LONG_ENOUGH = 12


class Message(NamedTuple):
    """One text: the error class (or ``log``), its template with ``…`` for what varies, and where it is."""

    source: str
    template: str
    where: str

    @property
    def beginning(self) -> str:
        """The first fixed part that is long enough to search for, else the longest."""
        parts = [part.strip(" :;,.(") for part in self.template.split("…")]
        return next((part for part in parts if len(part) >= _LONG_ENOUGH), max(parts, key=len))


def error_classes() -> set[str]:
    """Names of the error classes that the library defines, private ones left out."""
    found = {"Exception", "ValueError", "RuntimeError", "LookupError", "TypeError", "OSError", "AssertionError"}
    builtin = set(found)
    grown = True
    while grown:
        grown = False
        for path in _sources():
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name not in found:
                    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                    if bases & found:
                        found.add(node.name)
                        grown = True
    return {name for name in found - builtin if not name.startswith("_")}


def messages() -> list[Message]:
    """Collect the texts of raised errors of our classes, and of logged warnings and errors."""
    classes = error_classes()
    found: list[Message] = []
    for path in _sources():
        tree = ast.parse(path.read_text("utf-8"))
        where = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = _name(node.func)
            if name in classes:
                source = name
            elif isinstance(node.func, ast.Attribute) and name in _LOG_METHODS and _is_logger(node.func.value):
                source = "log"
            else:
                continue
            template = _template(node.args[0])
            if template is not None and template.strip("… "):
                found.append(Message(source, template, f"{where}:{node.lineno}"))
    return found


def _sources() -> list[Path]:
    chosen: list[Path] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(_WORDS_OF_THE_API) or place.startswith(_BUT_OURS):
            chosen.append(path)
    return chosen


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _is_logger(value: ast.expr) -> bool:
    text = ast.unparse(value)
    return "log" in text.lower()


def _template(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _template(node.left), _template(node.right)
        return f"{left if left is not None else '…'}{right if right is not None else '…'}"
    return None
