"""An operator to be started as a process: what it runs is chosen by name, and it prints what happens.

Run as ``python -m tests.manager.program NAME [OPTION=VALUE ...]``. Its API server is a fake inside the process, reached
from two threads as a real one would be.
"""

from __future__ import annotations

import ast
import asyncio
import ctypes
import sys
import threading
from typing import Any

from pyoperator.health import ping
from pyoperator.manager import Manager, configure_logging, run
from tests.manager.support import LeaseServer

server = LeaseServer()


def say(what: str) -> None:
    print(what, flush=True)


class Worker:
    """Works until it is stopped; drains in no time."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    async def run(self) -> None:
        say(f"working, probes on {self.manager.status().health_probe_port}")
        await asyncio.get_running_loop().create_future()

    async def drain(self) -> None:
        say("draining")


class Slow(Worker):
    async def drain(self) -> None:
        say("draining")
        await asyncio.get_running_loop().create_future()


class Failing(Worker):
    async def run(self) -> None:
        raise ConnectionError("the database is gone")


class Usurped(Worker):
    async def run(self) -> None:
        server.take_away()
        await asyncio.get_running_loop().create_future()


class Resisting(Worker):
    async def run(self) -> None:
        say("working")
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                say("not now")

    drain = None  # type: ignore[assignment]


class InThread(Worker):
    """Work in a thread that cannot be cancelled and does not end."""

    async def run(self) -> None:
        await asyncio.to_thread(self.work)

    def work(self) -> None:
        say("working")
        threading.Event().wait()

    def blockers(self) -> list[str]:
        return ["a thread in work()"]

    drain = None  # type: ignore[assignment]


class Stalled(Worker):
    """Block the work loop for ever."""

    async def run(self) -> None:
        say(f"working, probes on {self.manager.status().health_probe_port}")
        # In short waits: a signal that comes in the instant before one long wait would not be looked at until its end.
        never = threading.Event()
        while not never.wait(0.05):
            pass


class Stuck(Worker):
    """Stick in one native call, so that the main thread runs no Python, hence no signal handler, any more."""

    async def run(self) -> None:
        # Locked twice by one thread: a lock of C waits for ever, and goes on waiting after a signal.
        libc = ctypes.CDLL(None)
        mutex = ctypes.create_string_buffer(128)
        libc.pthread_mutex_lock(mutex)
        threading.Timer(0.1, say, ["working"]).start()
        libc.pthread_mutex_lock(mutex)


class Once(Worker):
    async def run(self) -> None:
        say("done")
        self.manager.stop("nothing left to do")


def main() -> int:
    configure_logging(format="json")
    kind = {cls.__name__.lower(): cls for cls in (*Worker.__subclasses__(), Worker)}[sys.argv[1]]
    options: dict[str, Any] = {
        "leader_election": True,
        "leader_election_id": "test.example.com",
        "leader_election_namespace": "system",
        "metrics_bind_address": "127.0.0.1:0",
        "health_probe_bind_address": "127.0.0.1:0",
    }
    for option in sys.argv[2:]:
        name, _, value = option.partition("=")
        options[name] = ast.literal_eval(value)

    def build() -> Manager:
        manager = Manager(transport_factory=server.transport, **options)
        manager.add(kind(manager))
        manager.add_healthz_check("healthz", ping)
        manager.add_readyz_check("readyz", ping)
        return manager

    code = run(build)
    say(f"holder {server.holder!r}")
    return code


if __name__ == "__main__":
    sys.exit(main())
