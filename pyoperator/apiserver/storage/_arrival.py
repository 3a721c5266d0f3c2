"""Wait for a version that the store has not reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.apiserver.storage._change import Change
    from pyoperator.apiserver.storage._store import Store

# Seconds that a read waits for a version which is ahead of the store, as in the real server's watch cache.
PATIENCE = 3.0


async def reached(store: Store, revision: int) -> bool:
    """Return True as soon as the store has come to ``revision``; False when it has not after three seconds."""
    arrived = asyncio.get_running_loop().create_future()

    def observe(change: Change) -> None:
        if change.revision >= revision and not arrived.done():
            arrived.set_result(None)

    if store.revision >= revision:
        return True
    unsubscribe = store.subscribe(observe)
    try:
        async with asyncio.timeout(PATIENCE):
            await arrived
    except TimeoutError:
        return False
    finally:
        unsubscribe()
    return True
