"""Waiting for sources: with an end for what is slow, without one for what must be repaired outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.controller._sources import Source

_STEP = 1.0  # seconds between looks at why a source does not sync
_LOG_INTERVAL = 60.0


class CacheSyncTimeout(Exception):
    """A kind that the server does serve has not synced within ``cache_sync_timeout``."""


async def wait_for_sync(controller: str, sources: Iterable[Source], timeout: float, logger: Any) -> None:
    """Wait until all sources have synced.

    Only time in which a source has no reason not to sync counts towards ``timeout`` (seconds); a kind that is not
    installed, not allowed, or whose server is away is logged once a minute and waited for without end, because a
    restart would not help. Raises CacheSyncTimeout.
    """
    loop = asyncio.get_running_loop()
    waited = 0.0
    logged = -_LOG_INTERVAL
    step = min(_STEP, timeout)
    for source in sources:
        while not source.synced:
            try:
                async with asyncio.timeout(step):
                    await source.wait_synced()
            except TimeoutError:
                reason = source.blocked()
                if not reason:
                    waited += step
                    if waited >= timeout:
                        raise CacheSyncTimeout(
                            f"controller {controller!r}: {source!r} has not synced within {timeout:g} s though the server "
                            "answers: narrow what is cached (namespaces, selectors) or raise cache_sync_timeout"
                        ) from None
                elif loop.time() - logged >= _LOG_INTERVAL:
                    logged = loop.time()
                    logger.warning("waiting for a source to sync", source=repr(source), reason=reason)
