"""What was measured, what it must not exceed, and in words what it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import linear_regression, median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMED = 3
"""How many of the objects that differ are named; their number is always told."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the operator; ``at`` in seconds since the begin, ``memory_mb`` resident.

    ``connections``: sockets of the process, or open watches where there are no sockets. ``tracked``: Python objects
    that the garbage collector knows, 0 where they were not counted.
    """

    at: float
    memory_mb: float
    tasks: int
    connections: int
    queue: int
    tracked: int = 0


class Level(NamedTuple):
    """What an operator at rest holds: tasks, by what they run, and connections."""

    tasks: Counter[str]
    connections: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of two windows, and the slope of a straight line through everything between them, per hour."""

    first: float
    last: float
    per_hour: float

    @property
    def percent(self) -> float:
        return 100.0 * (self.last - self.first) / self.first if self.first else 0.0

    @property
    def percent_per_hour(self) -> float:
        return 100.0 * self.per_hour / self.first if self.first else 0.0


class State(NamedTuple):
    """One object as the server has it."""

    version: str
    generation: int
    observed: int


@dataclass
class Part:
    """What one part came to; it passed if ``violations`` is empty."""

    name: str
    seconds: float
    objects: int
    limit: float  # percent
    changes: int = 0
    reconciles: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    memory: Growth | None = None
    tracked: Growth | None = None
    rest_before: Level | None = None
    rest_after: Level | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def judge_growth(self, first: Sequence[Sample], last: Sequence[Sample], *, at_rest: bool) -> None:
        """Compare two windows of samples.

        Python objects come and go with the work: their number is judged only if all samples were taken ``at_rest``.
        """
        self.memory = growth(self.samples, first, last, "memory_mb")
        self.violations += exceeds(f"{self.name}: resident memory", self.memory, self.limit, "MB")
        if any(sample.tracked for sample in first) and any(sample.tracked for sample in last):
            self.tracked = growth(self.samples, first, last, "tracked")
            if at_rest:
                self.violations += exceeds(f"{self.name}: Python objects", self.tracked, self.limit, "")

    def judge_rest(self, before: Level, after: Level) -> None:
        """Hold what is there at rest, at the end, against what was there at rest after the warm-up."""
        self.rest_before, self.rest_after = before, after
        self.violations += leaks(self.name, before, after)


def growth(samples: Sequence[Sample], first: Sequence[Sample], last: Sequence[Sample], figure: str) -> Growth:
    """Return how a figure of the samples has grown, where it is known; raises ValueError for an empty window."""

    def known(of: Sequence[Sample]) -> list[tuple[float, float]]:
        return [(sample.at, value) for sample in of if (value := float(getattr(sample, figure)))]

    begin, end = known(first), known(last)
    if not begin or not end:
        raise ValueError("a window without a sample: the run was too short, give it more minutes or hours")
    between = [pair for pair in known(samples) if begin[0][0] <= pair[0] <= end[-1][0]]
    slope = linear_regression(*zip(*between, strict=True)).slope if len(between) > 1 else 0.0
    return Growth(median(value for _, value in begin), median(value for _, value in end), 3600.0 * slope)


def exceeds(what: str, found: Growth, limit: float, unit: str) -> list[str]:
    """Say that a growth is not below its limit, in percent."""
    if found.percent < limit:
        return []
    return [
        f"{what} grew by {found.percent:.1f} %, from {found.first:,.1f} to {found.last:,.1f} {unit}".rstrip()
        + f" ({found.percent_per_hour:+.1f} % an hour): the bound is {limit:g} %"
    ]


def leaks(name: str, before: Level, after: Level) -> list[str]:
    """Say what an operator at rest holds more of than it did before."""
    found: list[str] = []
    if after.tasks.total() > before.tasks.total():
        more = ", ".join(f"{count} more {what}" for what, count in (after.tasks - before.tasks).items())
        found.append(f"{name}: tasks leak: {after.tasks.total()} at rest, {before.tasks.total()} before: {more}")
    if after.connections > before.connections:
        found.append(f"{name}: connections leak: {after.connections} at rest, {before.connections} before")
    return found


def differences(cached: Mapping[str, str], server: Mapping[str, State]) -> list[str]:
    """Say in what a cache (name to resourceVersion) differs from the server, and which objects were not reconciled."""
    return [
        *_named("the cache lacks", [name for name in server if name not in cached]),
        *_named("the cache holds what is gone:", [name for name in cached if name not in server]),
        *_named(
            "the cache holds another version of",
            [name for name, state in server.items() if cached.get(name, state.version) != state.version],
        ),
        *_named(
            "not reconciled at the last generation:",
            [
                f"{name} ({state.observed} of {state.generation})"
                for name, state in server.items()
                if state.observed != state.generation
            ],
        ),
    ]


def _named(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{what} {', '.join(names[:_NAMED])}{more}"]
