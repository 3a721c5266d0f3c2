"""Plots as small SVG texts, without any library: curves over two axes, and bars. One look for all of the project's plots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLOURS = ("#1565c0", "#ef6c00", "#2e7d32", "#8e24aa", "#6d4c41")
"""One after the other for the curves or bars of a plot."""

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 56, 56
_ROW = 30


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot: a label, a colour, and points; each point gets a dot unless there are too many (``dots``)."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    dots: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows from end to end, in the direction of growth; ``ticks`` are its values and their names."""

    label: str
    first: float
    last: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Return how far along the axis a value is, 0 to 1; what lies beyond is put at the end."""
        held = min(max(value, self.first), self.last)
        if self.logarithmic:
            return math.log(held / self.first) / math.log(self.last / self.first)
        return (held - self.first) / (self.last - self.first)


@dataclass(frozen=True, slots=True)
class Limit:
    """A dashed line across the plot, named at its right end."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of :func:`draw_bars`; ``note`` is written after its value."""

    label: str
    colour: str
    value: float
    note: str = ""


def counts(label: str, values: Iterable[float]) -> Axis:
    """Return a logarithmic axis of numbers of things, with a tick at each one measured."""
    found = sorted(set(values)) or [1.0]
    return Axis(label, found[0], max(found[-1], found[0] * 10), [(n, f"{n:,.0f}") for n in found], logarithmic=True)


def doubling(label: str, first: float, last: float) -> Axis:
    """Return a logarithmic axis with a tick at each doubling, from ``first`` until ``last`` is reached."""
    ticks = [(first, f"{first:g}"), (first * 2, f"{first * 2:g}")]
    while ticks[-1][0] < last:
        value = ticks[-1][0] * 2
        ticks.append((value, f"{value:g}"))
    return Axis(label, first, ticks[-1][0], ticks, logarithmic=True)


def linear(label: str, last: float, *, first: float = 0.0) -> Axis:
    """Return an axis with four to ten ticks at round numbers, from ``first`` to the first tick at or after ``last``."""
    span = max(last - first, 1e-9)
    power = 10.0 ** math.floor(math.log10(span))
    step = next(power * part for part in (0.1, 0.2, 0.25, 0.5, 1.0) if span / (power * part) <= 10)
    start, number = math.floor(first / step), math.ceil(last / step)
    ticks = [(n * step, f"{n * step:.10g}") for n in range(start, max(number, start + 1) + 1)]
    return Axis(label, ticks[0][0], ticks[-1][0], ticks)


def draw(title: str, curves: Sequence[Curve], x: Axis, y: Axis, limits: Sequence[Limit] = ()) -> str:
    """Return the SVG of some curves."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def across(value: float) -> float:
        return _LEFT + (right - _LEFT) * x.share(value)

    def up(value: float) -> float:
        return bottom - (bottom - _TOP) * y.share(value)

    parts = _sheet(title, _HEIGHT)
    for value, name in x.ticks:
        parts.append(_line(across(value), _TOP, across(value), bottom, "#eee"))
        parts.append(_text(across(value), bottom + 18, name, "middle"))
    for value, name in y.ticks:
        parts.append(_line(_LEFT, up(value), right, up(value), "#eee"))
        parts.append(_text(_LEFT - 8, up(value) + 4, name, "end"))
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 14, x.label, "middle"))
    parts.append(_text(_LEFT, _TOP - 14, y.label, "end"))
    for limit in limits:
        parts.append(_line(_LEFT, up(limit.value), right, up(limit.value), "#c33", 'stroke-dasharray="6 4"'))
        parts.append(_text(right + 8, up(limit.value) + 4, limit.label, "start"))
    for number, curve in enumerate(curves):
        path = " ".join(f"{across(left):.1f},{up(value):.1f}" for left, value in curve.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="2"/>')
        if curve.dots:
            parts += [
                f'<circle cx="{across(left):.1f}" cy="{up(value):.1f}" r="3.5" fill="{curve.colour}"/>'
                for left, value in curve.points
            ]
        top = _TOP + 16 + number * 18
        parts.append(_line(_LEFT + 12, top - 4, _LEFT + 36, top - 4, curve.colour, 'stroke-width="2"'))
        parts.append(_text(_LEFT + 42, top, curve.label, "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_bars(title: str, bars: Sequence[Bar], unit: str) -> str:
    """Return the SVG of horizontal bars, one a row, each with its value."""
    height = _TOP + _ROW * len(bars) + 34
    left = 230
    longest = max((bar.value for bar in bars), default=0.0) or 1.0
    parts = _sheet(title, height)
    for number, bar in enumerate(bars):
        top = _TOP + number * _ROW
        length = (_WIDTH - left - 190) * bar.value / longest
        parts.append(_text(left - 10, top + 16, bar.label, "end"))
        parts.append(f'<rect x="{left}" y="{top}" width="{max(length, 1):.1f}" height="22" fill="{bar.colour}"/>')
        parts.append(_text(left + length + 8, top + 16, f"{bar.value:,.3g} {bar.note}".strip(), "start"))
    parts.append(_text(left, height - 12, unit, "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _sheet(title: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#333"><title>{escape(title)}</title>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        _text(20, 24, title, "start", 'font-size="15"'),
    ]


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
