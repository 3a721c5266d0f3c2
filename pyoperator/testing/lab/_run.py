"""The lab that goes on until it is stopped, with its views."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._lab import Lab, not_covered
from pyoperator.testing.lab._plain import changes
from pyoperator.testing.lab._snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._scale import Scale

_REDRAW_EVERY = 0.5
"""Seconds between two pictures: ages count in seconds, and a redraw costs milliseconds."""
_LINES_EVERY = 0.2
"""Seconds between two looks for changes: a burst of them becomes one line per object."""


async def run_lab(
    project: Project,
    scale: Scale,
    *,
    live: bool,
    write: Callable[[str], None],
    hurry: Callable[[Lab], None] = lambda lab: None,
    duration: float | None = None,
) -> None:
    """Run until cancelled, or for ``duration`` seconds of replicas. ``live``: draw with rich; else ``write`` lines of what changes. Raises LabError.

    ``hurry`` is handed the lab, for a second signal to make the stop quicker.
    """
    show = _live if live else _lines
    if live:
        _load_view()  # before anything is started: it may be missing
    lab = Lab(project, scale)
    hurry(lab)
    async with lab:
        heading = instructions(lab)
        for line in heading:
            write(line)
        await lab.start_replicas()
        try:
            async with asyncio.timeout(duration) as limit:
                await lab.watch_over(show(lab, "\n".join(heading), write))
        except TimeoutError:
            if not limit.expired():
                raise


def instructions(lab: Lab) -> list[str]:
    """Return what to try while it runs."""
    project = lab.project
    lines = [
        f"kubeconfig: {lab.kubeconfig}",
        f"  export KUBECONFIG={lab.kubeconfig}",
        f"  kubectl get {project.resource.plural} -A --watch",
        f"  kubectl get lease -n {project.lease.namespace} {project.lease.name} -o yaml",
        f"  kubectl get events -n {project.namespace}",
        f"  kubectl get pods -n {project.lease.namespace} -o wide",
        f"  logs: tail -f {lab.folder.path}/*.log",
        "  Ctrl-C stops everything",
    ]
    return [*lines, note] if (note := not_covered()) else lines


async def _lines(lab: Lab, heading: str, write: Callable[[str], None]) -> None:
    shown = Snapshot(0.0)
    while True:
        seen = lab.snapshot()
        for line in changes(shown, seen):
            write(line)
        shown = seen
        # In this order: what changes during the sleep is in the next snapshot.
        await lab.watcher.changed()
        await asyncio.sleep(_LINES_EVERY)


async def _live(lab: Lab, heading: str, write: Callable[[str], None]) -> None:
    live_type, render = _load_view()
    # Drawn by this loop and not by rich's own thread: the snapshot and the picture belong together.
    with live_type(auto_refresh=False, screen=False) as live:
        while True:
            live.update(render(lab.snapshot(), height=live.console.height), refresh=True)
            await asyncio.sleep(_REDRAW_EVERY)


def _load_view() -> tuple[Any, Any]:
    try:
        from rich.live import Live

        from pyoperator.testing.lab._view import render
    except ModuleNotFoundError as error:
        raise LabError(
            "the live view needs the package rich: pip install rich (the extra view of pyoperator-runtime has it), "
            "or pipe the output for plain lines"
        ) from error
    return Live, render
