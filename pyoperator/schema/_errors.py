"""One fault of one field, worded as the API server words it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class FieldError:
    """A cause of a 422: where, which sort of fault (``FieldValueInvalid``, ...), and what to say about it.

    ``message`` is without the field's path, as in the Status' causes; ``str()`` puts the path in front, as in the
    Status' message.
    """

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def cause(self) -> dict[str, str]:
        """Return the entry for ``details.causes`` of a Status."""
        return {"reason": self.reason, "message": self.message, "field": self.field}

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> FieldError:
        return cls(field, "FieldValueInvalid", f"Invalid value: {show(value)}: {detail}")

    @classmethod
    def type_invalid(cls, field: str, value: Any, detail: str) -> FieldError:
        return cls(field, "FieldValueTypeInvalid", f"Invalid value: {show(value)}: {detail}")

    @classmethod
    def required(cls, field: str, detail: str = "") -> FieldError:
        return cls(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")

    @classmethod
    def forbidden(cls, field: str, detail: str) -> FieldError:
        return cls(field, "FieldValueForbidden", f"Forbidden: {detail}")

    @classmethod
    def duplicate(cls, field: str, value: Any) -> FieldError:
        return cls(field, "FieldValueDuplicate", f"Duplicate value: {show(value)}")

    @classmethod
    def not_supported(cls, field: str, value: Any, supported: Iterable[Any]) -> FieldError:
        options = ", ".join(show(option) for option in supported)
        return cls(field, "FieldValueNotSupported", f"Unsupported value: {show(value)}: supported values: {options}")

    @classmethod
    def too_long(cls, field: str, limit: int) -> FieldError:
        return cls(field, "FieldValueTooLong", f"Too long: may not be more than {_count(limit, 'byte')}")

    @classmethod
    def too_many(cls, field: str, count: int, limit: int) -> FieldError:
        return cls(field, "FieldValueTooMany", f"Too many: {count}: must have at most {_count(limit, 'item')}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def show(value: Any) -> str:
    """Render a value as it appears in the server's messages: JSON, numbers and words bare."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
