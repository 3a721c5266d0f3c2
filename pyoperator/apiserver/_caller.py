"""On whose behalf the core works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf an operation runs; ``system`` is the server itself."""

    name: str = ""
    groups: tuple[str, ...] = ()
    system: bool = False
