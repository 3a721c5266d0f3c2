r"""Regular expressions as a cluster reads them: RE2 as Go's ``regexp`` has it, for ``pattern`` in schemas.

Neither Python's ``re`` nor a translation to it will do: it knows much that RE2 refuses and reads much of the rest otherwise
(``$``, ``\d``, ``(?i)``), and a pattern of few characters can keep it busy for ever. ``google-re2`` comes close, but is
another program than Go's: other messages, other bounds, another Unicode, C++ to compile where it has no wheel, and a
dependency also of those who only write manifests. What is needed here is small, since no schema asks *where* a pattern
matches: a parser of Go's grammar, with its messages, and an automaton that answers yes or no in linear time.

``tests/schema/patterns`` holds both against Go. The Unicode tables, and with them the names that ``\p{...}`` takes, are
those of the Go that kube-apiserver 1.36 is built with.
"""

from __future__ import annotations

from pyoperator.schema.patterns._errors import PatternError, PatternTooCostlyError
from pyoperator.schema.patterns._pattern import Pattern, compile_pattern

__all__ = ["Pattern", "PatternError", "PatternTooCostlyError", "compile_pattern"]
