"""Mode ``sync``: a cache alone. Apart from the manager, whose imports would count as memory that a cache needs."""

from __future__ import annotations

import asyncio
import time

from benchmarks._measurement import usage_line
from benchmarks._workload import Database
from pyoperator.cache import Cache
from pyoperator.client import AiohttpTransport, Configuration
from pyoperator.objects import Scheme


async def sync() -> str:
    """Fill a cache and nothing else; the line's ``n`` is how many objects there were."""
    begun = time.perf_counter()
    transport = AiohttpTransport(Configuration.load())
    try:
        cache = Cache(transport, Scheme())
        informer = cache.get_informer(Database)
        running = asyncio.create_task(cache.run())
        await cache.wait_for_cache_sync()
        wall = time.perf_counter() - begun
        # Counted, not listed: the peer's program lists without copying, and copies are not what a sync costs.
        line = usage_line("sync", informer.status().objects, wall)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    finally:
        await transport.aclose()
    return line
