"""What ends an attempt to list or to watch, apart from the server's own errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.cache._vitals import Phase
    from pyoperator.client import ApiError


class Interrupted(Exception):
    """What ended an attempt to list or watch, and what to do about it."""

    def __init__(self, reason: str, *, phase: Phase, relist: bool = False, consistent: bool = False) -> None:
        super().__init__(reason)
        self.phase: Phase = phase
        self.relist = relist
        self.consistent = consistent


class NotStreamed(Exception):
    """The server did not stream its initial state as WatchList promises; ``lasting`` if it will not next time."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


def is_too_large(error: ApiError) -> bool:
    """Tell whether the server said that it has not reached the version asked for."""
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in error.status.causes)
