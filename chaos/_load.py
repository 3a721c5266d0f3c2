"""Databases under constant change, at a measured rate, and the stand-in for what would run them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from postgres_operator import names
from postgres_operator.api import Postgres
from pyoperator.client import ApiError, MergePatch, TransportError
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.client import Client

POSTGRES = GroupVersionKind("database.example.com", "v1", "Postgres")

_IN_FLIGHT = 24
"""Changes on their way at most: when the server is down or slow, the load waits rather than piles up."""
_LOOK_EVERY = 0.2
_COUNTS = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")


class Load:
    """Changes ``count`` databases at ``rate`` changes a second, while :meth:`run` runs.

    Of ten changes two are of the spec (each ends in a status write), four spoil a ConfigMap (the operator writes it
    anew) and four label a Service (the operator looks and finds nothing to do). ``per_second`` counts those that the
    server accepted, by whole seconds of ``time``; ``failed`` those that it did not.
    """

    def __init__(self, client: Client, namespace: str, count: int, rate: float, time: Callable[[], float]) -> None:
        self.count = count
        self.rate = rate
        self.per_second: Counter[int] = Counter()
        self.failed = 0
        self.paused = False
        self._client = client
        self._namespace = namespace
        self._time = time
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._number = 0

    async def create(self) -> None:
        """Make the databases."""
        for number in range(self.count):
            spec = {"version": "17", "instances": 1, "storage": {"size": "1Gi"}}
            await self._client.create(Unstructured.new(POSTGRES, _name(number), self._namespace, spec=spec))

    async def run(self) -> None:
        """Change until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            while True:
                if self.paused:
                    due = loop.time()
                    await asyncio.sleep(0.05)
                    continue
                await self._slots.acquire()
                if self.paused:
                    self._slots.release()
                    continue
                group.create_task(self._change())
                # What a stall held back is not caught up with: the rate is a pace and no debt.
                due = max(due + 1.0 / self.rate, loop.time() - 1.0)
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def pause(self) -> None:
        """Begin no further change, and wait for the answers of those under way: they may be carried out late."""
        self.paused = True
        held = 0
        try:
            while held < _IN_FLIGHT:
                await self._slots.acquire()
                held += 1
        finally:
            for _ in range(held):
                self._slots.release()

    async def _change(self) -> None:
        try:
            self._number += 1
            turn, number = self._number % 10, self._number // 10 % self.count
            try:
                await self._one(turn, number, self._number)
            except (ApiError, TransportError):
                self.failed += 1
            else:
                self.per_second[int(self._time())] += 1
        finally:
            self._slots.release()

    def _one(self, turn: int, number: int, stamp: int) -> Awaitable[Any]:
        name = _name(number)
        if turn in {0, 5}:
            policy = "Retain" if stamp // (10 * self.count) % 2 == (turn == 0) else "Delete"
            return self._patch(POSTGRES, name, {"spec": {"deletionPolicy": policy}})
        if turn % 2:
            return self._patch(names.CONFIG_MAP, f"{name}-config", {"data": {"spoiled": str(stamp)}})
        return self._patch(names.SERVICE, f"{name}-rw", {"metadata": {"labels": {"chaos": str(stamp)}}})

    def _patch(self, kind: GroupVersionKind, name: str, document: dict[str, Any]) -> Awaitable[Any]:
        return self._client.patch(kind, ObjectKey(self._namespace, name), MergePatch(document))

    async def settled(self) -> bool:
        """Tell whether every database is Ready at its last generation and every ConfigMap repaired."""
        databases = (await self._client.list(Postgres, namespace=self._namespace)).items
        if len(databases) != self.count:
            return False
        for database in databases:
            status = database.status
            if status is None or status.observed_generation != database.metadata.generation:
                return False
            if not any(one.type == "Ready" and one.status == "True" for one in status.conditions):
                return False
        maps = await self._client.list(
            names.CONFIG_MAP, namespace=self._namespace, label_selector=names.MANAGED_SELECTOR
        )
        return len(maps.items) == self.count and not any("spoiled" in (one.get("data") or {}) for one in maps.items)

    def __repr__(self) -> str:
        return f"Load({self.count} databases, {sum(self.per_second.values())} changes, {self.failed} failed)"


async def stand_in(client: Client, namespace: str) -> None:
    """Report all instances as ready, as StatefulSet controller and kubelets would, until cancelled."""
    while True:
        with suppress(ApiError, TransportError):  # away or changed meanwhile: the next round sees to it
            for stateful_set in (await client.list(names.STATEFUL_SET, namespace=namespace)).items:
                wanted = {
                    "observedGeneration": stateful_set.metadata["generation"],
                    **dict.fromkeys(_COUNTS, stateful_set["spec"]["replicas"]),
                }
                if any((stateful_set.get("status") or {}).get(key) != value for key, value in wanted.items()):
                    await client.status.patch(stateful_set.gvk, stateful_set.key, MergePatch({"status": wanted}))
        await asyncio.sleep(_LOOK_EVERY)


def _name(number: int) -> str:
    return f"chaos-{number:02}"
