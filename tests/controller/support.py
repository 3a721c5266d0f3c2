"""Small fakes for this room: an informer without a server, and events made by hand."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from pyoperator.cache import CacheEvent, Entry, Store
from pyoperator.clock import Randomness
from pyoperator.controller import Controller, ControllerOptions, EnqueueForObject, InformerSource, Watch
from pyoperator.objects import Metadata, ObjectKey, OwnerReference, Scheme

if TYPE_CHECKING:
    from pyoperator.cache import EventHandler
    from pyoperator.controller import AnyReconciler

_SCHEME = Scheme()
_versions = itertools.count(1)


def entry(name: str, *, namespace: str = "ns", raw: bytes = b"{}", **metadata: Any) -> Entry:
    metadata.setdefault("resource_version", str(next(_versions)))
    return Entry(Metadata(name=name, namespace=namespace, uid=f"uid-{name}", **metadata), raw, _SCHEME)


def owner(name: str, kind: str = "Postgres", api_version: str = "db.example.com/v1", *, controller: bool = True) -> Any:
    return OwnerReference(api_version=api_version, kind=kind, name=name, uid=f"uid-{name}", controller=controller)


def added(new: Entry, *, initial: bool = False) -> CacheEvent:
    return CacheEvent("ADDED", new.key, None, new, initial)


def modified(old: Entry, new: Entry, *, resync: bool = False) -> CacheEvent:
    return CacheEvent("MODIFIED", new.key, old, new, resync=resync)


def deleted(old: Entry) -> CacheEvent:
    return CacheEvent("DELETED", old.key, old, None)


class FakeStatus:
    def __init__(self, failure: str = "") -> None:
        self.failure = failure


class FakeRegistration:
    def __init__(self, informer: FakeInformer, handler: EventHandler) -> None:
        self.informer = informer
        self.handler = handler

    def remove(self) -> None:
        self.informer.registrations.remove(self)


class FakeInformer:
    """What the controller sees of an informer; tests put objects in."""

    def __init__(self, *names: str, synced: bool = True) -> None:
        self.store = Store()
        self.failure = ""
        self.registrations: list[FakeRegistration] = []
        self.freshened = 0
        self.silent = 1  # watches without a sign of life
        self._synced = asyncio.Event()
        if synced:
            self._synced.set()
        for name in names:
            self.store.put(entry(name))

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    def sync(self) -> None:
        self._synced.set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def freshen(self) -> int:
        self.freshened += 1
        return self.silent

    def status(self) -> FakeStatus:
        return FakeStatus(self.failure)

    def add_handler(self, handler: EventHandler, /) -> FakeRegistration:
        for found in self.store.entries():
            handler.on_add(added(found, initial=True))
        registration = FakeRegistration(self, handler)
        self.registrations.append(registration)
        return registration

    def put(self, name: str, **metadata: Any) -> None:
        for event in self.store.put(entry(name, **metadata)):
            for registration in self.registrations:
                (registration.handler.on_add if event.type == "ADDED" else registration.handler.on_update)(event)

    def delete(self, name: str) -> None:
        for event in self.store.delete(ObjectKey("ns", name)):
            for registration in self.registrations:
                registration.handler.on_delete(event)

    def __repr__(self) -> str:
        return "<FakeInformer>"


def make(reconciler: AnyReconciler, informer: FakeInformer | None = None, **options: Any) -> Controller:
    """A controller for one kind on a fake informer."""
    watches = [Watch(InformerSource(informer), EnqueueForObject(), for_kind=True)] if informer is not None else []
    return Controller("test", reconciler, watches=watches, options=ControllerOptions(**options), random=Randomness(1))


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everything that is ready run, without letting time pass."""
    for _ in range(30):
        await asyncio.sleep(0)


class Running:
    """Run a controller inside a block; cancel it at the end."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    async def __aenter__(self) -> asyncio.Task[None]:
        self.task = asyncio.ensure_future(self.controller.run())
        await settle()
        return self.task

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))
        if not self.task.cancelled() and (error := self.task.exception()) is not None:
            raise error
