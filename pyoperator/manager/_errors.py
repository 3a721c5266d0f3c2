"""What can be wrong with a manager, as opposed to what it manages."""

from __future__ import annotations


class ManagerError(ValueError):
    """The manager is used or configured in a way that can't work; the message says what to change."""


class StopTimedOut(Exception):
    """The manager could not stop everything in time; ``blockers`` names who was still running, and where."""

    def __init__(self, blockers: tuple[str, ...], timeout: float | None) -> None:
        after = "" if timeout is None else f" within {timeout:g} s"
        super().__init__(
            f"not everything stopped{after}: {'; '.join(blockers)}. "
            "Make it end when it is cancelled, or raise graceful_shutdown_timeout"
        )
        self.blockers = blockers
