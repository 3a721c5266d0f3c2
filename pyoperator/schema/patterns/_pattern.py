"""A compiled pattern."""

from __future__ import annotations

import re
from functools import lru_cache

from pyoperator.schema.patterns._automaton import Automaton
from pyoperator.schema.patterns._parse import parse

_SURROGATE = re.compile("[\ud800-\udfff]")


class Pattern:
    """A pattern that is RE2; made by ``compile_pattern``."""

    __slots__ = ("_automaton", "_tree")

    def __init__(self, pattern: str) -> None:
        # What no UTF-8 can hold reaches a server as the replacement character.
        self._tree = parse(_SURROGATE.sub("\ufffd", pattern))
        self._automaton: Automaton | None = None

    def matches(self, text: str) -> bool:
        """Tell whether the pattern matches anywhere in the text; raises PatternTooCostlyError for absurd patterns."""
        if self._automaton is None:  # many patterns are only ever checked
            self._automaton = Automaton(self._tree)
        return self._automaton.search(text)


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Pattern:
    """Return the pattern, ready to match; raises PatternError, whose text is that of Go's ``regexp.Compile``."""
    return Pattern(pattern)
