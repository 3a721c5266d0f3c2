"""Checks that need nothing but a clock reading.

A cache's and a controller's own checks (``check_ready``, ``check_stuck``) live with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.health._checks import CheckFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.health._checks import Check


def ping() -> None:
    """Pass, always: that the question was answered is the answer."""


def leadership_check(
    *, leads: Callable[[], bool], valid_until: Callable[[], float | None], elapsed: Callable[[], float]
) -> Check:
    """Fail if this process still leads although its right to lead has expired: it should have ended by then.

    For liveness only; readiness never depends on leading, or no rolling update would ever finish. ``valid_until`` is a
    reading of ``elapsed``, None if there is no right to lead at all.
    """

    def check() -> None:
        until = valid_until()
        if not leads():
            return
        if until is None:
            raise CheckFailed("leader-only work runs without a lease")
        if (late := elapsed() - until) > 0:
            raise CheckFailed(f"still leading {late:.1f} s after the lease became invalid")

    return check
