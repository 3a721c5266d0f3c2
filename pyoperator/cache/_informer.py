"""One kind, cached: reflectors fill a store, handlers hear of every change."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from pyoperator.cache._entry import CacheEvent
from pyoperator.cache._field_selector import FieldSelector
from pyoperator.cache._intake import Intake
from pyoperator.cache._own_writes import OwnWrites
from pyoperator.cache._packing import Packing
from pyoperator.cache._reflector import Reflector
from pyoperator.cache._selectors import LabelSelector
from pyoperator.cache._status import summarize
from pyoperator.cache._store import Store
from pyoperator.cache._unseen_write import as_number

if TYPE_CHECKING:
    import msgspec
    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry, EventHandler
    from pyoperator.cache._options import CacheOptions
    from pyoperator.cache._status import InformerStatus
    from pyoperator.cache._store import IndexFunction
    from pyoperator.client import Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.objects import ObjectKey, ResourceKind, Scheme

_BATCH: Final = 500


class Registration:
    """A handler's place at an informer; :meth:`remove` ends it at once, also from inside the handler."""

    def __init__(self, informer: Informer, handler: EventHandler) -> None:
        self.handler = handler
        self.errors = 0
        self.active: bool = True
        self._informer = informer

    @property
    def synced(self) -> bool:
        """Whether the handler has been told of everything that existed at the informer's first sync."""
        return self._informer.synced

    def remove(self) -> None:
        """Stop calling the handler; a second call changes nothing."""
        self.active = False
        self._informer._forget(self)  # the two are one concept in two faces

    def __repr__(self) -> str:
        return f"<Registration of {self.handler!r}{'' if self.active else ' (removed)'}, {self.errors} errors>"


