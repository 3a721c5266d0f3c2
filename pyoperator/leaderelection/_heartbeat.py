"""Does the work loop turn? Asked from the supervisor, which goes on when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator._standing import loop_stack, thread_stack, users_place

if TYPE_CHECKING:
    import asyncio

    from structlog.typing import FilteringBoundLogger

_NOTABLE = 0.8  # seconds: from here on probes answer 500, so the log says why
_LONGEST_PAUSE = 0.25
_FRAMES = 12  # of the stack that is logged: the innermost tell where it stands


class Heartbeat:
    """Ask the work loop for a sign of life again and again, and add up for how long it has owed one.

    ``look(now)`` must be called every ``pause`` seconds by the supervisor, with its loop's time. Only time in which the
    supervisor itself ran counts: a process that was suspended for an hour has not stood still for an hour. So the sum
    never exceeds the length of the stall, and lags behind it by at most two pauses.
    """

    def __init__(self, limit: float, logger: FilteringBoundLogger) -> None:
        self.limit = limit
        self.pause: float = min(_LONGEST_PAUSE, limit / 8)
        self._logger = logger
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._asked = self._answered = 0
        self._looked_at: float | None = None
        self._owed = 0.0
        self._told = 0

    def attach(self, work_loop: asyncio.AbstractEventLoop, thread: int) -> None:
        """Say which loop to ask, and in which thread (its identifier) it runs."""
        self._loop, self._thread = work_loop, thread

    @property
    def stalled_for(self) -> float:
        """For how many seconds the work loop stands still as far as is known; 0 while it turns."""
        return 0.0 if self._asked == self._answered else self._owed

    @property
    def beyond_limit(self) -> bool:
        """Whether it has stood still for ``limit`` seconds and still does; safe to ask from any thread."""
        return self.stalled_for >= self.limit

    def look(self, now: float) -> None:
        """Take in whether the last question was answered, log what is worth it, and ask again."""
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, 2 * self.pause)
        self._looked_at = now
        if self._asked == self._answered:
            if self._told:
                self._logger.warning("the work loop goes on", stood_still=round(self._owed, 1))
            self._owed, self._told = 0.0, 0
            self._ask()
            return
        self._owed += passed
        if self._owed >= self.limit and self._told < 2:
            self._told = 2
            self._logger.error(
                "the work loop stands still for longer than stall_limit: no more renewals",
                seconds=round(self._owed, 1),
                frames=self.stack(),
            )
        elif self._owed >= _NOTABLE and not self._told:
            self._told = 1
            self._logger.warning("the work loop stands still", seconds=round(self._owed, 1), frames=self.stack())

    def stack(self) -> list[str]:
        """Return where the work loop's thread is right now: ``file:line in function``, the innermost last."""
        return [str(place) for place in thread_stack(self._thread)[-_FRAMES:]]

    def place(self) -> str:
        """Return where the user's code is in what the work loop runs right now, for one line."""
        place = users_place(loop_stack(self._thread))
        return str(place) if place is not None else "in no Python code"

    def _ask(self) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._asked += 1
        try:
            self._loop.call_soon_threadsafe(self._answer, self._asked)
        except RuntimeError:  # closed between the two lines: a loop that has ended does not stand still
            self._answered = self._asked

    def _answer(self, number: int) -> None:
        self._answered = number

    def __repr__(self) -> str:
        return f"<Heartbeat stalled_for={self.stalled_for:.1f} limit={self.limit:g}>"
