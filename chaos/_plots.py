"""The report's pictures, as small SVGs without any library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos._result import Run

_FONT = 'font-family="sans-serif" font-size="12" fill="#333"'
_HUES = ("#4878cf", "#6acc65", "#d65f5f", "#b47cc7", "#c4ad66", "#77bedb")
_NOBODY = "#222"


# Leadership and writes over time.

_WIDTH, _LEFT, _RIGHT = 1200, 70, 20
_ROW = 210
_ROW_SECONDS, _TICK = 240, 30


def timeline(run: Run) -> str:
    """Return rows of about four minutes: faults, who led, and beneath it changes made and writes of the operator."""
    rows = max(1, round(run.seconds / _ROW_SECONDS))
    length = _TICK * max(1, math.ceil(run.seconds / rows / _TICK))
    height = 60 + rows * _ROW
    title = f"Leadership and writes on the {run.server} server"
    parts = [_open(_WIDTH, height, title), _text(_LEFT, 24, title, "start", 'font-size="15"')]
    colours = ("#999", "changes made by the load, per second"), ("#d08000", "writes by the operator, per second")
    for number, (colour, label) in enumerate(colours):
        left = _LEFT + 480 + 280 * number
        parts += [
            _line(left, 20, left + 24, 20, colour, 'stroke-width="2"'),
            _text(left + 30, 24, label, "start"),
        ]
    top_rate = max([1, *run.changes, *run.writes])
    for row in range(rows):
        parts += _row(run, row * length, length, 44 + row * _ROW, top_rate)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(run: Run, first: int, length: int, top: float, top_rate: int) -> list[str]:
    last = first + length

    def x(second: float) -> float:
        share = (min(max(second, first), last) - first) / length
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * share

    def y(rate: float) -> float:
        return top + 170 - 72 * rate / top_rate

    parts: list[str] = []
    for act in run.acts:
        if act.end < first or act.start >= last or act.name == "settle":
            continue
        parts.append(
            f'<rect x="{x(act.start):.1f}" y="{top + 8}" width="{max(1.0, x(act.end) - x(act.start) - 1):.1f}" '
            f'height="162" fill="#f3eee6"><title>{escape(act.name)}: {escape(act.note)}</title></rect>'
        )
        if act.start >= first and x(act.end) - x(act.start) > 22:
            place = f'transform="translate({x(act.start) + 9:.1f},{top + 12}) rotate(90)" font-size="9"'
            parts.append(f'<text {place} fill="#876">{escape(act.name)}</text>')
    parts.append(_text(_LEFT - 8, top + 78, "leader", "end"))
    names = list(dict.fromkeys(term.leader for term in run.terms))
    for term in run.terms:
        if term.end < first or term.start >= last:
            continue
        colour = _HUES[names.index(term.leader) % len(_HUES)]
        parts.append(_bar(x(term.start), x(term.end), top + 68, colour, f"{term.leader}, then {term.how or 'the end'}"))
        if term.leaderless and term.leaderless > 0.2:
            words = f"{term.leaderless:.2f} s from the last renewal to the next leader"
            parts.append(_bar(x(term.end), x(term.end + term.leaderless), top + 74, _NOBODY, words, 4))
    for rates, colour in ((run.changes, "#999"), (run.writes, "#d08000")):
        shown = list(enumerate(rates))[first : last + 1]
        path = " ".join(f"{x(second):.1f},{y(rate):.1f}" for second, rate in shown)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    parts.append(_line(_LEFT, top + 170, _WIDTH - _RIGHT, top + 170, "#999"))
    parts += [_text(_LEFT - 8, y(rate) + 4, str(rate), "end") for rate in (0, top_rate)]
    ticks = range(first, last + 1, _TICK)
    return [*parts, *(_text(x(tick), top + 186, f"{tick} s", "middle", 'font-size="10"') for tick in ticks)]


def _bar(left: float, right: float, top: float, colour: str, words: str, height: float = 16) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{max(0.6, right - left):.1f}" height="{height}" fill="{colour}">'
        f"<title>{escape(words)}</title></rect>"
    )


# Hand-over and take-over times.


@dataclass(frozen=True, slots=True)
class Series:
    """One lane: a label, a colour, and its values in the panel's unit; ``summary`` stands for values not at hand."""

    label: str
    colour: str
    values: Sequence[float]
    summary: tuple[float, ...] = ()


def histograms(title: str, panels: Sequence[tuple[str, Sequence[Series]]]) -> str:
    """Return panels of lanes on logarithmic axes, twelve classes a decade; summaries are drawn as lines."""
    width, left, lane = 860, 250, 74
    lanes = sum(len(series) for _, series in panels)
    height = 40 + lanes * lane + len(panels) * 64
    parts = [_open(width, height, title), _text(20, 24, title, "start", 'font-size="15"')]
    top = 40.0
    for heading, series in panels:
        every = [value for one in series for value in (*one.values, *one.summary) if value > 0] or [1.0]
        low = 10.0 ** math.floor(math.log10(min(every)))
        high = max(10.0 ** math.ceil(math.log10(max(every) * 1.0001)), low * 10)
        parts.append(_text(20, top + 18, heading, "start", 'font-weight="bold"'))
        top += 26

        def x(value: float, low: float = low, high: float = high) -> float:
            return left + (width - left - 30) * math.log(max(value, low) / low) / math.log(high / low)

        for one in series:
            parts += _lane(one, top, lane, x, low, high)
            parts.append(_text(left - 12, top + lane - 30, one.label, "end"))
            count = f"n = {len(one.values)}" if one.values else "published: least, median, p90, most"
            parts.append(_text(left - 12, top + lane - 14, count, "end", 'font-size="10"'))
            top += lane
        tick = low
        while tick <= high * 1.0001:
            parts.append(_line(x(tick), top - lane * len(series), x(tick), top, "#ddd"))
            parts.append(_text(x(tick), top + 14, f"{tick:g}", "middle"))
            tick *= 10
        top += 38
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lane(one: Series, top: float, lane: float, x: Callable[[float], float], low: float, high: float) -> list[str]:
    bottom = top + lane - 8
    parts = [_line(x(low), bottom, x(high), bottom, "#999")]
    classes = round(12 * math.log10(high / low))
    edges = [low * 10 ** (number / 12) for number in range(classes + 1)]
    counts = [sum(start <= max(value, low) < end for value in one.values) for start, end in pairwise(edges)]
    most = max([1, *counts])
    for (start, end), count in zip(pairwise(edges), counts, strict=True):
        if count:
            tall = (lane - 18) * count / most
            parts.append(
                f'<rect x="{x(start):.1f}" y="{bottom - tall:.1f}" width="{x(end) - x(start) - 1:.1f}" '
                f'height="{tall:.1f}" fill="{one.colour}"><title>{count} of {start:.3g} to {end:.3g}</title></rect>'
            )
    marks = [_line(x(value), top + 14, x(value), bottom, one.colour, 'stroke-width="2"') for value in one.summary]
    return parts + marks


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img" {_FONT}>'
        f'<title>{escape(title)}</title><rect width="{width}" height="{height:.0f}" fill="#fff"/>'
    )


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
