from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from pyoperator.clock import LoopClock, Randomness
from pyoperator.controller import (
    ChannelSource,
    ControllerKinds,
    ControllerOptions,
    EnqueueForObject,
    EnqueueMapped,
    GenericEvent,
    Request,
    controller_for,
    predicates,
)
from pyoperator.objects import GroupVersionKind, ObjectKey, ResourceKind, Scheme, UnknownKindError
from tests.controller.support import FakeInformer, owner
from tests.support import run_virtual

POSTGRES = GroupVersionKind("db.example.com", "v1", "Postgres")
SECRET = GroupVersionKind("", "v1", "Secret")
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


class FakeCache:
    def __init__(self) -> None:
        self.informers: dict[Any, FakeInformer] = {}
        self.options: dict[Any, dict[str, Any]] = {}
        self.released: list[Any] = []

    def get_informer(self, kind: Any, options: Any = None, **overrides: Any) -> FakeInformer:
        self.options[kind] = overrides
        return self.informers.setdefault(kind, FakeInformer())

    def release(self, informer: Any, /) -> None:
        self.released.append(informer)


class FakeManager:
    def __init__(self) -> None:
        self.cache = FakeCache()
        self.scheme = Scheme()
        self.scheme.add_resource(ResourceKind(POSTGRES, "postgreses"))
        self.clock = LoopClock(asyncio.get_running_loop())
        self.random = Randomness(1)
        self.logger = structlog.get_logger()
        self.controller_names: set[str] = set()
        self.added: list[Any] = []
        self.collectors: list[Any] = []
        self.checks: dict[str, Any] = {}

    def add(self, runnable: Any, /) -> None:
        self.added.append(runnable)

    def add_metrics_collector(self, source: Any, /) -> None:
        self.collectors.append(source)

    def add_healthz_check(self, name: str, check: Any, /) -> None:
        self.checks[name] = check


async def nothing(request: Request) -> None: ...


def test_a_controller_with_everything() -> None:
    async def main() -> None:
        manager = FakeManager()
        seen: list[str] = []

        async def reconcile(request: Request) -> None:
            seen.append(request.name)

        channel = ChannelSource()
        controller = (
            controller_for(manager)
            .for_(POSTGRES, predicates=[predicates.GenerationChanged()])
            .owns(SECRET)
            .watches_metadata(CONFIG_MAP, EnqueueMapped(lambda found: [Request("ns", f"from-{found.metadata.name}")]))
            .watches_raw_source(channel, EnqueueForObject())
            .with_event_filter(predicates.Predicates(delete=lambda _: False))
            .with_options(ControllerOptions(max_concurrent_reconciles=2))
            .complete(reconcile)
        )
        assert controller.name == "postgres"
        assert manager.added == [controller]
        assert manager.controller_names == {"postgres"}
        assert controller.kinds == ControllerKinds(POSTGRES, (SECRET,), (CONFIG_MAP,))
        assert manager.cache.options == {POSTGRES: {}, SECRET: {}, CONFIG_MAP: {"metadata_only": True}}
        assert controller.need_leader_election
        run = asyncio.ensure_future(controller.run())
        await asyncio.sleep(1)
        informers = manager.cache.informers
        informers[POSTGRES].put("pg", generation=1)
        await asyncio.sleep(1)
        informers[POSTGRES].put("pg", generation=1)  # a status write
        informers[SECRET].put("secret", owner_references=(owner("owner"),))
        informers[SECRET].delete("secret")
        informers[CONFIG_MAP].put("map")
        await channel.send(GenericEvent(ObjectKey("ns", "sent")))
        await asyncio.sleep(1)
        assert seen == ["pg", "owner", "from-map", "sent"]
        families = {family.name: family for family in manager.collectors[0]()}
        assert families["controller_runtime_reconcile_total"].label_names == ("controller", "result")
        assert families["workqueue_adds_total"].samples[0].value == 4
        manager.checks["stuck-reconcile-postgres"]()
        source = next(iter(controller._watches))
        controller.unwatch(source)
        assert manager.cache.released == [informers[POSTGRES]]
        await controller.drain()
        await run

    run_virtual(main)


def test_mistakes_teach() -> None:
    async def main() -> None:
        manager = FakeManager()
        with pytest.raises(ValueError, match="would watch nothing"):
            controller_for(manager).complete(nothing)
        with pytest.raises(ValueError, match="owners of which kind"):
            controller_for(manager).owns(SECRET).complete(nothing)
        with pytest.raises(ValueError, match="already"):
            controller_for(manager).for_(POSTGRES).for_(SECRET)
        with pytest.raises(ValueError, match="needs a name"):
            controller_for(manager).watches(SECRET, EnqueueForObject()).complete(nothing)
        with pytest.raises(UnknownKindError):
            controller_for(manager).for_(GroupVersionKind("x", "v1", "Y")).complete(nothing)
        assert manager.cache.informers == {}
        controller_for(manager).for_(POSTGRES).complete(nothing)
        with pytest.raises(ValueError, match="'postgres' exists in this manager"):
            controller_for(manager).for_(POSTGRES).complete(nothing)
        controller_for(manager).for_(POSTGRES).named("second").with_predicates().complete(nothing)
        assert manager.controller_names == {"postgres", "second"}

    run_virtual(main)
