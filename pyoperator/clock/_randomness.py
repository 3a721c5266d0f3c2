"""One injected source of randomness: seeded in tests, from the operating system otherwise."""

from __future__ import annotations

import random

_VERSION_4 = 0x4 << 76 | 0x8 << 60
_CHANCE = ~(0xF << 76 | 0xC << 60) & (1 << 128) - 1


class Randomness(random.Random):
    """``random.Random`` that also makes UUIDs; without a seed it is seeded from the operating system.

    Not for secrets: use the ``secrets`` module for passwords, tokens and keys.
    """

    def uuid(self) -> str:
        """Return a random (version 4) UUID in its usual text form."""
        # The same as str(uuid.UUID(int=..., version=4)), at a third of its cost: each answer of a server carries one.
        digits = f"{self.getrandbits(128) & _CHANCE | _VERSION_4:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def jitter(self, value: float, factor: float) -> float:
        """Return ``value`` stretched by a random part of ``factor``: uniform in [value, value * (1 + factor))."""
        return value * (1.0 + factor * self.random())
