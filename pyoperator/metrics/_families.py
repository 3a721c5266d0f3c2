"""Metrics as data, before any library sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias


class Histogram(Protocol):
    """What a room's histogram record looks like, whoever made it.

    ``counts[i]`` observations were <= ``bounds[i]`` and above the bound before it (not cumulative); ``counts`` has one
    more element than ``bounds``, for what exceeds the last. ``total`` is the sum of all observations, in the family's
    unit.
    """

    @property
    def bounds(self) -> Sequence[float]: ...
    @property
    def counts(self) -> Sequence[int]: ...
    @property
    def total(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a family: label values in the order of the family's label names, and the value."""

    labels: tuple[str, ...]
    value: float | Histogram


@dataclass(frozen=True, slots=True)
class Family:
    """All series of one name. A counter's name ends in ``_total`` as it is exposed."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    label_names: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


Source: TypeAlias = Callable[[], Iterable[Family]]
"""Asked at each scrape, on the work loop; must not block. Two sources may give series of one family."""
