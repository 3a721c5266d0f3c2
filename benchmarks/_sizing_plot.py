"""The plot of the sizing guide: memory against number of objects, as a small SVG without any library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 46, 56
_SIZES = ((128, "small 128Mi"), (512, "medium 512Mi"), (1024, "large 1Gi"))
_FLOOR, _CEILING = 32, 2048


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the plot: a label, a colour, and (objects, MiB) pairs."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]


def draw(title: str, curves: Sequence[Curve]) -> str:
    """Return the SVG; both axes are logarithmic, the dashed lines are the memory limits of the three sizes."""
    counts = sorted({n for curve in curves for n, _ in curve.points})
    first, last = counts[0], max(counts[-1], counts[0] * 10)

    def x(n: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(n / first) / math.log(last / first)

    def y(megabytes: float) -> float:
        share = math.log(max(megabytes, _FLOOR) / _FLOOR) / math.log(_CEILING / _FLOOR)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#333"><title>{title}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 24, title, "start", 'font-size="15"'),
    ]
    for n in counts:
        parts.append(_line(x(n), _TOP, x(n), _HEIGHT - _BOTTOM, "#eee"))
        parts.append(_text(x(n), _HEIGHT - _BOTTOM + 18, f"{n:,.0f}", "middle"))
    megabytes = _FLOOR
    while megabytes <= _CEILING:
        parts.append(_line(_LEFT, y(megabytes), _WIDTH - _RIGHT, y(megabytes), "#eee"))
        parts.append(_text(_LEFT - 8, y(megabytes) + 4, f"{megabytes}", "end"))
        megabytes *= 2
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 14, "Postgres objects", "middle"))
    parts.append(_text(_LEFT, _TOP - 6, "MiB", "end"))
    for limit, label in _SIZES:
        parts.append(_line(_LEFT, y(limit), _WIDTH - _RIGHT, y(limit), "#c33", 'stroke-dasharray="6 4"'))
        parts.append(_text(_WIDTH - _RIGHT + 8, y(limit) + 4, label, "start"))
    for number, curve in enumerate(curves):
        path = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in curve.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(n):.1f}" cy="{y(value):.1f}" r="3.5" fill="{curve.colour}"/>' for n, value in curve.points
        ]
        top = _TOP + 16 + number * 18
        parts.append(_line(_LEFT + 12, top - 4, _LEFT + 36, top - 4, curve.colour, 'stroke-width="2"'))
        parts.append(_text(_LEFT + 42, top, curve.label, "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{words}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
