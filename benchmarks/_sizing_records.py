"""What a sizing run measured, and how it is shown: lines, tables, a plot."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

from benchmarks._svg import COLOURS, Curve, Limit, counts, doubling, draw

if TYPE_CHECKING:
    from collections.abc import Sequence

RecordT = TypeVar("RecordT", bound="Record")

_SIZES = (Limit(128, "small 128Mi"), Limit(512, "medium 512Mi"), Limit(1024, "large 1Gi"))


@dataclass(frozen=True, slots=True)
class Record:
    def text(self) -> str:
        """Return ``fleet key=value ...``."""
        pairs = ((one.name, getattr(self, one.name)) for one in fields(self))
        return " ".join([type(self).__name__.lower(), *(f"{name}={value:.6g}" for name, value in pairs)])

    @classmethod
    def parse(cls: type[RecordT], text: str) -> list[RecordT]:
        """Return the records of this kind that ``text`` has, one a line."""
        word = f"{cls.__name__.lower()} "
        lines = (line.split()[1:] for line in text.splitlines() if line.startswith(word))
        return [cls(**{pair.partition("=")[0]: float(pair.partition("=")[2]) for pair in line}) for line in lines]


@dataclass(frozen=True, slots=True)
class Fleet(Record):
    """Two replicas without a CPU limit and ``n`` objects. MB are MiB, ``_ms`` is CPU per object, ``idle`` % of a core."""

    n: float
    created_s: float
    leader_ms: float
    standby_ms: float
    leader_cpu_s: float
    standby_cpu_s: float
    leader_rss_mb: float
    leader_peak_mb: float
    standby_rss_mb: float
    standby_peak_mb: float
    leader_idle: float
    standby_idle: float
    hand_over_s: float
    term_s: float
    term_cpu_s: float
    term_peak_mb: float
    start_s: float
    start_cpu_s: float
    start_peak_mb: float


@dataclass(frozen=True, slots=True)
class Limited(Record):
    """One replica started among ``n`` objects under a CPU quota, made leader after. A step that took too long is nan."""

    n: float
    millicores: float
    healthz_s: float
    readyz_s: float
    start_probe_s: float
    busy_probe_s: float
    term_s: float
    kept_lease: float
    peak_mb: float


def picture(fleets: list[Fleet]) -> str:
    """Return the plot of memory; the dashed lines are the memory limits of the three sizes."""
    leader, standby, start = COLOURS[0], COLOURS[2], COLOURS[1]
    return draw(
        "Peak memory of a replica of the postgres-operator",
        [
            Curve("leader, fleet created", leader, [(one.n, one.leader_peak_mb) for one in fleets]),
            Curve("standby", standby, [(one.n, one.standby_peak_mb) for one in fleets]),
            Curve("start among them (cold list)", start, [(one.n, one.start_peak_mb) for one in fleets]),
        ],
        counts("Postgres objects", (one.n for one in fleets)),
        doubling("MiB", 32, 2048),
        _SIZES,
    )


def table(records: Sequence[Record]) -> str:
    """Return records side by side, a row for each field."""
    rows = []
    for one in fields(records[0]):
        cells = "".join(f"{getattr(record, one.name):>12.5g}" for record in records)
        rows.append(f"{one.name:<18}{cells}")
    return "\n".join(rows)
