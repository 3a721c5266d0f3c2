"""What a backslash stands for, and classes in brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.schema.patterns import _errors
from pyoperator.schema.patterns._code_points import LAST, complement, folded, listed, named, span, union
from pyoperator.schema.patterns._errors import PatternError

if TYPE_CHECKING:
    from pyoperator.schema.patterns._code_points import CodePoints

_DIGITS = listed(["09"])
_SPACES = listed(["\t\n", "\f\r", " "])
_WORD = listed(["09", "AZ", "az", "_"])
_PERL = {"d": _DIGITS, "s": _SPACES, "w": _WORD}
_POSIX = {
    "alnum": listed(["09", "AZ", "az"]), "alpha": listed(["AZ", "az"]), "ascii": listed(["\x00\x7f"]),
    "blank": listed(["\t", " "]), "cntrl": listed(["\x00\x1f", "\x7f"]), "digit": _DIGITS, "graph": listed(["!~"]),
    "lower": listed(["az"]), "print": listed([" ~"]), "punct": listed(["!/", ":@", "[`", "{~"]),
    "space": listed(["\t\r", " "]), "upper": listed(["AZ"]), "word": _WORD, "xdigit": listed(["09", "AF", "af"]),
}  # fmt: skip
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_HEX = frozenset("0123456789abcdefABCDEF")
_OCTAL = frozenset("01234567")


def class_escape(pattern: str, start: int, *, fold: bool) -> tuple[CodePoints, int] | None:
    r"""Read ``\d``, ``\pL``, ``\p{Greek}`` and the like at ``start``; return the set and where it ends, None for others.

    Perl's classes are ASCII. Negated ones are folded first, so that a case of a letter is never outside and inside.
    """
    letter = pattern[start + 1 : start + 2] if pattern[start : start + 1] == "\\" else ""
    if letter in ("p", "P"):
        return _unicode_class(pattern, start, fold=fold)
    points = _PERL.get(letter.lower()) if letter.isascii() else None
    if points is None:
        return None
    return _group(points, negated=letter.isupper(), fold=fold), start + 2


def _group(points: CodePoints, *, negated: bool, fold: bool) -> CodePoints:
    points = folded(points) if fold else points
    return complement(points) if negated else points


def _unicode_class(pattern: str, start: int, *, fold: bool) -> tuple[CodePoints, int]:
    end = start + 3
    name = pattern[start + 2 : end]
    if name == "{":
        close = pattern.find("}", start)
        if close < 0:
            raise PatternError(_errors.INVALID_CLASS_RANGE, pattern[start:])
        end = close + 1
        name = pattern[start + 3 : close]
    negated = (pattern[start + 1] == "P") != name.startswith("^")
    points = named(name.removeprefix("^"), fold=fold)
    if points is None:
        raise PatternError(_errors.INVALID_CLASS_RANGE, pattern[start:end])
    return (complement(points) if negated else points), end


def character_escape(pattern: str, start: int) -> tuple[int, int]:
    """Read an escape for one character; return its code point and where the escape ends."""
    at = start + 1
    if at >= len(pattern):
        raise PatternError(_errors.TRAILING_BACKSLASH, "")
    char = pattern[at]
    at += 1
    if char in _CONTROLS:
        return _CONTROLS[char], at
    if char == "x":
        return _hexadecimal(pattern, start, at)
    # One digit other than 0 would be a backreference, which no linear matching can do.
    if char == "0" or (char in _OCTAL and pattern[at : at + 1] in _OCTAL):
        end = at
        while end < at + 2 and pattern[end : end + 1] in _OCTAL:
            end += 1
        return int(pattern[at - 1 : end], 8), end
    if char.isascii() and not char.isalnum():
        return ord(char), at
    raise PatternError(_errors.INVALID_ESCAPE, pattern[start:at])


def _hexadecimal(pattern: str, start: int, at: int) -> tuple[int, int]:
    if pattern[at : at + 1] != "{":
        digits = pattern[at : at + 2]
        if len(digits) < 2 or not _HEX.issuperset(digits):
            raise PatternError(_errors.INVALID_ESCAPE, pattern[start : at + 2])
        return int(digits, 16), at + 2
    at += 1
    first, value = at, 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "}" and at > first + 1:
            return value, at
        if char not in _HEX:
            break
        value = value * 16 + int(char, 16)
        if value > LAST:
            break
    raise PatternError(_errors.INVALID_ESCAPE, pattern[start:at])


def bracket_class(pattern: str, start: int, *, fold: bool) -> tuple[CodePoints, int]:
    """Read the class that opens at ``start``; return its set and where it ends."""
    at = start + 1
    negated = pattern[at : at + 1] == "^"
    at += negated
    first = at
    members: list[CodePoints] = []
    while at == first or pattern[at : at + 1] != "]":  # a ] right at the beginning is one of the members
        found = _posix_class(pattern, at, fold=fold) or class_escape(pattern, at, fold=fold)
        if found is None:
            found = _range(pattern, at, start, fold=fold)
        points, at = found
        members.append(points)
    points = union(members)
    return complement(points) if negated else points, at + 1


def _posix_class(pattern: str, start: int, *, fold: bool) -> tuple[CodePoints, int] | None:
    close = pattern.find(":]", start + 2) if pattern.startswith("[:", start) else -1
    if close < 0:
        return None
    name = pattern[start + 2 : close]
    points = _POSIX.get(name.removeprefix("^"))
    if points is None:
        raise PatternError(_errors.INVALID_CLASS_RANGE, pattern[start : close + 2])
    return _group(points, negated=name.startswith("^"), fold=fold), close + 2


def _range(pattern: str, start: int, opening: int, *, fold: bool) -> tuple[CodePoints, int]:
    low, at = _member(pattern, start, opening)
    high = low
    if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
        high, at = _member(pattern, at + 1, opening)
        if high < low:
            raise PatternError(_errors.INVALID_CLASS_RANGE, pattern[start:at])
    points = span(low, high)
    return folded(points) if fold else points, at


def _member(pattern: str, start: int, opening: int) -> tuple[int, int]:
    if start >= len(pattern):
        raise PatternError(_errors.MISSING_BRACKET, pattern[opening:])
    if pattern[start] == "\\":
        return character_escape(pattern, start)
    return ord(pattern[start]), start + 1
