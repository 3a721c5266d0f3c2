"""What runs measured, kept as JSON lines: one file a run, one line a measurement, written as it is made.

A run may measure some parts only. What the report shows of a part is what the newest run measured that has it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from benchmarks._machine import describe, now
from benchmarks._measurement import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of one program: ``number`` is the round it belongs to."""

    part: str
    number: int
    line: Line


@dataclass(slots=True)
class Run:
    """One run: what it was made on and with, what it measured, and why it lacks what it lacks."""

    name: str
    head: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def parts(self) -> set[str]:
        return {one.part for one in self.measurements}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run's file back. Raises ValueError, with the line, for what is no record."""
        run = cls(path.stem, {})
        for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                record = json.loads(text)
                match record.pop("record"):
                    case "run":
                        run.head = record
                    case "line":
                        part, round_ = record.pop("part"), int(record.pop("round"))
                        run.measurements.append(Measurement(part, round_, Line(record)))
                    case "remark":
                        run.remarks.append(record["text"])
                    case other:
                        raise ValueError(f"a record {other!r} is not known")
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise ValueError(f"{path.name}, line {number}: not a record of a benchmark ({error})") from error
        return run


class Recorder:
    """Append to a run's file, line by line: what was measured before an interruption is kept."""

    def __init__(self, folder: Path, **head: Any) -> None:
        self.began = now()
        self._path = folder / f"{self.began}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self._append({"record": "run", "began": self.began, "machine": describe(), **head})

    def line(self, part: str, number: int, line: Line) -> None:
        self._append({"record": "line", "part": part, "round": number, **line.values})

    def remark(self, text: str) -> None:
        self._append({"record": "remark", "text": text})

    def _append(self, record: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


class Results:
    """All runs of a folder; asked by part, each part answered by the newest run that has it."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: run.name)

    @classmethod
    def load(cls, folder: Path = FOLDER) -> Self:
        return cls(Run.read(path) for path in sorted(folder.glob("*.jsonl")))

    def run_of(self, part: str) -> Run | None:
        return next((run for run in reversed(self.runs) if part in run.parts()), None)

    def one_by_one(self) -> list[Results]:
        """Return each run of the newest recorded version of this library by itself, oldest first."""
        newest = _version(self.runs[-1]) if self.runs else ""
        return [Results([run]) for run in self.runs if _version(run) == newest]

    def parts(self) -> set[str]:
        return {part for run in self.runs for part in run.parts()}

    def lines(self, part: str, peer: str = "", **equal: str | int) -> list[Line]:
        """Return the lines of a part in the order they were measured, those with the given values only."""
        run = self.run_of(part)
        wanted = {key: str(value) for key, value in equal.items()} | ({"peer": peer} if peer else {})
        return [
            one.line
            for one in (run.measurements if run is not None else ())
            if one.part == part and all(one.line.values.get(key) == value for key, value in wanted.items())
        ]

    def median(self, part: str, peer: str, figure: str, **equal: str | int) -> float | None:
        """Return the median of a figure (``rate`` is n by wall time), None if it was not measured."""
        return middle([number for line in self.lines(part, peer, **equal) for number in figures(line, figure)])

    def peers(self, part: str) -> list[str]:
        """Return who took part, in the order of their first lines."""
        return list(dict.fromkeys(line.values["peer"] for line in self.lines(part)))


def _version(run: Run) -> str:
    versions = run.head.get("versions") or {}
    return str(versions.get("pyoperator", ""))


def figures(line: Line, name: str) -> list[float]:
    """Return the figure of a line, as a list of one or, where the line has none, of nothing."""
    if name == "rate" and "rate" not in line.values:
        return [line.number("n") / line.number("wall_s")] if line.values.get("wall_s") else []
    return [line.number(name)] if name in line.values else []


def middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None
