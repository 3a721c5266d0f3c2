"""Label selectors (equality and set based) and field selectors, parsed once and matched often."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(?:(==|!=|=|!|,|\(|\)|>|<)|([^\s=!,()<>]+))")
_LABEL_NAME = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class SelectorError(ValueError):
    """A selector that can't be read; the message is the one the API server gives."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: ``operator`` is one of in, notin, exists, !, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
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
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        try:
            number, bound = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > bound if self.operator == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


@dataclass(frozen=True, slots=True)
class FieldTerm:
    field: str
    value: str
    equal: bool


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold on an object's selectable fields."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(term.field, "") == term.value) is term.equal for term in self.terms)

    def required(self, field: str) -> str | None:
        """Return the value that the selector demands of ``field``, if it does."""
        return next((term.value for term in self.terms if term.equal and term.field == field), None)

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_label_selector(text: str) -> LabelSelector:
    """Parse ``a=b,c!=d,e in (f,g),!h,i``; raises SelectorError."""
    if not text.strip():
        return LabelSelector()
    return LabelSelector(tuple(_LabelParser(text).parse()))


_OPERATORS = frozenset({"=", "==", "!=", ",", "(", ")", ">", "<"})


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise SelectorError(f"unable to parse requirement: found '{text[position]}', expected: identifier")
            self._tokens.append(match.group(1) or match.group(2))
            position = match.end()
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def parse(self) -> list[Requirement]:
        if self._peek() in _OPERATORS:
            raise SelectorError(f"found '{self._peek()}', expected: !, identifier, or 'end of string'")
        found = [self._requirement()]
        while self._peek() == ",":
            self._next()
            found.append(self._requirement())
        if self._peek():
            raise SelectorError(f"found '{self._peek()}', expected: ',' or 'end of string'")
        return found

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._key(), "!")
        key = self._key()
        operator = self._peek()
        if operator in {"", ","}:
            return Requirement(key, "exists")
        self._next()
        if operator in {"=", "=="}:
            return Requirement(key, "in", frozenset([self._value()]))
        if operator == "!=":
            return Requirement(key, "notin", frozenset([self._value()]))
        if operator in {"in", "notin"}:
            return Requirement(key, operator, self._values())
        if operator in {">", "<"}:
            value = self._value()
            if not value.lstrip("-").isdigit():
                raise SelectorError(
                    f"unable to parse requirement: values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
                )
            return Requirement(key, "gt" if operator == ">" else "lt", frozenset([value]))
        raise SelectorError(f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._next()
        if not key or key in _OPERATORS or key == "!":
            raise SelectorError(f"unable to parse requirement: found '{key}', expected: identifier")
        prefix, slash, name = key.rpartition("/")
        if not _LABEL_NAME.fullmatch(name) or len(name) > 63 or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
            raise SelectorError(
                f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
                "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            )
        return key

    def _value(self) -> str:
        if self._peek() in {"", ","}:
            return ""
        value = self._next()
        if value in {"=", "==", "!=", "(", ")", ">", "<", "!"}:
            raise SelectorError(f"unable to parse requirement: found '{value}', expected: identifier")
        return _checked_value(value)

    def _values(self) -> frozenset[str]:
        opening = self._next()
        if opening != "(":
            raise SelectorError(f"unable to parse requirement: found '{opening}' expected: '('")
        values: list[str] = []
        while True:
            word = self._next()
            if word == ")":
                # An empty entry, as in "(a,)" or "()", is the empty string.
                values.append("")
                break
            if word == ",":
                values.append("")
                continue
            if not word or word in {"(", "=", "==", "!=", ">", "<", "!"}:
                raise SelectorError(f"found '{word}', expected: ',', ')' or identifier")
            values.append(_checked_value(word))
            separator = self._next()
            if separator == ")":
                break
            if separator != ",":
                raise SelectorError(f"found '{separator}', expected: ',' or ')'")
        return frozenset(values)


def _checked_value(value: str) -> str:
    if len(value) > 63 or not _LABEL_NAME.fullmatch(value):
        raise SelectorError(
            f'unable to parse requirement: values[0]: Invalid value: "{value}": a valid label must be an empty string or '
            "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
            "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return value


def parse_field_selector(text: str) -> FieldSelector:
    r"""Parse ``a.b=c,d!=e`` (``\,``, ``\=`` and ``\\`` are escapes); raises SelectorError."""
    terms: list[FieldTerm] = []
    for part in _split_terms(text):
        if not part.strip():
            continue
        for operator in ("!=", "==", "="):
            field, found, value = part.partition(operator)
            if found:
                terms.append(FieldTerm(field.strip(), _unescape(value), operator != "!="))
                break
        else:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
    return FieldSelector(tuple(terms))


def _split_terms(text: str) -> list[str]:
    parts: list[str] = [""]
    escaped = False
    for character in text:
        if character == "," and not escaped:
            parts.append("")
            continue
        parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def _unescape(value: str) -> str:
    out: list[str] = []
    escaped = False
    for character in value:
        if escaped:
            if character not in "\\,=":
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{character}")
            out.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            out.append(character)
    if escaped:
        raise SelectorError("invalid field selector: unterminated escape sequence")
    return "".join(out)