class Informer:
    """Keep all objects of one kind, in the namespaces and selectors of its options, and tell handlers what changes.

    Made by :meth:`Cache.get_informer`, which also runs it. Event order is that of the server per key; ADDED comes before
    anything else of an object (uid), DELETED last. The store is up to date before handlers are called.
    """

    def __init__(
        self,
        transport: Transport,
        scheme: Scheme,
        resource: ResourceKind,
        options: CacheOptions,
        *,
        clock: Clock,
        random: Randomness,
        logger: FilteringBoundLogger,
    ) -> None:
        self.resource = resource
        self.options = options
        self.store: Store = Store(self._index_failed)
        self._random = random
        self._logger = logger.bind(kind=str(resource.gvk))
        self._packing = Packing(self._logger) if options.compression else None
        self._intake = Intake(scheme, options, self.store.get, self._packing)
        self._held_fields = FieldSelector.parse(options.field_selector)
        self._held_labels = LabelSelector.parse(options.label_selector)
        self.own_writes: OwnWrites = OwnWrites(self.store, self._seen_version, self._logger, selective=self.selective)
        self.dropped: asyncio.Event = asyncio.Event()  # set by the cache when the last reference was given back
        self._registrations: tuple[Registration, ...] = ()
        self._handler_errors = 0
        self._index_errors = 0
        self.namespaces: tuple[str, ...] = options.namespaces if resource.namespaced and options.namespaces else ("",)
        self.reflectors: tuple[Reflector, ...] = tuple(
            Reflector(
                transport, resource, self, options, namespace=namespace, clock=clock, random=random, logger=logger
            )
            for namespace in self.namespaces
        )

    async def run(self) -> None:
        """List, watch and resync until cancelled; may be run again afterwards, and then resumes."""
        async with asyncio.TaskGroup() as group:
            for reflector in self.reflectors:
                group.create_task(reflector.run(), name=f"{reflector!r}")
            if self.options.resync_period:
                group.create_task(self._resync(), name=f"resync of {self.resource.gvk}")
            if self._packing is not None:
                group.create_task(self._pack(self._packing), name=f"compression of {self.resource.gvk}")

    # --- what readers ask

    @property
    def synced(self) -> bool:
        """Whether every namespace has been listed once."""
        return all(reflector.synced.is_set() for reflector in self.reflectors)

    async def wait_synced(self) -> None:
        """Wait for the first sync, for ever if need be (a missing CRD, no permission): see :meth:`status` for why."""
        for reflector in self.reflectors:
            await reflector.synced.wait()

    def covers(self, namespace: str) -> bool:
        """Tell whether objects of that namespace ("" = all of them, and cluster-scoped ones) are kept here."""
        return self.namespaces == ("",) or namespace in self.namespaces

    @property
    def selective(self) -> bool:
        """Whether a label or field selector leaves objects out, so that absence here does not mean absence."""
        return bool(self.options.label_selector or self.options.field_selector)

    @property
    def held_fields(self) -> FieldSelector:
        """The field selector that all objects here meet."""
        return self._held_fields

    @property
    def held_labels(self) -> LabelSelector:
        """The label selector that all objects here meet."""
        return self._held_labels

    def _seen_version(self, namespace: str) -> int:
        """Return the version up to which everything in a namespace ("" = in all of them) has been seen."""
        asked = [found for found in self.reflectors if not namespace or found.namespace in ("", namespace)]
        return min((as_number(found.status().resource_version) for found in asked), default=0)

    def freshen(self, older_than: float = 75.0) -> int:
        """Reopen watches without a sign of life for ``older_than`` seconds; return how many. See Reflector.freshen."""
        return sum(reflector.freshen(older_than) for reflector in self.reflectors)

    def status(self) -> InformerStatus:
        statistics = self.store.statistics()
        return summarize(
            self.resource.gvk,
            tuple(reflector.status() for reflector in self.reflectors),
            objects=statistics.objects,
            size=statistics.bytes,
            held=statistics.held_bytes,
            handlers=len(self._registrations),
            handler_errors=self._handler_errors,
            index_errors=self._index_errors,
            own_writes=self.own_writes.statistics(),
        )

    # --- handlers and indexes

    def add_handler(self, handler: EventHandler) -> Registration:
        """Call ``handler`` for every change from now on, after an ADDED (``initial=True``) for all that is here."""
        registration = Registration(self, handler)
        for entry in self.store.entries():
            self._call(registration, CacheEvent("ADDED", entry.key, None, entry, initial=True))
        self._registrations = (*self._registrations, registration)
        return registration

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index entries by what ``function`` returns for each (none, one or several values); any time, also late.

        The function sees bytes and metadata; decode only if the value is not in the metadata. If it raises, the object
        is left out of this index, and that is logged and counted.
        """
        self.store.add_index(name, function)

    def _forget(self, registration: Registration) -> None:
        self._registrations = tuple(found for found in self._registrations if found is not registration)

    def _dispatch(self, events: list[CacheEvent]) -> None:
        registrations = self._registrations
        for event in events:
            for registration in registrations:
                self._call(registration, event)

    def _call(self, registration: Registration, event: CacheEvent) -> None:
        if not registration.active:
            return
        handler = registration.handler
        try:
            match event.type:
                case "ADDED":
                    handler.on_add(event)
                case "MODIFIED":
                    handler.on_update(event)
                case "DELETED":
                    handler.on_delete(event)
        except Exception:
            registration.errors += 1
            self._handler_errors += 1
            self._logger.exception(
                "an event handler failed", type=event.type, key=str(event.key), handler=repr(handler)
            )

    def _index_failed(self, name: str, key: ObjectKey, error: Exception) -> None:
        self._index_errors += 1
        self._logger.warning("an index function failed", index=name, key=str(key), error=repr(error))

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.9, 1.1) * self.options.resync_period)
            for count, entry in enumerate(self.store.entries()):
                if count % _BATCH == _BATCH - 1:
                    await asyncio.sleep(0)
                # It may have changed or gone since the snapshot; its own event has told that.
                if self.store.get(entry.key) is entry:
                    self._dispatch([CacheEvent("MODIFIED", entry.key, entry, entry, resync=True)])

    async def _pack(self, packing: Packing) -> None:
        """Train the dictionary, then compress what came before it was there."""
        if not await packing.train():
            return
        await self.wait_synced()
        for count, entry in enumerate(self.store.entries()):
            if count % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            self.store.pack(entry)

    # --- ReflectorTarget

    def read(self, raw: msgspec.Raw) -> Entry:
        """Return the entry to keep of an object; raises Unreadable."""
        return self._intake.read(raw)

    def put(self, entry: Entry) -> None:
        self._dispatch(self.store.put(entry))
        if self.own_writes.unseen:
            self.own_writes.seen(entry, deleted=False)

    def delete(self, entry: Entry) -> None:
        self._dispatch(self.store.delete(entry.key, entry))
        if self.own_writes.unseen or self.own_writes.deletions:
            self.own_writes.seen(entry, deleted=True)

    def advanced(self) -> None:
        if self.own_writes.awaited:
            self.own_writes.advanced()

    def bookmarked(self) -> None:
        if self.own_writes.unseen:
            self.own_writes.listed()

    async def replace(self, namespace: str, entries: list[Entry], *, server_went_back: bool) -> None:
        """Compare a complete list with the store: tell what is new, what differs, and what vanished.

        Yields to the loop between batches. Cancelled half-way it leaves a mixture of two true states, as a watch would,
        and the next list completes it.
        """
        initial = not self._reflector_of(namespace).synced.is_set()
        held = list(self.store.entries(namespace))
        listed = {entry.key for entry in entries} if held else set()
        # First what vanished: whoever counts, or owns a name, must not see the old beside the new.
        for entry in held:
            if entry.key not in listed:
                self._dispatch(self.store.delete(entry.key))
        for count, entry in enumerate(entries):
            if count % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            self._dispatch(self.store.overwrite(entry) if server_went_back else self.store.put(entry, initial=initial))
        if self.own_writes.unseen or server_went_back:
            # At the next turn of the loop: the reflector takes over the list's version when this returns.
            asyncio.get_running_loop().call_soon(partial(self.own_writes.listed, server_went_back=server_went_back))

    def _reflector_of(self, namespace: str) -> Reflector:
        return next(found for found in self.reflectors if found.namespace == namespace)

    def __repr__(self) -> str:
        state = "synced" if self.synced else "not synced"
        return f"<Informer {self.resource.gvk} {state}, {len(self.store)} objects>"
