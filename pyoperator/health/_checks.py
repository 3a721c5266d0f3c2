"""A named set of checks, run together within one budget of time."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pyoperator._callables import discard, takes

if TYPE_CHECKING:
    from collections.abc import Collection

Check: TypeAlias = Callable[[], Awaitable[None] | None]
"""Raising means failing; a plain function must not block. The exception's text is the reason."""

EVENT_LOOP = "event-loop"  # what the probe server itself finds out: nobody else may be called that

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class CheckFailed(Exception):
    """What a check may raise to fail with nothing but a reason (any other exception does as well)."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check went: ``reason`` is None if it passed (or was excluded)."""

    name: str
    reason: str | None = None
    excluded: bool = False

    @property
    def passed(self) -> bool:
        return self.reason is None


class HealthChecks:
    """Checks by name, in the order they were added, run concurrently.

    A check that outlives the budget fails, is cancelled, and is not started a second time while the first run has not
    ended: probes come every few seconds, and a hanging check must not pile up. Probes that overlap share a run: it is
    cancelled when the last of them has given up, so that none takes the answer away from another.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[asyncio.Task[None], int] = {}
        self._failures: dict[str, int] = {}

    def add(self, name: str, check: Check) -> None:
        """Add a check; the name becomes a path segment (letters, digits, '-', '_', '.') and must be new."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't name a check: use letters, digits, '-', '_' and '.', as in 'database'")
        if name in self._checks or name == EVENT_LOOP:
            raise ValueError(f"there is already a check named {name!r}: choose another name")
        if not callable(check):
            discard(check)
            raise TypeError(f"the check {name!r} is no function: pass `{name}`, not `{name}()`")
        if isinstance(check, type) or not takes(check, 0):
            raise TypeError(
                f"the check {name!r} can't be called without arguments: give a function of none; what it needs goes in with "
                "functools.partial or a lambda"
            )
        self._checks[name] = check

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._checks)

    @property
    def failures(self) -> dict[str, int]:
        """How often each check has failed so far."""
        return {name: self._failures.get(name, 0) for name in self._checks}

    async def run(
        self, *, exclude: Collection[str] = (), only: str | None = None, budget: float = 0.7
    ) -> list[CheckResult]:
        """Run the checks together and return one result each, within ``budget`` seconds. Raises KeyError (``only``)."""
        chosen = [only] if only is not None else list(self._checks)
        tasks: dict[str, asyncio.Task[None]] = {}
        for name in chosen:
            if name not in exclude:
                task = tasks[name] = self._running.get(name) or self._start(name)
                self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=budget)
            results = []
            for name in chosen:
                asked = tasks.get(name)
                results.append(CheckResult(name, excluded=True) if asked is None else self._result(name, asked, budget))
            return results
        finally:
            for task in tasks.values():
                self._leave(task)

    def _start(self, name: str) -> asyncio.Task[None]:
        check = self._checks[name]
        task = asyncio.get_running_loop().create_task(_call(check), name=f"health check {name}")
        self._running[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._waiting[task] -= 1
        if not self._waiting[task]:
            del self._waiting[task]
            task.cancel()

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._running.get(name) is task:
            del self._running[name]
        if not task.cancelled():
            task.exception()  # read here too: nobody else does when the run that asked was cancelled

    def _result(self, name: str, task: asyncio.Task[None], budget: float) -> CheckResult:
        if not task.done():
            reason: str | None = f"no answer within {budget:g} s"
        elif task.cancelled():
            reason = "the check was cancelled"
        else:
            error = task.exception()
            reason = None if error is None else str(error) or type(error).__name__
        if reason is not None:
            self._failures[name] = self._failures.get(name, 0) + 1
        return CheckResult(name, reason)

    async def aclose(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    def __repr__(self) -> str:
        return f"HealthChecks({', '.join(self._checks)})"


async def _call(check: Check) -> None:
    outcome = check()
    if inspect.isawaitable(outcome):
        await outcome
