"""Go's grammar of regular expressions (``regexp/syntax`` with its Perl flags, as ``regexp.Compile`` sets them).

The grammar is followed to the letter, in what it refuses and in which words, since the words end up in a server's answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pyoperator.schema.patterns import _errors
from pyoperator.schema.patterns._code_points import ANYTHING, CodePoints, complement, folded, span
from pyoperator.schema.patterns._errors import PatternError
from pyoperator.schema.patterns._escapes import bracket_class, character_escape, class_escape
from pyoperator.schema.patterns._syntax import (
    Assertion,
    Node,
    One,
    Place,
    Tree,
    captured,
    choice,
    repetition,
    sequence,
)

# Go's own bounds: copies that nested counts may make together, levels, instructions, and edges of classes.
_MOST_COPIES = 1000
_MOST_LEVELS = 1000
_MOST_INSTRUCTIONS = 128 * 2**20 // 40
_MOST_EDGES = 128 * 2**20 // 4

_NO_NEWLINE = complement(span(10, 10))
_PLACES = {
    "A": Assertion.TEXT_BEGINS,
    "z": Assertion.TEXT_ENDS,
    "b": Assertion.WORD_BOUNDARY,
    "B": Assertion.NO_WORD_BOUNDARY,
}
_COUNTS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_DIGITS = frozenset("0123456789")
_WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class _Flags:
    """What ``(?i)``, ``(?m)`` and ``(?s)`` switch; U swaps greedy and not, which no answer here depends on."""

    i: bool = False
    m: bool = False
    s: bool = False
    U: bool = False


@dataclass(slots=True)
class _Group:
    """An open parenthesis: the flags to go back to, and what is read so far."""

    outer: _Flags
    captures: bool
    options: list[Node] = field(default_factory=list)
    parts: list[Node] = field(default_factory=list)


def parse(pattern: str) -> Tree:
    """Return the tree of a pattern; raises PatternError with the words of Go's ``regexp``."""
    parser = _Parser(pattern)
    return Tree(parser.parse(), frozenset(parser.assertions), tuple(sorted(parser.edges)))


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._flags = _Flags()
        self._groups = [_Group(self._flags, captures=False)]
        self.assertions: set[Assertion] = set()
        self.edges: set[int] = set()
        self._edges_written = 0
        # Where a repetition operator that ends right here began: another one may not follow it.
        self._repeated: int | None = None

    def parse(self) -> Node:
        pattern = self._pattern
        while self._at < len(pattern):
            char = pattern[self._at]
            before = self._at
            if char in _COUNTS or char == "{":
                repeated = self._repetition(char)
            else:
                self._part(char)
                repeated = False
            self._repeated = (self._repeated if self._repeated is not None else before) if repeated else None
        if len(self._groups) > 1:
            raise PatternError(_errors.MISSING_PARENTHESIS, pattern)
        return self._closed(self._groups[0])

    def _part(self, char: str) -> None:
        match char:
            case "(":
                self._open()
            case ")":
                self._close()
            case "|":
                group = self._groups[-1]
                group.options.append(self._bounded(sequence(group.parts)))
                group.parts = []
                self._at += 1
            case "[":
                points, self._at = bracket_class(self._pattern, self._at, fold=self._flags.i)
                self._class(points)
            case "\\":
                self._escape()
            case ".":
                self._class(ANYTHING if self._flags.s else _NO_NEWLINE)
                self._at += 1
            case "^":
                self._place(Assertion.LINE_BEGINS if self._flags.m else Assertion.TEXT_BEGINS)
                self._at += 1
            case "$":
                self._place(Assertion.LINE_ENDS if self._flags.m else Assertion.TEXT_ENDS)
                self._at += 1
            case _:
                self._letter(ord(char))
                self._at += 1

    def _push(self, node: Node) -> None:
        self._groups[-1].parts.append(node)

    def _place(self, assertion: Assertion) -> None:
        self.assertions.add(assertion)
        self._push(Place(assertion))

    def _letter(self, code: int) -> None:
        points = span(code, code)
        points = folded(points) if self._flags.i else points
        self.edges.update(points)
        self._push(One(points, letter=True))

    def _class(self, points: CodePoints) -> None:
        self._edges_written += len(points)
        if self._edges_written > _MOST_EDGES:
            raise PatternError(_errors.TOO_LARGE, self._pattern)
        self.edges.update(points)
        self._push(One(points))

    def _escape(self) -> None:
        pattern, at = self._pattern, self._at
        letter = pattern[at + 1 : at + 2]
        if letter in _PLACES:
            self._place(_PLACES[letter])
            self._at += 2
        elif letter == "Q":
            end = pattern.find(r"\E", at + 2)
            for char in pattern[at + 2 : end if end >= 0 else None]:
                self._letter(ord(char))
            self._at = end + 2 if end >= 0 else len(pattern)
        elif (found := class_escape(pattern, at, fold=self._flags.i)) is not None:
            points, self._at = found
            self._class(points)
        else:
            code, self._at = character_escape(pattern, at)
            self._letter(code)

    def _repetition(self, char: str) -> bool:
        """Read a repetition operator; a ``{`` that begins no count is a letter, and False is returned."""
        pattern, start = self._pattern, self._at
        count = self._count(start) if char == "{" else (*_COUNTS[char], start + 1)
        if count is None:
            self._letter(ord(char))
            self._at += 1
            return False
        least, most, end = count
        if least > _MOST_COPIES or (most is not None and (most > _MOST_COPIES or least > most)):
            raise PatternError(_errors.INVALID_REPEAT_COUNT, pattern[start:end])
        end += pattern[end : end + 1] == "?"
        if self._repeated is not None:
            raise PatternError(_errors.INVALID_NESTED_REPETITION, pattern[self._repeated : end])
        parts = self._groups[-1].parts
        if not parts:
            raise PatternError(_errors.MISSING_REPEAT_ARGUMENT, pattern[start:end])
        repeated = repetition(parts.pop(), char, least, most)
        self._push(self._bounded(repeated))
        if repeated.cost.copies > _MOST_COPIES:
            raise PatternError(_errors.INVALID_REPEAT_COUNT, pattern[start:end])
        self._at = end
        return True

    def _count(self, start: int) -> tuple[int, int | None, int] | None:
        """Read ``{2}``, ``{2,}`` or ``{2,5}``: least, most, end; None if it is nothing of the kind."""
        least, at = self._number(start + 1)
        if least is None:
            return None
        most: int | None = least
        if self._pattern[at : at + 1] == ",":
            at += 1
            if self._pattern[at : at + 1] == "}":
                return least, None, at + 1
            most, at = self._number(at)
            if most is None:
                return None
        return (least, most, at + 1) if self._pattern[at : at + 1] == "}" else None

    def _number(self, start: int) -> tuple[int | None, int]:
        end = start
        while self._pattern[end : end + 1] in _DIGITS:
            end += 1
        digits = self._pattern[start:end]
        if not digits or (len(digits) > 1 and digits[0] == "0"):
            return None, end
        # All that is too large is the same, and Python refuses to read very long numbers.
        return int(digits[:9]), end

    def _open(self) -> None:
        pattern, start = self._pattern, self._at
        if not pattern.startswith("(?", start):
            self._groups.append(_Group(self._flags, captures=True))
            self._at += 1
        elif pattern.startswith("(?P<", start) and len(pattern) > start + 4:
            self._name(start + 4)
        elif pattern.startswith("(?<", start) and len(pattern) > start + 3:
            self._name(start + 3)
        else:
            self._switch()

    def _name(self, begin: int) -> None:
        pattern, start = self._pattern, self._at
        end = pattern.find(">", start)
        if end < 0:
            raise PatternError(_errors.INVALID_GROUP_NAME, pattern[start:])
        name = pattern[begin:end]
        if not name or not _WORD.issuperset(name):
            raise PatternError(_errors.INVALID_GROUP_NAME, pattern[start : end + 1])
        self._groups.append(_Group(self._flags, captures=True))
        self._at = end + 1

    def _switch(self) -> None:
        """Read ``(?i)``, ``(?-s:`` and the like: flags from here to the end of the group, or for a group of their own."""
        pattern, start = self._pattern, self._at
        at = start + 2
        flags, on, named = self._flags, True, False
        while at < len(pattern):
            char = pattern[at]
            at += 1
            if char in ("i", "m", "s", "U"):
                flags = replace(flags, **{char: on})
                named = True
            elif char == "-" and on:
                on = named = False
            elif char in (":", ")") and (on or named):
                if char == ":":
                    self._groups.append(_Group(self._flags, captures=False))
                self._flags = flags
                self._at = at
                return
            else:
                break
        raise PatternError(_errors.INVALID_PERL_SYNTAX, pattern[start:at])

    def _close(self) -> None:
        if len(self._groups) == 1:
            raise PatternError(_errors.UNEXPECTED_PARENTHESIS, self._pattern)
        group = self._groups.pop()
        self._flags = group.outer
        node = self._closed(group)
        self._push(self._bounded(captured(node)) if group.captures else node)
        self._at += 1

    def _closed(self, group: _Group) -> Node:
        return self._bounded(choice([*group.options, self._bounded(sequence(group.parts))]))

    def _bounded(self, node: Node) -> Node:
        if node.cost.instructions > _MOST_INSTRUCTIONS:
            raise PatternError(_errors.TOO_LARGE, self._pattern)
        if node.cost.height > _MOST_LEVELS:
            raise PatternError(_errors.TOO_DEEP, self._pattern)
        return node
