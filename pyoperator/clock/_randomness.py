"""One injected source of randomness: seeded in tests, from the operating system otherwise."""

from __future__ import annotations

import random
import uuid


class Randomness(random.Random):
    """``random.Random`` that also makes UUIDs; without a seed it is seeded from the operating system.

    Not for secrets: use the ``secrets`` module for passwords, tokens and keys.
    """

    def uuid(self) -> str:
        """Return a random (version 4) UUID in its usual text form."""
        return str(uuid.UUID(int=self.getrandbits(128), version=4))

    def jitter(self, value: float, factor: float) -> float:
        """Return ``value`` stretched by a random part of ``factor``: uniform in [value, value * (1 + factor))."""
        return value * (1.0 + factor * self.random())
