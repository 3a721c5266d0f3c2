"""The plots of the report: cold sync by number of objects, latency by percentile, CPU of a reconcile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks._peers import CONTROLLER_RUNTIME, KOPF, KUBE_RS, OURS
from benchmarks._results import middle
from benchmarks._svg import COLOURS, Axis, Bar, Curve, counts, doubling, draw, draw_bars
from benchmarks.report._targets import growth_points

if TYPE_CHECKING:
    from benchmarks._measurement import Line
    from benchmarks._results import Results

_COLOUR = dict(zip((OURS, CONTROLLER_RUNTIME, KUBE_RS, KOPF), COLOURS, strict=False))
_GROWTH = (
    ("sync-time", "Cold sync: wall time", "s", "wall_s"),
    ("sync-cpu", "Cold sync: CPU time", "s", "cpu_s"),
    ("sync-memory", "Resident memory after a cold sync", "MiB", "rss_mb"),
)
_PERCENTILE = re.compile(r"p(\d+)_ms")


def plots(results: Results) -> dict[str, tuple[str, str]]:
    """Return the plots that there are figures for: title and SVG by name."""
    drawn = [_growth(results, *about) for about in _GROWTH]
    drawn += [_latency(results), _per_reconcile(results)]
    return {name: (title, svg) for name, title, svg in filter(None, drawn)}


def _growth(results: Results, name: str, title: str, unit: str, figure: str) -> tuple[str, str, str] | None:
    curves = [
        Curve(peer, _COLOUR.get(peer, COLOURS[-1]), points)
        for peer in results.peers("growth")
        if len(points := growth_points(results, peer, figure)) > 1
    ]
    if not curves:
        return None
    values = [value for curve in curves for _, value in curve.points]
    objects = counts("objects of 2.8 KB", (n for curve in curves for n, _ in curve.points))
    least = 0.125 if unit == "s" else 32.0
    while least > max(min(values), 0.001):  # an axis puts what lies beyond it at its end
        least /= 2
    return name, title, draw(title, curves, objects, doubling(unit, least, max(values)))


def percentiles(line: Line) -> dict[float, float]:
    """Return milliseconds by share of the objects, below 1: ``p99_ms`` is 0.99, ``p995_ms`` 0.995."""
    found = {}
    for name, value in line.values.items():
        match = _PERCENTILE.fullmatch(name)
        if match:
            digits = match.group(1)
            found[int(digits) / 10 ** len(digits)] = float(value)
    return dict(sorted(found.items()))


def _latency(results: Results) -> tuple[str, str, str] | None:
    title = "Creation to reconcile, at 100 creations a second"
    curves = []
    for peer in results.peers("latency"):
        rounds = [percentiles(line) for line in results.lines("latency", peer)]
        shares = [share for share in rounds[0] if all(share in one for one in rounds)]
        # One object in so many is slower: the usual scale of latencies, on which the tail has room.
        points = [(1 / (1 - share), middle([one[share] for one in rounds]) or 0.0) for share in shares]
        slowest = results.median("latency", peer, "max_ms")
        if slowest is not None:
            points.append((results.lines("latency", peer)[0].number("n"), slowest))
        if points:
            curves.append(Curve(peer, _COLOUR.get(peer, COLOURS[-1]), points))
    if not curves:
        return None
    ticks = [(1.0, "0 %"), (2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1000.0, "99.9 %")]
    far, high = (max(point[axis] for curve in curves for point in curve.points) for axis in (0, 1))
    share = Axis(
        "of the objects were reconciled within (the last dot: all)", 1.0, max(far, 1000.0), ticks, logarithmic=True
    )
    return "latency", title, draw(title, curves, share, doubling("ms", 1.0, high))


def _per_reconcile(results: Results) -> tuple[str, str, str] | None:
    title = "CPU time of a reconcile, the start of the program included"
    bars = []
    for part, what in (("noop", "no change"), ("status", "status patch")):
        for peer in results.peers(part):
            cpu, lines = results.median(part, peer, "cpu_s"), results.lines(part, peer)
            if cpu is not None:
                micro = cpu / lines[0].number("n") * 1e6
                bars.append(Bar(f"{peer}, {what}", _COLOUR.get(peer, COLOURS[-1]), micro))
    return ("cpu-per-reconcile", title, draw_bars(title, bars, "microseconds")) if bars else None
