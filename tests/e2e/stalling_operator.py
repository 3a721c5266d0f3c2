"""An operator whose work loop can be made to stall: a process of the tests of stalls.

``python -m tests.e2e.stalling_operator KUBECONFIG NAMESPACE...`` competes for one Lease in each namespace, with a
manager for each, and writes without a pause where it leads. Lines on standard input are commands; see ``_COMMANDS``.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import time
from typing import TYPE_CHECKING

from pyoperator.client import Configuration, MergePatch
from pyoperator.leaderelection import _process_timer
from pyoperator.manager import Manager, configure_logging
from pyoperator.objects import GroupVersionKind, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
LEASE_NAME = "stalls.example.com"
RETRY_PERIOD = 2.0
"""Half of it lies between the last moment of writing and the end of what a renewal is good for: the time that a busy
machine has to end a stalled process by its watcher, before its dead man's switch does."""
_PAUSE = 0.02  # seconds between two writes


def say(*what: object) -> None:
    print(*what, flush=True)


def _spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _holding(seconds: float) -> None:
    # PyDLL calls without giving the GIL away, as a careless extension does. A lock that one thread takes twice waits
    # until the given time, also after a signal.
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
    until = time.time() + seconds
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, ctypes.byref((ctypes.c_long * 2)(int(until), int(until % 1 * 1e9))))


_COMMANDS: dict[str, Callable[[float], None]] = {
    "python": _spin,
    "released": time.sleep,
    "held": _holding,
}


class Writer:
    """Leader-only work: patch one ConfigMap again and again, and stall on command."""

    def __init__(self, manager: Manager, namespace: str, commands: asyncio.Queue[str]) -> None:
        self.name = namespace
        self._manager = manager
        self._commands = commands

    async def run(self) -> None:
        key = ObjectKey(self.name, "work")
        say("leads", self.name, self._manager.status().health_probe_port)
        count = 0
        while True:
            if not self._commands.empty():
                await self._stall(*(await self._commands.get()).split())
            count += 1
            await self._manager.client.patch(CONFIG_MAP, key, MergePatch({"data": {"count": str(count)}}))
            await asyncio.sleep(_PAUSE)

    async def _stall(self, how: str, seconds: str) -> None:
        # Soon after a renewal: how much is left of the lease must not depend on luck.
        status = self._manager.status
        while ((election := status().election) is None) or (election.last_renew_age or 0.0) > 0.25 * RETRY_PERIOD:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # renewals set no event on this loop
        say("stalls", self.name)
        _COMMANDS[how](float(seconds))
        say("goes on", self.name)


def make(kubeconfig: str, namespace: str, commands: asyncio.Queue[str]) -> Manager:
    manager = Manager(
        Configuration.load(kubeconfig),
        leader_election=True,
        leader_election_id=LEASE_NAME,
        leader_election_namespace=namespace,
        lease_duration=6,
        renew_deadline=4,
        retry_period=RETRY_PERIOD,
        metrics_bind_address="0",
        health_probe_bind_address="127.0.0.1:0",
        graceful_shutdown_timeout=5,
        dead_mans_switch=True,
    )
    manager.add(Writer(manager, namespace, commands))
    return manager


async def listen(commands: asyncio.Queue[str]) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        commands.put_nowait(line.decode())


def main() -> int:
    configure_logging(format="json")
    # What the switch says, where, and the end: apart, so that a busy machine lets each come to its turn.
    vars(_process_timer).update(_LEAD=0.4, _APART=0.15)
    kubeconfig, *namespaces = sys.argv[1:]
    commands: asyncio.Queue[str] = asyncio.Queue()
    first, *others = (make(kubeconfig, namespace, commands) for namespace in namespaces)

    async def beside() -> None:
        """Live with the first manager: further managers, and the commands."""
        say("stands", "by")
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(commands))
            for manager in others:
                group.create_task(manager.start())

    first.add(beside, need_leader_election=False)
    return first.run()


if __name__ == "__main__":
    sys.exit(main())
