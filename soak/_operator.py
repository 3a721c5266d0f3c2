"""The operator under test: one controller that reports the generation seen, on a manager with election."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks._workload import NAMESPACE, Database, DatabaseStatus
from pyoperator.client import MergePatch, NotFound
from pyoperator.controller import ControllerOptions, controller_for
from pyoperator.manager import Manager
from pyoperator.objects import GroupVersionKind, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.controller import Controller, Reconciler, Request

LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
LEASE_KEY = ObjectKey(NAMESPACE, "soak.example.com")
_WORKERS = 16


class Observer:
    """Read each object, whole and typed, and write the generation seen into its status."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client

    async def reconcile(self, request: Request) -> None:
        try:
            database = await self._client.get(Database, request)
        except NotFound:
            return
        generation = database.metadata.generation
        if (database.status or DatabaseStatus()).observed_generation != generation:
            patch = MergePatch({"status": {"observedGeneration": generation, "phase": "Ready"}})
            await self._client.status.patch(Database, database.key, patch)


@dataclass(frozen=True, slots=True)
class Condition:
    """What an operator tells of itself. ``errors`` are of its own making: any is too many."""

    leads: bool
    queue: int
    reconciles: int
    lists: int
    errors: int


@dataclass(frozen=True, slots=True)
class Operator:
    """A manager and its one controller."""

    manager: Manager
    controller: Controller

    def condition(self) -> Condition:
        """Return the sums of what manager, cache and controller know; call it on the manager's loop."""
        statistics = self.controller.statistics()
        queue = statistics.queue
        informers = self.manager.cache.status().informers
        return Condition(
            leads=self.manager.elected.is_set(),
            queue=sum(queue.depth.values()) + queue.delayed + queue.in_flight,
            reconciles=sum(statistics.reconcile_total.values()),
            lists=sum(informer.lists for informer in informers),
            errors=statistics.panics
            + statistics.event_errors
            + sum(
                informer.unexpected_errors + informer.unreadable + informer.handler_errors + informer.index_errors
                for informer in informers
            ),
        )

    def cached(self) -> dict[str, str]:
        """Return the resourceVersion of every object in the cache, by name."""
        informer = self.manager.cache.find_informer(Database)
        if informer is None:
            return {}
        return {entry.metadata.name: entry.metadata.resource_version for entry in informer.store.entries()}


def task_names() -> Counter[str]:
    """Count the tasks of the running loop by what they run."""
    return Counter(getattr(task.get_coro(), "__qualname__", task.get_name()) for task in asyncio.all_tasks())


def build(reconciler: Callable[[Manager], Reconciler] = Observer, **options: Any) -> Operator:
    """Make the operator; ``options`` are the manager's. Who loses the lease campaigns again in the same process."""
    manager = Manager(
        **{
            "metrics_bind_address": "0",
            "health_probe_bind_address": "0",
            "leader_election": True,
            "leader_election_id": LEASE_KEY.name,
            "leader_election_namespace": LEASE_KEY.namespace,
            "on_lost": "recampaign",
            **options,
        }
    )
    workers = ControllerOptions(max_concurrent_reconciles=_WORKERS)
    controller = (
        controller_for(manager).for_(Database).named("soak").with_options(workers).complete(reconciler(manager))
    )
    return Operator(manager, controller)
