"""Regular expressions as the server reads them (Go's RE2), run by Python's ``re``."""

from __future__ import annotations

import re
from functools import lru_cache

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile with Go's meanings: ``$`` only at the very end, ASCII classes; raises ``re.error`` for a bad pattern."""
    return re.compile(_translate(pattern), re.ASCII)


def _translate(pattern: str) -> str:
    parts: list[str] = []
    index, in_class = 0, False
    multiline = "(?m" in pattern
    while index < len(pattern):
        char = pattern[index]
        if char == "\\" and index + 1 < len(pattern):
            escape = pattern[index : index + 2]
            parts.append({r"\z": r"\Z"}.get(escape, escape))
            index += 2
            continue
        if in_class:
            posix = re.match(r"\[:(\w+):\]", pattern[index:])
            if posix is not None and posix[1] in _POSIX:
                parts.append(_POSIX[posix[1]])
                index += posix.end()
                continue
            if char == "]":
                in_class = False
            parts.append("\\[" if char == "[" else char)
        elif char == "[":
            in_class = True
            opening = re.match(r"\[\^?\]?", pattern[index:])
            text = opening[0] if opening is not None else "["
            parts.append(text)
            index += len(text)
            continue
        else:
            parts.append(r"\Z" if char == "$" and not multiline else char)
        index += 1
    return "".join(parts)
