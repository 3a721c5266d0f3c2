"""The third party of the real part: changes at a rate, straight to the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks._workload import NAMESPACE, Database, database, name_of
from pyoperator.client import AlreadyExists, ApiError, MergePatch, NotFound, TransportError
from pyoperator.objects import ObjectKey, Unstructured
from soak._judge import State

if TYPE_CHECKING:
    from pyoperator.client import Client
    from pyoperator.clock import Randomness

_DELETED = 0.02
_MOST_AT_ONCE = 64


class RealLoad:
    """Changes ``objects`` objects at ``rate`` a second; one in fifty is deleted, and made anew by its next change.

    ``made`` counts what the server acknowledged, ``refused`` what it did not: it is down at times.
    """

    def __init__(self, client: Client, objects: int, rate: float, random: Randomness) -> None:
        self.made = 0
        self.refused = 0
        self._client = client
        self._objects = objects
        self._rate = rate
        self._random = random
        self._number = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        room = asyncio.Semaphore(_MOST_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                # What a server that was down has missed is not made up for.
                due = max(due + 1 / self._rate, loop.time() - 1.0)
                await asyncio.sleep(due - loop.time())
                await room.acquire()
                task = group.create_task(self._change())
                task.add_done_callback(lambda _: room.release())

    async def states(self) -> dict[str, State]:
        """Return what the server has, by name; raises what a request raises."""
        found: dict[str, State] = {}
        for item in (await self._client.list(Database, namespace=NAMESPACE)).items:
            metadata = item.metadata
            observed = item.status.observed_generation if item.status is not None else 0
            found[metadata.name] = State(metadata.resource_version, metadata.generation, observed)
        return found

    async def _change(self) -> None:
        number = self._random.randrange(self._objects)
        kind, key = Database.options.resource.gvk, ObjectKey(NAMESPACE, name_of(number))
        deletes = self._random.random() < _DELETED
        self._number += 1
        try:
            if deletes:
                await self._client.delete(kind, key)
            else:
                await self._client.patch(kind, key, MergePatch({"spec": {"version": f"{self._number:08d}"}}))
        except NotFound:
            await self._create(number)
        except (ApiError, TransportError):
            self.refused += 1
        else:
            self.made += 1

    async def _create(self, number: int) -> None:
        try:
            await self._client.create(Unstructured(database(number)))
        except AlreadyExists:
            pass  # two changes of one object met
        except (ApiError, TransportError):
            self.refused += 1
        else:
            self.made += 1
