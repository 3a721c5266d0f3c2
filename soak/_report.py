"""What a soak came to: one line of JSON, a section in Markdown, and a plot of each part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks._svg import COLOURS, Curve, draw, linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soak._judge import Growth, Level, Part

_MOST_POINTS = 400


def summary(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what the last line says, as JSON."""
    return {
        "passed": not any(part.violations for part in parts),
        **{
            part.name: {
                "seconds": round(part.seconds),
                "objects": part.objects,
                "changes": part.changes,
                "reconciles": part.reconciles,
                "faults": part.faults.total(),
                "memory_mb": _ends(part.memory),
                "memory_growth_percent": _percent(part.memory),
                "memory_percent_per_hour": None if part.memory is None else round(part.memory.percent_per_hour, 3),
                "python_objects_growth_percent": _percent(part.tracked),
                "limit_percent": part.limit,
                "tasks_at_rest": _both(part, "tasks"),
                "connections_at_rest": _both(part, "connections"),
                "cpu_seconds": round(part.cpu_seconds, 1),
                "wall_seconds": round(part.wall_seconds),
                "violations": part.violations,
            }
            for part in parts
        },
    }


def section(parts: Sequence[Part]) -> str:
    """Return the body of the results' section, in Markdown; its plots lie in ``results`` beside it."""
    rows = [
        "| | " + " | ".join(part.name for part in parts) + " |",
        "| --- |" + " --- |" * len(parts),
        _row("duration", parts, lambda part: _duration(part.seconds)),
        _row("objects", parts, lambda part: f"{part.objects:,}"),
        _row("changes", parts, lambda part: f"{part.changes:,}"),
        _row("changes a second of that time", parts, lambda part: f"{part.changes / part.seconds:.1f}"),
        _row("reconciles", parts, lambda part: f"{part.reconciles:,}"),
        _row("faults", parts, lambda part: f"{part.faults.total():,} of {len(part.faults)} kinds"),
        _row("resident memory after the warm-up, MB", parts, lambda part: _figure(part.memory, "first")),
        _row("resident memory at the end, MB", parts, lambda part: _figure(part.memory, "last")),
        _row("**growth**", parts, lambda part: f"**{_percent(part.memory)} %** (bound: {part.limit:g} %)"),
        _row("straight line through all samples, per hour", parts, _trend),
        _row("growth of the number of Python objects", parts, lambda part: f"{_percent(part.tracked)} %"),
        _row("tasks at rest, after the warm-up and at the end", parts, lambda part: _arrow(part, "tasks")),
        _row("connections at rest, likewise", parts, lambda part: _arrow(part, "connections")),
        _row("cache equal to the server, all at their last generation", parts, _verdict),
        _row("CPU seconds", parts, lambda part: f"{part.cpu_seconds:,.0f}"),
        _row("wall seconds", parts, lambda part: f"{part.wall_seconds:,.0f}"),
        "",
    ]
    rows += [f"![Resident memory, {part.name} time](results/soak-{part.name}.svg)\n" for part in parts]
    rows += [f"Faults, {part.name}: {_list(part)}.\n" for part in parts]
    return "\n".join(rows)


def picture(part: Part) -> str:
    """Return the plot of resident memory over the part's time, as SVG; the axis begins at zero."""
    unit, seconds = ("minutes", 60.0) if part.seconds < 7200 else ("hours", 3600.0)
    step = max(1, len(part.samples) // _MOST_POINTS)
    points = [(sample.at / seconds, sample.memory_mb) for sample in part.samples[::step]]
    return draw(
        f"Resident memory, soak, {part.name} time",
        [Curve("operator" if part.name == "real" else "operator and server", COLOURS[0], points, dots=step == 1)],
        linear(unit, max((at for at, _ in points), default=1.0)),
        linear("MB", max((memory for _, memory in points), default=1.0)),
    )


def _row(what: str, parts: Sequence[Part], value: Any) -> str:
    return f"| {what} | " + " | ".join(value(part) for part in parts) + " |"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds < 7200 else f"{seconds / 3600:g} hours"


def _ends(growth: Growth | None) -> list[float] | None:
    return None if growth is None else [round(growth.first, 1), round(growth.last, 1)]


def _percent(growth: Growth | None) -> float | None:
    return None if growth is None else round(growth.percent, 2)


def _figure(growth: Growth | None, end: str) -> str:
    return "-" if growth is None else f"{getattr(growth, end):,.1f}"


def _trend(part: Part) -> str:
    return "-" if part.memory is None else f"{part.memory.percent_per_hour:+.2f} %"


def _both(part: Part, what: str) -> list[int] | None:
    levels = part.rest_before, part.rest_after
    return [_count(level, what) for level in levels if level is not None] or None


def _count(level: Level, what: str) -> int:
    return level.tasks.total() if what == "tasks" else level.connections


def _arrow(part: Part, what: str) -> str:
    return " → ".join(str(count) for count in _both(part, what) or ()) or "-"


def _verdict(part: Part) -> str:
    return "**no**, see the violations" if part.violations else "yes"


def _list(part: Part) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(part.faults.items()))
