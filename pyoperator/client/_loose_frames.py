"""Failed requests must be freed at once: in an outage they are many, and what they hold is large."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def drop_locals(error: BaseException) -> None:
    """Clear the variables of all frames in which a foreign error, and what led to it, was raised.

    A frame that keeps its own error in a variable, as aiohttp's and aiohappyeyeballs' connecting ones do, is a cycle with
    the error's traceback. Through the frames that called it the cycle may hold everything up to the reconcile, objects
    and bodies included, until the collector's next full pass, minutes away. Frames that still run are left alone.
    """
    for found in _chain(error):
        traceback.clear_frames(found.__traceback__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += (found.__cause__, found.__context__)
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
