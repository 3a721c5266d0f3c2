"""Does a pattern match somewhere in a text? In time that grows with the text's length, whatever the pattern is.

All ways through the pattern are followed side by side, one character at a time. Which ways are open is a *state*; states
and where each character leads are worked out when first met and kept, so that a text that resembles an earlier one costs
one look-up per character. Counted repetitions are not written out in advance: ``x{1000}`` becomes what a text needs of it.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from typing import TYPE_CHECKING

from pyoperator.schema.patterns._code_points import contains
from pyoperator.schema.patterns._errors import PatternTooCostlyError
from pyoperator.schema.patterns._syntax import Assertion, Choice, One, Place, Repetition, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.schema.patterns._syntax import Node, Tree

# Entries that one pattern may keep (about 100 bytes each) before it forgets all and starts over.
_MOST_KEPT = 50_000
# Steps that one text may take where nothing is kept yet: some seconds of a core.
_MOST_STEPS = 5_000_000
_REPLACEMENT = 0xFFFD


class _Side(enum.Enum):
    """What stands on one side of a place between characters, as far as assertions tell it apart."""

    EDGE = enum.auto()
    NEWLINE = enum.auto()
    WORD = enum.auto()
    OTHER = enum.auto()


_LINE = frozenset({Assertion.LINE_BEGINS, Assertion.LINE_ENDS})
_BOUNDARY = frozenset({Assertion.WORD_BOUNDARY, Assertion.NO_WORD_BOUNDARY})
_LINE_EDGES = (10, 11)
_WORD_EDGES = (0x30, 0x3A, 0x41, 0x5B, 0x5F, 0x60, 0x61, 0x7B)


def _holds(assertion: Assertion, before: _Side, after: _Side) -> bool:
    match assertion:
        case Assertion.TEXT_BEGINS:
            return before is _Side.EDGE
        case Assertion.TEXT_ENDS:
            return after is _Side.EDGE
        case Assertion.LINE_BEGINS:
            return before in (_Side.EDGE, _Side.NEWLINE)
        case Assertion.LINE_ENDS:
            return after in (_Side.EDGE, _Side.NEWLINE)
        case Assertion.WORD_BOUNDARY:
            return (before is _Side.WORD) != (after is _Side.WORD)
    return (before is _Side.WORD) == (after is _Side.WORD)


class _Goal:
    """What is still to be matched: a node, and then another goal; without a node it is the end of the pattern."""

    __slots__ = ("node", "onward", "then")

    def __init__(self, node: Node | None, then: _Goal | None) -> None:
        self.node = node
        self.then = then
        # The goals that it comes down to without reading a character; found when first needed.
        self.onward: tuple[_Goal, ...] | None = None


class _State(dict[str, "_State"]):
    """The goals that are open after some characters, and for each next character the state that follows."""

    __slots__ = ("_automaton", "_before", "_by_interval", "_goals", "_open", "settled")

    def __init__(self, automaton: Automaton, goals: frozenset[_Goal], before: _Side, *, settled: bool = False) -> None:
        super().__init__()
        self._automaton = automaton
        self._goals = goals
        self._before = before
        self._by_interval: dict[int, _State] = {}
        self._open: dict[_Side, tuple[_Goal, ...] | None] = {}
        # No further character changes the answer.
        self.settled = settled

    def __missing__(self, char: str) -> _State:
        # A lone surrogate is no character: a server reads it as the replacement character.
        code = ord(char) if not "\ud800" <= char <= "\udfff" else _REPLACEMENT
        interval = bisect_right(self._automaton.edges, code)
        following = self._by_interval.get(interval)
        if following is None:
            following = self._by_interval[interval] = self._follow(code)
        self[char] = following
        self._automaton.kept(1)
        return following

    def __repr__(self) -> str:
        # States refer to each other: that of a dict would not end.
        return f"<state of {len(self._goals)} goals, {len(self)} characters known>"

    def _follow(self, code: int) -> _State:
        automaton = self._automaton
        side = automaton.side_of(code)
        goals = self._reached(side)
        if goals is None:
            return automaton.matched
        following = {goal.then for goal in goals if isinstance(goal.node, One) and contains(goal.node.points, code)}
        return automaton.state({goal for goal in following if goal is not None}, side)

    def matches_at_end(self) -> bool:
        return self._reached(_Side.EDGE) is None

    def _reached(self, after: _Side) -> tuple[_Goal, ...] | None:
        """Return the goals that read a character, if ``after`` follows; None if the pattern is through."""
        if after not in self._open:
            self._open[after] = self._automaton.reach(self._goals, self._before, after)
        return self._open[after]


class Automaton:
    """A pattern ready to be searched for; not for several threads at a time."""

    def __init__(self, tree: Tree) -> None:
        self._lines = bool(tree.assertions & _LINE)
        self._words = bool(tree.assertions & _BOUNDARY)
        more = (*(_LINE_EDGES if self._lines else ()), *(_WORD_EDGES if self._words else ()))
        # Between two edges all characters are alike to this pattern.
        self.edges = sorted({*tree.edges, *more})
        self._root = tree.root
        self._steps = 0
        self._forget()
        self.matched = _State(self, frozenset(), _Side.OTHER, settled=True)
        self._failed = _State(self, frozenset(), _Side.OTHER, settled=True)

    def search(self, text: str) -> bool:
        """Tell whether there is a match; raises PatternTooCostlyError."""
        self._steps = 0
        if len(self._goals) > _MOST_KEPT:
            self._forget()
        elif self._kept > _MOST_KEPT:
            self._forget_states()
        state = self._start
        for char in text:
            state = state[char]
            if state.settled:
                return state is self.matched
        return state is self.matched or state.matches_at_end()

    def kept(self, entries: int) -> None:
        self._kept += entries

    def side_of(self, code: int) -> _Side:
        if self._lines and code == 10:
            return _Side.NEWLINE
        # The eight edges of [0-9A-Z_a-z]: inside is behind an odd number of them.
        if self._words and contains(_WORD_EDGES, code):
            return _Side.WORD
        return _Side.OTHER

    def state(self, goals: set[_Goal], before: _Side) -> _State:
        if self._kept > _MOST_KEPT:
            self._forget_states()
        goals |= self._anew
        if not goals:
            return self._failed
        key = (frozenset(goals), before)
        found = self._states.get(key)
        if found is None:
            found = self._states[key] = _State(self, *key)
            self.kept(len(goals) + 8)
        return found

    def _forget(self) -> None:
        self._goals: dict[tuple[Node, _Goal], _Goal] = {}
        self._fewer: dict[Repetition, Repetition] = {}
        self._first = self._goal(self._root, _Goal(None, None))
        # A match may begin at every character, unless the pattern can only begin where the text does.
        self._anew = frozenset({self._first}) if self._begins_anywhere(self._first) else frozenset()
        self._forget_states()

    def _forget_states(self) -> None:
        """Forget states alone, as in the midst of a text: goals made anew would not be those that are open."""
        self._kept = 0
        self._states: dict[tuple[frozenset[_Goal], _Side], _State] = {}
        self._start = _State(self, frozenset({self._first}), _Side.EDGE)

    def _goal(self, node: Node, then: _Goal) -> _Goal:
        key = (node, then)
        found = self._goals.get(key)
        if found is None:
            found = self._goals[key] = _Goal(node, then)
        return found

    def reach(self, goals: Iterable[_Goal], before: _Side, after: _Side) -> tuple[_Goal, ...] | None:
        """Follow goals up to those that read a character; None if one comes to the end of the pattern."""
        pending = list(goals)
        seen = set(pending)
        readers: list[_Goal] = []
        while pending:
            goal = pending.pop()
            node = goal.node
            if node is None:
                return None
            if isinstance(node, One):
                readers.append(goal)
                continue
            if isinstance(node, Place) and not _holds(node.assertion, before, after):
                continue
            onward = goal.onward if goal.onward is not None else self._onward(goal)
            for entry in onward:
                if entry not in seen:
                    seen.add(entry)
                    pending.append(entry)
        self._steps += len(seen)
        if self._steps > _MOST_STEPS:
            raise PatternTooCostlyError(
                "finding out whether the pattern matches takes more steps than the server may stand still for: "
                "write fewer repetitions inside repetitions"
            )
        return tuple(readers)

    def _onward(self, goal: _Goal) -> tuple[_Goal, ...]:
        node, then = goal.node, goal.then
        if node is None or then is None:
            return ()
        if isinstance(node, Sequence):
            for part in reversed(node.parts):
                then = self._goal(part, then)
            goal.onward = (then,)
        elif isinstance(node, Choice):
            goal.onward = tuple(self._goal(option, then) for option in node.options)
        elif isinstance(node, Repetition):
            goal.onward = self._repeated(goal, node, then)
        else:
            goal.onward = (then,)
        return goal.onward

    def _repeated(self, goal: _Goal, node: Repetition, then: _Goal) -> tuple[_Goal, ...]:
        if node.most == 0:
            return (then,)
        if node.least == 0 and node.most is None:
            return (then, self._goal(node.part, goal))
        again = self._goal(node.part, self._goal(self._one_fewer(node), then))
        return (again,) if node.least else (then, again)

    def _one_fewer(self, node: Repetition) -> Repetition:
        found = self._fewer.get(node)
        if found is None:
            most = None if node.most is None else node.most - 1
            found = self._fewer[node] = Repetition(node.part, max(0, node.least - 1), most, node.cost)
        return found

    def _begins_anywhere(self, first: _Goal) -> bool:
        pending, seen = [first], {first}
        while pending:
            goal = pending.pop()
            if goal.node is None or isinstance(goal.node, One):
                return True
            if isinstance(goal.node, Place) and goal.node.assertion is Assertion.TEXT_BEGINS:
                continue
            for entry in self._onward(goal):
                if entry not in seen:
                    seen.add(entry)
                    pending.append(entry)
        return False
