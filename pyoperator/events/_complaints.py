"""Saying what goes wrong again and again: at once, and then seldom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyoperator.clock import Clock

_AGAIN_AFTER: Final = 3600.0


class Complaints:
    """Warn of each reason when it is new, and while it recurs once an hour, with how often it did meanwhile.

    What is best effort fails per call, so a warning per failure would bury the log, and none would hide the cause.
    """

    def __init__(self, logger: Any, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def tell(self, message: str, reason: str, **details: Any) -> None:
        """Log ``message`` as a warning, unless ``reason`` (of few values) was told within the hour."""
        key = f"{message}: {reason}"
        count = self._since.get(key, 0) + 1
        now = self._clock.elapsed()
        if now - self._told_at.get(key, float("-inf")) < _AGAIN_AFTER:
            self._since[key] = count
            return
        self._told_at[key], self._since[key] = now, 0
        if count > 1:
            details["times"] = count
        self._logger.warning(message, reason=reason, **details)

    def __repr__(self) -> str:
        return f"<Complaints {len(self._told_at)} told>"
