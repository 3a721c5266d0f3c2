"""The parts of a whole run, in the order of :data:`PARTS`; each records lines under its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.parts._election import election
from benchmarks.parts._growth import growth
from benchmarks.parts._imports import imports
from benchmarks.parts._latency import latency
from benchmarks.parts._reconciles import noop_and_sync, status
from benchmarks.parts._servers import servers
from benchmarks.parts._steps import steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from benchmarks._bench import Bench

__all__ = ["PARTS"]

PARTS: Mapping[str, Callable[[Bench], Awaitable[None]]] = {
    "steps": steps,
    "imports": imports,
    "sync": noop_and_sync,
    "status": status,
    "latency": latency,
    "elect": election,
    "servers": servers,
    # Last: it needs most of the time, and leaves the server full.
    "growth": growth,
}
