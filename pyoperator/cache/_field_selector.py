"""Field selectors: the grammar of ``kubectl --field-selector``, as far as indexes can answer it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pyoperator.cache._errors import SelectorError

NAME: Final = "metadata.name"
NAMESPACE: Final = "metadata.namespace"
BUILT_IN: Final = frozenset({NAME, NAMESPACE})

# A term ends at a comma that no backslash precedes; a value may hold \\, \, and \= .
_TERM = re.compile(r"(?:[^\\,]|\\.|\\\Z)*", re.DOTALL)
_PARTS = re.compile(r"(?P<field>[^=!]*)(?P<operator>==|!=|=)(?P<value>.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms that must all be met: ``equal`` holds (field path, value) pairs, ``unequal`` those of ``!=``."""

    equal: tuple[tuple[str, str], ...] = ()
    unequal: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """Read ``spec.nodeName=a,metadata.namespace!=b``; raises SelectorError that says what is wrong."""
        equal: list[tuple[str, str]] = []
        unequal: list[tuple[str, str]] = []
        position = 0
        while position <= len(text):
            match = _TERM.match(text, position)
            term = match[0] if match is not None else ""
            position += len(term) + 1
            if not term:
                continue  # as the server does
            parts = _PARTS.fullmatch(term)
            if parts is None or not parts["field"]:
                raise SelectorError(f"field selector {text!r}: {term!r} is not of the form field=value or field!=value")
            pair = (parts["field"], _unescaped(text, parts["value"]))
            (unequal if parts["operator"] == "!=" else equal).append(pair)
        return cls(tuple(dict.fromkeys(equal)), tuple(dict.fromkeys(unequal)))

    def without(self, held: FieldSelector) -> FieldSelector | None:
        """Return the terms beyond ``held``'s; None if ``held`` has one that is not asked for here."""
        if not (set(held.equal) <= set(self.equal) and set(held.unequal) <= set(self.unequal)):
            return None
        return FieldSelector(
            tuple(pair for pair in self.equal if pair not in held.equal),
            tuple(pair for pair in self.unequal if pair not in held.unequal),
        )

    def __str__(self) -> str:
        return ",".join(
            f"{field}{operator}{_escaped(value)}"
            for operator, pairs in (("=", self.equal), ("!=", self.unequal))
            for field, value in pairs
        )


def _unescaped(text: str, value: str) -> str:
    if re.search(r"(?<!\\)(?:\\\\)*=", value):
        raise SelectorError(f"field selector {text!r}: '=' in the value {value!r} must be written '\\='")
    for match in _ESCAPE.finditer(value):
        if match[1] not in ("\\", ",", "="):
            raise SelectorError(f"field selector {text!r}: a backslash stands before '\\', ',' or '=' only")
    return _ESCAPE.sub(lambda match: str(match[1]), value)


def _escaped(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)
