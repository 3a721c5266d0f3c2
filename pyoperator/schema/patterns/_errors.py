"""What a pattern can be refused for, in the words of Go's ``regexp``, which a server passes on to its users."""

from __future__ import annotations


class PatternError(ValueError):
    """A pattern is not RE2: ``reason`` is the sort of fault, ``expression`` the part of the pattern that has it."""

    def __init__(self, reason: str, expression: str) -> None:
        super().__init__(f"error parsing regexp: {reason}: `{expression}`")
        self.reason = reason
        self.expression = expression


class PatternTooCostlyError(ValueError):
    """Matching one text took more steps than a server may stand still for; no pattern written in earnest gets there."""


INVALID_CLASS_RANGE = "invalid character class range"
INVALID_ESCAPE = "invalid escape sequence"
INVALID_GROUP_NAME = "invalid named capture"
INVALID_PERL_SYNTAX = "invalid or unsupported Perl syntax"
INVALID_NESTED_REPETITION = "invalid nested repetition operator"
INVALID_REPEAT_COUNT = "invalid repeat count"
MISSING_BRACKET = "missing closing ]"
MISSING_PARENTHESIS = "missing closing )"
MISSING_REPEAT_ARGUMENT = "missing argument to repetition operator"
TRAILING_BACKSLASH = "trailing backslash at end of expression"
UNEXPECTED_PARENTHESIS = "unexpected )"
TOO_DEEP = "expression nests too deeply"
TOO_LARGE = "expression too large"
