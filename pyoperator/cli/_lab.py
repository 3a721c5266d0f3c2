"""``pyoperator lab run`` and ``pyoperator lab demo``."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.testing.lab import Lab, Scale

T = TypeVar("T")
C = TypeVar("C", bound="Callable[..., Any]")

_INTERRUPTED = 130
"""What a shell calls a command that Ctrl-C ended: a demo without a verdict is no success and no failure."""


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from pyoperator.testing.lab import parse_duration

        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _scale_options(command: C) -> C:
    for option in reversed(
        [
            click.option(
                "--project",
                type=click.Path(path_type=Path),
                default="lab.yaml",
                show_default=True,
                help="The operator's lab.yaml.",
            ),
            click.option("--replicas", type=int, default=3, show_default=True, help="Processes of the operator."),
            click.option("--lease-duration", type=_Duration(), default="15s", show_default=True),
            click.option("--renew-deadline", type=_Duration(), default="10s", show_default=True),
            click.option("--retry-period", type=_Duration(), default="2s", show_default=True),
        ]
    ):
        command = option(command)
    return command


@click.group(help="Run an operator's replicas on the embedded API server: watch them, break them, judge them.")
def lab() -> None: ...


@lab.command(help="Start the API server and the replicas and show what they do, until Ctrl-C.")
@_scale_options
@click.option("--plain", is_flag=True, help="Lines of changes, also on a terminal.")
@click.option("--duration", type=_Duration(), help="End by itself after that time.")
def run(*, project: Path, plain: bool, duration: float | None, **scale: Any) -> None:
    from pyoperator.testing.lab import LabError, Project, run_lab

    stop = _Stop()
    try:
        found, size = Project.read(project), _scale(**scale)
        live = sys.stdout.isatty() and not plain
        with asyncio.Runner() as runner:
            work = run_lab(found, size, live=live, write=_write, hurry=stop.hurries, duration=duration)
            runner.run(stop.over(work))
    except LabError as error:
        _fail("run", str(error))
    _write("stopped: replicas first, the server last; nothing is left running")


@lab.command(help="Crash, stop and roll the replicas under load; the last line is the result in JSON, exit 0 if clean.")
@_scale_options
@click.option("--objects", type=int, default=50, show_default=True, help="Objects to create besides the samples.")
def demo(*, project: Path, **scale: Any) -> None:
    from pyoperator.testing.lab import LabError, Project, play_demo

    stop = _Stop()
    try:
        found, size = Project.read(project), _scale(**scale)
        with asyncio.Runner() as runner:
            verdict = runner.run(stop.over(play_demo(found, size, write=_write, hurry=stop.hurries)))
    except LabError as error:
        _fail("demo", str(error))
    if verdict is None:
        click.echo("pyoperator lab demo: interrupted, no result; everything is stopped", err=True)
        raise SystemExit(_INTERRUPTED)
    _write(json.dumps(verdict.summary()))
    raise SystemExit(0 if verdict.clean else 1)


class _Stop:
    """SIGINT, SIGTERM and SIGHUP end the lab in order; the second one ends it at once."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._lab: Lab | None = None

    def hurries(self, lab: Lab) -> None:
        self._lab = lab

    async def over(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what ``work`` returns, None if a signal ended it."""
        loop = asyncio.get_running_loop()
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._task = task
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    def _signalled(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        elif self._lab is not None:
            self._lab.kill_all()


def _scale(**numbers: Any) -> Scale:
    from pyoperator.testing.lab import Scale

    return Scale(**numbers)


def _write(line: str) -> None:
    # The reader may be a pipe that waits for this very line.
    click.echo(line)
    sys.stdout.flush()


def _fail(command: str, message: str) -> NoReturn:
    click.echo(f"pyoperator lab {command}: {message}", err=True)
    raise SystemExit(2)
