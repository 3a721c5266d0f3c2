"""When the copies of a cache can be relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyoperator.cache._status import CacheHealth

if TYPE_CHECKING:
    from pyoperator.cache._status import InformerStatus

BROKEN_AFTER: Final = 300.0
# Another informer's sign of life proves that the server answers, if it is younger than two bookmark periods.
_ANSWERS_WITHIN: Final = 120.0


def judge(statuses: tuple[InformerStatus, ...]) -> CacheHealth:
    """Name each informer that has not synced, or whose watch stays broken although the API server answers."""
    problems: list[str] = []
    for status in statuses:
        if not status.synced:
            problems.append(f"{status.kind}: not synced{f' ({status.failure})' if status.failure else ''}")
            continue
        for reflector in status.reflectors:
            if reflector.failing_for is None or reflector.failing_for <= BROKEN_AFTER:
                continue
            if reflector.server_answers or _another_lives(statuses, status):
                where = f" in {reflector.namespace}" if reflector.namespace else ""
                problems.append(
                    f"{status.kind}{where}: watch broken for {reflector.failing_for:.0f} s ({reflector.failure})"
                )
    return CacheHealth(not problems, tuple(problems))


def _another_lives(statuses: tuple[InformerStatus, ...], broken: InformerStatus) -> bool:
    return any(
        status is not broken
        and status.failing_for is None
        and status.sign_of_life_age is not None
        and status.sign_of_life_age < _ANSWERS_WITHIN
        for status in statuses
    )
