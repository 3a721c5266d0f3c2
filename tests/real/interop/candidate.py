"""A candidate that elects with pyoperator: the counterpart of main.go, with the same commands and the same lines.

``python candidate.py KUBECONFIG NAMESPACE NAME IDENTITY``: see main.go for what it reads and tells.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pyoperator import Configuration, ElectionConfig, LeaderElector
from pyoperator.client import AiohttpTransport, LeadershipLost

if TYPE_CHECKING:
    from collections.abc import Sequence


def tell(event: str, holder: str = "") -> None:
    line = {"event": event, "holder": holder, "mono": time.monotonic_ns(), "wall": time.time_ns()}
    print(json.dumps(line), flush=True)


async def lead(elector: LeaderElector, released: asyncio.Event) -> None:
    with suppress(LeadershipLost):
        async with elector.lead():
            tell("started")
            try:
                await released.wait()
            finally:
                tell("stopped")


async def commands() -> asyncio.Queue[str]:
    """Return the queue of lines from standard input; an empty one is its end, or SIGTERM."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, queue.put_nowait, "")

    class Lines(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            for line in data.decode().split():
                queue.put_nowait(line)

        def connection_lost(self, exc: Exception | None) -> None:
            queue.put_nowait("")

    await loop.connect_read_pipe(Lines, sys.stdin)
    return queue


async def main(arguments: Sequence[str]) -> None:
    kubeconfig, namespace, name, identity = arguments
    configuration = Configuration.load(kubeconfig, environ={})
    config = ElectionConfig(
        name=name, namespace=namespace, identity=identity, lease_duration=3, renew_deadline=2, retry_period=0.5
    )
    queue = await commands()
    async with LeaderElector(
        config, lambda: AiohttpTransport(configuration), on_new_leader=lambda holder: tell("observed", holder)
    ) as elector:
        tell("ready")
        leading: asyncio.Task[None] | None = None
        released = asyncio.Event()
        while True:
            command = await queue.get()
            if command == "campaign":
                released = asyncio.Event()
                leading = asyncio.create_task(lead(elector, released), name="campaign")
                continue
            if leading is not None:
                released.set()
                if not elector.leadership.is_leader:
                    leading.cancel()  # still a follower: the campaign ends, there is nothing to give back
                await asyncio.wait([leading])
            if not command:
                return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
