"""A million changes at little cost: committed where the server commits them, past its validation.

What is under test is the operator, and what reaches it is the same: the next version and generation of an object, told
to all watches. Creating, deleting and the operator's own writes go through the server as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks._workload import NAMESPACE, Database
from pyoperator.objects import ObjectKey, Unstructured
from soak._judge import State

if TYPE_CHECKING:
    from pyoperator.apiserver import APIServer
    from pyoperator.client import Client
    from pyoperator.clock import Randomness

_RESOURCE: Final = "databases.bench.example.com"
_MOST_AT_ONCE: Final = 16
_DELETED: Final = 0.05


def manifest(number: int) -> dict[str, Any]:
    """Return a Database without the ballast that those of the benchmarks have."""
    return {
        "apiVersion": "bench.example.com/v1",
        "kind": "Database",
        "metadata": {"name": f"db-{number:06d}", "namespace": NAMESPACE, "labels": {"shard": str(number % 16)}},
        "spec": {"version": f"{0:09d}", "replicas": 3, "parameters": {"work_mem": "64MB", "max_connections": "100"}},
    }


class StoredChanges:
    """Changes objects in bursts of one to sixteen, as people and other controllers do; counts them in ``made``."""

    def __init__(self, server: APIServer, client: Client, objects: int, random: Randomness) -> None:
        self.made = 0
        self._store = server.store
        self._client = client
        self._objects = objects
        self._random = random

    async def create_all(self) -> None:
        for number in range(self._objects):
            await self._client.create(Unstructured(manifest(number)))

    async def burst(self, most: int) -> None:
        """Change one object some times, at most ``most``, or create it if it is not there; one burst in twenty deletes."""
        number = self._random.randrange(self._objects)
        name = f"db-{number:06d}"
        if self._store.get(_RESOURCE, NAMESPACE, name) is None:
            await self._client.create(Unstructured(manifest(number)))
        for _ in range(min(most, self._random.randint(1, _MOST_AT_ONCE))):
            self._change(name)
        if self._random.random() < _DELETED:
            await self._client.delete(Database.options.resource.gvk, ObjectKey(NAMESPACE, name))

    def states(self) -> dict[str, State]:
        """Return what the server has, by name."""
        found: dict[str, State] = {}
        for stored in self._store.objects(_RESOURCE):
            obj = stored.decode()
            observed = (obj.get("status") or {}).get("observedGeneration", 0)
            found[stored.name] = State(str(stored.revision), obj["metadata"]["generation"], observed)
        return found

    def _change(self, name: str) -> None:
        stored = self._store.get(_RESOURCE, NAMESPACE, name)
        if stored is None:
            raise RuntimeError(f"{name} is gone, and nobody but this load deletes")
        self.made += 1
        obj = stored.decode()
        obj["spec"]["version"] = f"{self.made:09d}"
        obj["metadata"]["generation"] += 1
        self._store.put(_RESOURCE, stored.gvk, obj, fields=stored.fields, old=stored)
