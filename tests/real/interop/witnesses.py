"""What two leaders at once would look like: in the versions of the Lease, and in what the processes tell themselves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING

import msgspec

from pyoperator.objects import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.objects import Unstructured


class Line(msgspec.Struct):
    """What a candidate tells: event, whom it saw leading, and both clocks in nanoseconds."""

    event: str
    mono: int
    wall: int
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the Lease; ``seen`` is when it came by the watch, in monotonic seconds, the rest its record."""

    holder: str
    transitions: int
    duration: int
    acquired: float
    renewed: float
    seen: float

    @classmethod
    def of(cls, lease: Unstructured, seen: float) -> Version:
        spec = lease["spec"]
        return cls(
            spec.get("holderIdentity") or "",
            spec.get("leaseTransitions") or 0,
            spec["leaseDurationSeconds"],
            parse_time(spec["acquireTime"]),
            parse_time(spec["renewTime"]),
            seen,
        )


def history_faults(versions: Iterable[Version]) -> list[str]:
    """Return what two holders at once, an early take-over, or a wrong count would look like in the Lease's versions."""
    found = []
    for before, after in pairwise(versions):
        taken = after.holder not in {"", before.holder}
        if taken and before.holder and after.acquired - before.renewed < before.duration:
            found.append(f"{after.holder} took over {before.holder}'s Lease before it had expired: {before} {after}")
        if after.transitions != before.transitions + taken:
            found.append(f"leaseTransitions is wrong: {before} {after}")
    return found


def interval_faults(intervals: Iterable[tuple[int, int, str]]) -> list[str]:
    """Return the pairs of leaders whose own words overlap."""
    return [
        f"{second[2]} began {(first[1] - second[0]) / 1e6:.3f} ms before {first[2]} had ended"
        for first, second in pairwise(sorted(intervals))
        if second[0] < first[1]
    ]


def spread(gaps: list[float], factor: float) -> str:
    if len(gaps) < 2:
        return f"n = {len(gaps)}"
    hundredths = quantiles(gaps, n=100, method="inclusive")
    values = (min(gaps), median(gaps), hundredths[89], hundredths[98], max(gaps))
    named = zip(("min", "median", "p90", "p99", "max"), values, strict=True)
    return f"n = {len(gaps)}, " + ", ".join(f"{name} {value * factor:.3g}" for name, value in named)
