"""A program without a manager whose leader stands still: ``python -m ... ADDRESS released|held``."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time
from typing import TYPE_CHECKING

from pyoperator.client import AiohttpTransport, Configuration
from pyoperator.leaderelection import ElectionConfig, LeaderElector, _process_timer

if TYPE_CHECKING:
    from pyoperator.leaderelection import Leadership

FOR_EVER = 60.0


async def body(leadership: Leadership) -> None:
    leadership.check()
    print("leads", flush=True)
    if sys.argv[2] == "held":
        # Keeps the GIL: a lock that one thread takes twice waits for ever, also after a signal.
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)
    else:
        time.sleep(FOR_EVER)


async def main() -> None:
    config = ElectionConfig(
        name="op", namespace="default", identity=sys.argv[2], lease_duration=6, renew_deadline=4, retry_period=2
    )
    configuration = Configuration(server=sys.argv[1])
    async with LeaderElector(config, lambda: AiohttpTransport(configuration), dead_mans_switch=True) as elector:
        await elector.run(body)


if __name__ == "__main__":
    # Apart from each other and from the end, so that a busy machine lets each come to its turn.
    vars(_process_timer).update(_LEAD=0.4, _APART=0.15)
    asyncio.run(main())
