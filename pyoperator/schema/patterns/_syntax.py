"""The parts of a parsed pattern, and what each costs, by which Go's ``regexp`` bounds a pattern."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pyoperator.schema.patterns._code_points import CodePoints


class Cost(NamedTuple):
    """Instructions when written out, levels of nesting, and how many copies counted repetitions make of one part."""

    instructions: int = 1
    height: int = 1
    copies: int = 1


_SIMPLE = Cost()


class Assertion(enum.Enum):
    """A condition on a place between two characters."""

    TEXT_BEGINS = r"\A"
    TEXT_ENDS = r"\z"
    LINE_BEGINS = "(?m)^"
    LINE_ENDS = "(?m)$"
    WORD_BOUNDARY = r"\b"
    NO_WORD_BOUNDARY = r"\B"


@dataclass(frozen=True, slots=True, eq=False)
class Empty:
    """Matches nothing, everywhere."""

    cost: Cost = _SIMPLE


@dataclass(frozen=True, slots=True, eq=False)
class One:
    """One character out of a set; a ``letter`` was written as such."""

    points: CodePoints
    letter: bool = False
    cost: Cost = _SIMPLE


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    assertion: Assertion
    cost: Cost = _SIMPLE


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """One after the other; a ``group`` of its own if it was in parentheses that capture."""

    parts: tuple[Node, ...]
    cost: Cost
    group: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    options: tuple[Node, ...]
    cost: Cost


@dataclass(frozen=True, slots=True, eq=False)
class Repetition:
    """``least`` to ``most`` times; None is without end. Greedy or not is the same to who asks only whether there is a match."""

    part: Node
    least: int
    most: int | None
    cost: Cost


Node: TypeAlias = Empty | One | Place | Sequence | Choice | Repetition


class Tree(NamedTuple):
    """A whole pattern: its root, the assertions in it, and every edge of its sets (see ``_code_points``), in order."""

    root: Node
    assertions: frozenset[Assertion]
    edges: tuple[int, ...]


def sequence(parts: list[Node]) -> Node:
    if not parts:
        return Empty()
    if len(parts) == 1:
        return parts[0]
    text = all(isinstance(part, One) and part.letter for part in parts)
    # What stands in (?:...) counts as if it stood there without; it is not unwrapped, which would take a square of steps.
    height = 1 if text else 1 + max(_height_inside(part, Sequence) for part in parts)
    size = sum(part.cost.instructions for part in parts)
    return Sequence(tuple(parts), Cost(size, height, max(part.cost.copies for part in parts)))


def choice(options: list[Node]) -> Node:
    if len(options) == 1:
        return options[0]
    size = sum(option.cost.instructions for option in options) + len(options) - 1
    height = 1 + max(_height_inside(option, Choice) for option in options)
    return Choice(tuple(options), Cost(size, height, max(option.cost.copies for option in options)))


def _height_inside(node: Node, kind: type[Node]) -> int:
    same = isinstance(node, kind) and not (isinstance(node, Sequence) and node.group)
    return max(1, node.cost.height - same)


def captured(node: Node) -> Node:
    return Sequence((node,), Cost(2 + node.cost.instructions, 1 + node.cost.height, node.cost.copies), group=True)


def repetition(part: Node, operator: str, least: int, most: int | None) -> Repetition:
    """Repeat a part; only counts in braces multiply copies, as nothing else is written out."""
    size, height, copies = part.cost
    if operator != "{":
        return Repetition(part, least, most, Cost(size + (2 if operator == "*" else 1), 1 + height, copies))
    if most is None:
        written = least * size + 1 if least else size + 2
        return Repetition(part, least, most, Cost(written, 1 + height, max(1, least) * copies))
    written = max(1, most * size + most - least)
    return Repetition(part, least, most, Cost(written, 1 + height, most * copies if most else 1))
