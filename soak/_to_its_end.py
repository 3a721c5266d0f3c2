"""A fault that has begun is ended before anybody looks: half of one would be found, and not the operator's doing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable


async def to_its_end(fault: Awaitable[None]) -> None:
    """Await a fault; a cancellation waits for its end."""
    work = asyncio.ensure_future(fault)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        work.result()
        raise
