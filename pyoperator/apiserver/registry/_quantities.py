"""Quantities in the canonical form in which the server writes them back."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from functools import lru_cache

from pyoperator.objects import Quantity

_BINARY = (("Ei", 2**60), ("Pi", 2**50), ("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_DECIMAL = ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "u"), (-9, "n"))


@lru_cache(maxsize=1024)
def canonical_quantity(text: str) -> str:
    """Return ``1`` for ``1000m``, ``1536Mi`` for ``1.5Gi``; the family of the suffix stays. Raises ValueError."""
    quantity = Quantity(text)
    value = quantity.value
    if value == 0:
        return "0"
    if text.endswith("i"):
        if value == value.to_integral_value() and abs(value) >= 1024:
            whole = int(value)
            for suffix, size in _BINARY:
                if whole % size == 0:
                    return f"{whole // size}{suffix}"
            return str(whole)
        if value == value.to_integral_value():
            return str(int(value))
    exponent_form = text[-1].isdigit() and ("e" in text or "E" in text)
    value = value.quantize(Decimal("1e-9"), rounding=ROUND_UP).normalize()
    for power, suffix in _DECIMAL:
        scaled = value.scaleb(-power)
        if scaled == scaled.to_integral_value():
            number = str(int(scaled))
            if exponent_form:
                return f"{number}e{power}" if power else number
            return f"{number}{suffix}"
    raise ValueError(f"{text!r} is finer than a billionth, the smallest part of a quantity")
