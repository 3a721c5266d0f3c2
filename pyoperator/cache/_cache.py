"""All informers of one process, and the reads they answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from pyoperator.cache._errors import CacheNotReady, NotSynced
from pyoperator.cache._field_selector import BUILT_IN
from pyoperator.cache._health import judge
from pyoperator.cache._informer import Informer
from pyoperator.cache._options import CacheOptions
from pyoperator.cache._reader import CacheReader
from pyoperator.cache._status import CacheStatus
from pyoperator.cache._write_routing import WriteRouting
from pyoperator.clock import Randomness, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._status import CacheHealth
    from pyoperator.client import Transport
    from pyoperator.clock import Clock
    from pyoperator.objects import Codec, GroupVersionKind, ResourceKind, Scheme

T = TypeVar("T")


class Cache(CacheReader):
    """Local copies of kinds, always fresh, read without a request.

    A kind is cached once :meth:`get_informer` was called for it (by a controller's source, or by you), with the options
    that ``by_kind`` gives for it. One informer serves all ways to read a kind: its class, its GVK (Unstructured), a
    kubernetes_asyncio model, or entries. Every read builds fresh objects: change them freely.

    ``default_namespaces``: for namespaced kinds whose options name none; empty means all. ``by_kind`` maps classes or
    GVKs to :class:`CacheOptions`. ``implicit_informers``: a read through :class:`CachedClient` of a kind without an
    informer makes one and waits for its first sync, at most ``implicit_sync_timeout`` seconds, as controller-runtime
    does. Off by default: one careless ``get`` of a Secret would copy all Secrets of the cluster into this process.
    """

    def __init__(
        self,
        transport: Transport,
        scheme: Scheme,
        *,
        clock: Clock | None = None,
        random: Randomness | None = None,
        by_kind: Mapping[Any, CacheOptions] | None = None,
        default_namespaces: tuple[str, ...] = (),
        default_options: CacheOptions | None = None,
        implicit_informers: bool = False,
        implicit_sync_timeout: float = 30.0,
        logger: FilteringBoundLogger | None = None,
    ) -> None:
        super().__init__(scheme, logger if logger is not None else structlog.get_logger("pyoperator.cache"))
        self._transport = transport
        self._clock = clock if clock is not None else SystemClock()
        self._random = random if random is not None else Randomness()
        self._default_namespaces = tuple(default_namespaces)
        self._default_options = default_options if default_options is not None else CacheOptions()
        self._by_kind: dict[Any, CacheOptions] = dict(by_kind or {})
        self.implicit_informers = implicit_informers
        self._implicit_sync_timeout = implicit_sync_timeout
        self._informers: dict[tuple[GroupVersionKind, CacheOptions], Informer] = {}
        self._implicit: dict[GroupVersionKind, Informer] = {}
        self._references: dict[Informer, int] = {}
        self._indexes: dict[GroupVersionKind, dict[str, _Index]] = {}
        self.write_routing: WriteRouting = WriteRouting()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Informer, asyncio.Task[None]] = {}

    # --- life

    async def run(self) -> None:
        """Run all informers, those asked for later too, until cancelled. Raises RuntimeError if it runs already."""
        if self._group is not None:
            raise RuntimeError("the cache runs already: one run() at a time")
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for informer in self._informers.values():
                    self._start(informer)
                await asyncio.get_running_loop().create_future()  # for ever: only cancellation ends it
        finally:
            self._group = None
            self._tasks.clear()

    async def wait_for_cache_sync(self) -> None:
        """Wait until all informers, those added meanwhile too, have synced once; for ever if need be.

        Implicit informers are not waited for: whoever reads them does that.
        """
        while waiting := [found for found in self._references if self._is_required(found) and not found.synced]:
            await _synced_or_dropped(waiting[0])

    def _start(self, informer: Informer) -> None:
        if self._group is not None and informer not in self._tasks:
            self._tasks[informer] = self._group.create_task(informer.run(), name=f"{informer!r}")

    # --- informers

    def get_informer(self, kind: Any, options: CacheOptions | None = None, **overrides: Any) -> Informer:
        """Return the informer of a kind (class or GVK), made and started if there is none; one more reference to it.

        Without arguments its options are those of ``by_kind``, else the cache's default. ``options`` or single
        overrides (``namespaces=("a",)``, ``metadata_only=True``) that differ make another informer of the kind.
        Give it back with :meth:`release`. Raises UnknownKindError for a kind that the scheme does not know.
        """
        resource = self.scheme.resource(kind)
        wanted = options if options is not None else self._options(resource)
        if overrides:
            wanted = replace(wanted, **overrides)
        if not resource.namespaced:
            wanted = replace(wanted, namespaces=())
        elif not wanted.namespaces and self._default_namespaces:
            wanted = replace(wanted, namespaces=self._default_namespaces)
        informer = self._informers.get((resource.gvk, wanted))
        if informer is None:
            informer = Informer(
                self._transport,
                self.scheme,
                resource,
                wanted,
                clock=self._clock,
                random=self._random,
                logger=self._logger,
            )
            for name, index in self._indexes.get(resource.gvk, {}).items():
                informer.add_index(name, index.of_entry)
            self._informers[resource.gvk, wanted] = informer
            self._references[informer] = 0
            self.write_routing.add(informer)
            self._start(informer)
        self._references[informer] += 1
        return informer

    def release(self, informer: Informer) -> None:
        """Give one reference back; the last one stops the informer's requests and frees its memory."""
        if informer not in self._references:
            raise ValueError(
                f"{informer!r} is not (any more) an informer of this cache: release it once per get_informer()"
            )
        self._references[informer] -= 1
        if self._references[informer] == 0:
            self._drop(informer)

    def remove_informer(self, kind: Any) -> None:
        """Stop all informers of a kind, whoever still holds a reference."""
        gvk = self.scheme.resource(kind).gvk
        for informer in [found for found in self._references if found.resource.gvk == gvk]:
            self._drop(informer)

    def _drop(self, informer: Informer) -> None:
        del self._references[informer]
        informer.dropped.set()
        self.write_routing.remove(informer)
        for name in [name for name, found in self._informers.items() if found is informer]:
            del self._informers[name]
        if self._implicit.get(informer.resource.gvk) is informer:
            del self._implicit[informer.resource.gvk]
        task = self._tasks.pop(informer, None)
        if task is not None:
            task.cancel()  # the group awaits it

    def _options(self, resource: ResourceKind) -> CacheOptions:
        for kind, options in self._by_kind.items():
            if self.scheme.resource(kind).gvk == resource.gvk:
                return options
        return self._default_options

    def find_informer(self, kind: Any, namespace: str = "") -> Informer | None:
        """Return the informer that answers reads of a kind in a namespace, or None.

        Of several, the one that knows most: whole objects before metadata, no selectors before some. For all
        namespaces ("") of a cache that is confined to some, that is an informer of those.
        """
        gvk = self.scheme.resource(kind).gvk
        of_kind = [informer for (of, _), informer in self._informers.items() if of == gvk]
        found = [informer for informer in of_kind if informer.covers(namespace)]
        if len(found) == 1:
            return found[0]  # asked at every read
        return min(found or ([] if namespace else of_kind), key=_narrowness, default=None)

    async def implicit_informer(self, kind: Any, namespace: str = "") -> Informer | None:
        """Return the synced implicit informer that covers a namespace of a kind, made if there is none; or None.

        None if implicit informers are off, the cache does not run, somebody's own informer is on its way, or the kind's
        options leave that namespace out.
        Raises NotSynced, with the reason, if it does not sync in time: the next read waits again.
        """
        if not self.implicit_informers or self._group is None:
            return None
        gvk = self.scheme.resource(kind).gvk
        informer = self._implicit.get(gvk)
        if informer is None:
            explicit = self.find_informer(kind, namespace)
            if explicit is not None and not explicit.options.metadata_only:
                return None  # it will answer once it has synced
            informer = self._implicit[gvk] = self.get_informer(kind)
        if not informer.covers(namespace) and namespace:
            return None
        if not informer.synced:
            try:
                async with asyncio.timeout(self._implicit_sync_timeout):
                    await _synced_or_dropped(informer)
            except TimeoutError:
                why = informer.status().failure
                raise NotSynced(
                    f"the implicit informer of {gvk} did not sync within {self._implicit_sync_timeout:g} s"
                    f"{f' ({why})' if why else ''}: it goes on trying; or read with manager.api_reader"
                ) from None
        return informer if informer.synced else None

    def _is_required(self, informer: Informer) -> bool:
        """Tell whether somebody asked for it in so many words: an implicit one must not hold up start or readiness."""
        return self._references[informer] > (self._implicit.get(informer.resource.gvk) is informer)

    # --- indexes

    def add_index(self, kind: type[T] | GroupVersionKind, name: str, function: Callable[[Any], Iterable[str]]) -> None:
        """Index a kind by what ``function`` returns for an object decoded as ``kind``; any time, before or after sync.

        It returns any number of strings. Name the index after a field (``spec.nodeName``), and field selectors on it
        are answered from the cache. It holds for the kind's informers of now and of later. To index by metadata alone,
        and much faster, use ``informer.add_index``. Raises ValueError for a name that has another function.
        """
        gvk = self.scheme.resource(kind).gvk
        known = self._indexes.setdefault(gvk, {})
        if name in known:
            if known[name].function == function:
                return
            raise ValueError(f"{gvk} has an index {name!r} already: choose another name")
        if name in BUILT_IN:
            raise ValueError(f"index {name!r} is built in: it needs no function")
        known[name] = index = _Index(function, self.scheme.codec(kind))
        for (of, _), informer in self._informers.items():
            if of == gvk:
                informer.add_index(name, index.of_entry)

    # --- state

    @property
    def informers(self) -> tuple[Informer, ...]:
        """All informers that somebody has asked for."""
        return tuple(self._references)

    def freshen(self, older_than: float = 75.0) -> int:
        """Reopen watches without a sign of life for ``older_than`` seconds; return how many. See Reflector.freshen."""
        return sum(informer.freshen(older_than) for informer in self._references)

    def status(self) -> CacheStatus:
        statuses = tuple(informer.status() for informer in self._references)
        return CacheStatus(self._group is not None, all(found.synced for found in statuses), statuses)

    def health(self) -> CacheHealth:
        """Tell whether the copies can be relied on.

        Not before the first sync of all (implicit informers excepted: their reads wait or fail by themselves). Later
        only a watch that stays broken for five minutes while the API server answers counts: when the server is down,
        all replicas would go out of service, and webhooks with them.
        """
        return judge(tuple(informer.status() for informer in self._references if self._is_required(informer)))

    def check_ready(self) -> None:
        """Raise CacheNotReady if :meth:`health` has problems: a readiness check."""
        health = self.health()
        if not health.ready:
            raise CacheNotReady("; ".join(health.problems))

    def __repr__(self) -> str:
        return f"<Cache of {len(self._references)} kinds{'' if self._group is not None else ', not running'}>"


def _narrowness(informer: Informer) -> tuple[bool, bool, bool]:
    options = informer.options
    return options.metadata_only, informer.selective, bool(options.namespaces)


class _Index:
    """An index function on objects, as one on entries."""

    def __init__(self, function: Callable[[Any], Iterable[str]], codec: Codec[Any]) -> None:
        self.function = function
        self._decode = codec.decode

    def of_entry(self, entry: Entry) -> Iterable[str]:
        return self.function(self._decode(entry.raw))


async def _synced_or_dropped(informer: Informer) -> None:
    """Wait for the first sync, but not of an informer that was released meanwhile: it will never sync."""
    synced = asyncio.ensure_future(informer.wait_synced())
    dropped = asyncio.ensure_future(informer.dropped.wait())
    try:
        await asyncio.wait((synced, dropped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        synced.cancel()
        dropped.cancel()
