"""A compiled pattern. Parser and automaton are imported by the first one: most processes never see a pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.schema.patterns._automaton import Automaton

# What no UTF-8 can hold reaches a server as the replacement character.
_NOT_IN_UTF8 = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Pattern:
    """A pattern that is RE2; made by ``compile_pattern``."""

    __slots__ = ("_automaton", "_tree")

    def __init__(self, pattern: str) -> None:
        from pyoperator.schema.patterns._parse import parse

        self._tree = parse(pattern if pattern.isascii() else pattern.translate(_NOT_IN_UTF8))
        self._automaton: Automaton | None = None

    def matches(self, text: str) -> bool:
        """Tell whether the pattern matches anywhere in the text; raises PatternTooCostlyError for absurd patterns."""
        if self._automaton is None:  # many patterns are only ever checked
            from pyoperator.schema.patterns._automaton import Automaton

            self._automaton = Automaton(self._tree)
        return self._automaton.search(text)


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Pattern:
    """Return the pattern, ready to match; raises PatternError, whose text is that of Go's ``regexp.Compile``."""
    return Pattern(pattern)
