"""Label selectors: the grammar of ``kubectl -l``, parsed once and matched often."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pyoperator.cache._errors import SelectorError

if TYPE_CHECKING:
    from collections.abc import Mapping

Operator = Literal["in", "notin", "exists", "!", ">", "<"]

_TOKEN = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_SPECIAL: Final = frozenset("=!<>(),") | {"==", "!="}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; ``values`` are sorted and unique."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet it; an absent label meets ``notin`` and ``!``, as in Kubernetes."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                if value is None or not _INTEGER.fullmatch(value):
                    return False
                return int(value) > int(self.values[0]) if self.operator == ">" else int(value) < int(self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case ">" | "<":
                return f"{self.key}{self.operator}{self.values[0]}"
            case "in" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "notin" if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case _:
                return f"{self.key} {self.operator} ({','.join(self.values)})"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that must all be met; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Read ``a=b,c in (x,y),!d``; raises SelectorError that says where and what was expected."""
        return cls(_Parser(text).selector())

    @classmethod
    def of(cls, selector: Mapping[str, Any]) -> LabelSelector:
        """Read a ``metav1.LabelSelector`` (matchLabels, matchExpressions); raises SelectorError."""
        found = [_requirement(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
        names: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
        for expression in selector.get("matchExpressions") or ():
            operator = names.get(expression.get("operator", ""))
            values = tuple(expression.get("values") or ())
            if operator is None:
                raise SelectorError(
                    f"operator {expression.get('operator')!r} is not one of In, NotIn, Exists, DoesNotExist"
                )
            if (operator in ("in", "notin")) != bool(values):
                raise SelectorError(
                    f"{expression.get('key')!r}: In and NotIn need values, Exists and DoesNotExist take none"
                )
            found.append(_requirement(str(expression.get("key", "")), operator, values))
        return cls(tuple(found))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, int]] = []
        position = 0
        while match := _TOKEN.match(text, position):
            self.tokens.append((match[1], match.start(1)))
            position = match.end()
        self.next = 0

    def selector(self) -> tuple[Requirement, ...]:
        if not self.tokens:
            return ()
        found = [self.requirement()]
        while self.peek() == ",":
            self.take()
            found.append(self.requirement())
        if self.peek():
            raise self.fault("',' or the end")
        return tuple(found)

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return _requirement(self.word("a label key after '!'"), "!", ())
        key = self.word("a label key, or '!' and a label key")
        match self.peek():
            case "" | ",":
                return _requirement(key, "exists", ())
            case "=" | "==":
                self.take()
                return _requirement(key, "in", (self.value(),))
            case "!=":
                self.take()
                return _requirement(key, "notin", (self.value(),))
            case (">" | "<") as comparison:
                self.take()
                return _requirement(key, comparison, (self.word("an integer"),))
            case ("in" | "notin") as operator:
                self.take()
                return _requirement(key, operator, self.values())
            case _:
                raise self.fault("one of = == != in notin > < ',' or the end")

    def values(self) -> tuple[str, ...]:
        if self.peek() != "(":
            raise self.fault("'(' and the values")
        self.take()
        found = [self.value()]
        while self.peek() == ",":
            self.take()
            found.append(self.value())
        if self.peek() != ")":
            raise self.fault("',' or ')'")
        self.take()
        return tuple(found)

    def value(self) -> str:
        # An empty value is legal: "a=" and "a in (,b)" select objects whose label is the empty string.
        return "" if not self.peek() or self.peek() in _SPECIAL else self.take()

    def word(self, expected: str) -> str:
        if not self.peek() or self.peek() in _SPECIAL:
            raise self.fault(expected)
        return self.take()

    def peek(self) -> str:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.next += 1
        return token

    def fault(self, expected: str) -> SelectorError:
        if self.next < len(self.tokens):
            token, position = self.tokens[self.next]
            found = f"{token!r} at column {position + 1}"
        else:
            found = "the end"
        return SelectorError(f"label selector {self.text!r}: expected {expected}, found {found}")


def _requirement(key: str, operator: Operator, values: tuple[str, ...]) -> Requirement:
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name) or len(name) > 63:
        raise SelectorError(
            f"label key {key!r}: the name must be 1 - 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends"
        )
    if slash and (not _PREFIX.fullmatch(prefix) or len(prefix) > 253):
        raise SelectorError(
            f"label key {key!r}: the part before '/' must be a lower-case DNS name of at most 253 characters"
        )
    if operator in (">", "<"):
        if not _INTEGER.fullmatch(values[0]):
            raise SelectorError(f"label {key!r}: '{operator}' compares integers, {values[0]!r} is none")
        return Requirement(key, operator, values)
    for value in values:
        if value and (not _NAME.fullmatch(value) or len(value) > 63):
            raise SelectorError(
                f"value {value!r} of label {key!r}: must be empty or at most 63 letters, digits, '-', '_' or '.', "
                "with a letter or digit at both ends"
            )
    return Requirement(key, operator, tuple(sorted(set(values))))
