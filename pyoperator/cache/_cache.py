"""All informers of one process, and the reads they answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, overload

import structlog

from pyoperator.cache._errors import CacheNotReady, NoInformer, NotSynced, not_found
from pyoperator.cache._informer import Informer
from pyoperator.cache._options import CacheOptions
from pyoperator.cache._selectors import LabelSelector
from pyoperator.cache._status import CacheHealth, CacheStatus
from pyoperator.clock import Randomness, SystemClock
from pyoperator.objects import DecodeError, GroupVersionKind, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._status import InformerStatus
    from pyoperator.cache._store import IndexFunction
    from pyoperator.client import Transport
    from pyoperator.clock import Clock
    from pyoperator.objects import ResourceKind, Scheme, Unstructured

T = TypeVar("T")
Entries: TypeAlias = "list[Entry]"

BROKEN_AFTER: Final = 300.0
# Another informer's sign of life proves that the server answers, if it is younger than two bookmark periods.
_ANSWERS_WITHIN: Final = 120.0


class Cache:
    """Local copies of kinds, always fresh, read without a request.

    There is no implicit informer: a kind is cached once :meth:`informer` was called for it (by a controller's source,
    or by you), with the options that ``by_kind`` gives for it. One informer serves all ways to read a kind: its class,
    its GVK (Unstructured), or entries. Every read builds fresh objects: change them freely.

    ``default_namespaces``: for namespaced kinds whose options name none; empty means all. ``by_kind`` maps classes or
    GVKs to :class:`CacheOptions`.
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
        logger: FilteringBoundLogger | None = None,
    ) -> None:
        self.scheme = scheme
        self._transport = transport
        self._clock = clock if clock is not None else SystemClock()
        self._random = random if random is not None else Randomness()
        self._logger: FilteringBoundLogger = logger if logger is not None else structlog.get_logger("pyoperator.cache")
        self._default_namespaces = tuple(default_namespaces)
        self._default_options = default_options if default_options is not None else CacheOptions()
        self._by_kind: dict[Any, CacheOptions] = dict(by_kind or {})
        self._informers: dict[tuple[GroupVersionKind, CacheOptions], Informer] = {}
        self._references: dict[Informer, int] = {}
        self._indexes: dict[GroupVersionKind, dict[str, IndexFunction]] = {}
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

    async def wait_for_sync(self) -> None:
        """Wait until all informers, those added meanwhile too, have synced once; for ever if need be."""
        while waiting := [informer for informer in self._references if not informer.synced]:
            synced = asyncio.ensure_future(waiting[0].wait_synced())
            dropped = asyncio.ensure_future(waiting[0].dropped.wait())  # released meanwhile: it will never sync
            try:
                await asyncio.wait((synced, dropped), return_when=asyncio.FIRST_COMPLETED)
            finally:
                synced.cancel()
                dropped.cancel()

    def _start(self, informer: Informer) -> None:
        if self._group is not None and informer not in self._tasks:
            self._tasks[informer] = self._group.create_task(informer.run(), name=f"{informer!r}")

    # --- informers

    def informer(self, kind: Any, options: CacheOptions | None = None, **overrides: Any) -> Informer:
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
            for name, function in self._indexes.get(resource.gvk, {}).items():
                informer.add_index(name, function)
            self._informers[resource.gvk, wanted] = informer
            self._references[informer] = 0
            self._start(informer)
        self._references[informer] += 1
        return informer

    def release(self, informer: Informer) -> None:
        """Give one reference back; the last one stops the informer's requests and frees its memory."""
        if informer not in self._references:
            raise ValueError(
                f"{informer!r} is not (any more) an informer of this cache: release it once per informer()"
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
        for name in [name for name, found in self._informers.items() if found is informer]:
            del self._informers[name]
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

    # --- indexes

    def add_index(self, kind: type[T] | GroupVersionKind, name: str, function: Callable[[Any], Iterable[str]]) -> None:
        """Index a kind by what ``function`` returns for an object decoded as ``kind``; any time, before or after sync.

        It holds for the kind's informers of now and of later. To index by metadata alone, and much faster, use
        ``informer.add_index``. Raises ValueError for a name that has another function.
        """
        gvk = self.scheme.resource(kind).gvk
        codec = self.scheme.codec(kind)

        def indexed(entry: Entry) -> Iterable[str]:
            return function(codec.decode(entry.raw))

        known = self._indexes.setdefault(gvk, {})
        if name in known:
            raise ValueError(f"{gvk} has an index {name!r} already: choose another name")
        known[name] = indexed
        for (of, _), informer in self._informers.items():
            if of == gvk:
                informer.add_index(name, indexed)

    # --- reads

    @overload
    def get(self, kind: GroupVersionKind, key: ObjectKey) -> Unstructured: ...
    @overload
    def get(self, kind: type[T], key: ObjectKey) -> T: ...
    def get(self, kind: Any, key: ObjectKey) -> Any:
        """Return a fresh object.

        Raises NotFound, NoInformer (with the remedy), NotSynced before the first sync, DecodeError for an object that
        does not fit the class.
        """
        return self.scheme.codec(kind).decode(self.get_entry(kind, key).raw)

    def get_entry(self, kind: Any, key: ObjectKey) -> Entry:
        """Return an object's entry (metadata and bytes) without building the object; errors as :meth:`get`."""
        informer = self._reader(kind, key.namespace)
        entry = informer.store.get(ObjectKey(*key))
        if entry is None:
            self._check_synced(informer)
            raise not_found(informer.resource, key)
        return entry

    @overload
    def list(
        self,
        kind: GroupVersionKind,
        *,
        namespace: str = ...,
        label_selector: str | LabelSelector = ...,
        index: tuple[str, str] | Mapping[str, str] | None = ...,
    ) -> list[Unstructured]: ...
    @overload
    def list(
        self,
        kind: type[T],
        *,
        namespace: str = ...,
        label_selector: str | LabelSelector = ...,
        index: tuple[str, str] | Mapping[str, str] | None = ...,
    ) -> list[T]: ...
    def list(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: str | LabelSelector = "",
        index: tuple[str, str] | Mapping[str, str] | None = None,
    ) -> list[Any]:
        """Return fresh objects that meet all conditions; several indexes are ANDed.

        An object that does not fit the class is left out and logged: it must not hide the others. Raises NoInformer,
        NotSynced, SelectorError, and KeyError for an unknown index.
        """
        codec = self.scheme.codec(kind)
        found: list[Any] = []
        for entry in self.entries(kind, namespace=namespace, label_selector=label_selector, index=index):
            try:
                found.append(codec.decode(entry.raw))
            except DecodeError as error:  # one object must not fail the list
                self._logger.warning(
                    "a cached object does not fit its class; left out of a list",
                    kind=str(codec.resource.gvk),
                    key=str(entry.key),
                    error=str(error),
                )
        return found

    def entries(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: str | LabelSelector = "",
        index: tuple[str, str] | Mapping[str, str] | None = None,
    ) -> Entries:
        """Return entries (metadata and bytes) as :meth:`list` does objects; nothing is decoded."""
        selector = LabelSelector.parse(label_selector) if isinstance(label_selector, str) else label_selector
        indexed = dict([index]) if isinstance(index, tuple) else index
        informer = self._reader(kind, namespace)
        self._check_synced(informer)
        return informer.store.select(
            namespace=namespace, selector=selector if selector.requirements else None, indexed=indexed
        )

    def _reader(self, kind: Any, namespace: str) -> Informer:
        informer = self.find_informer(kind, namespace)
        if informer is not None:
            return informer
        resource = self.scheme.resource(kind)
        partly = [found for (of, _), found in self._informers.items() if of == resource.gvk]
        if partly:
            held = ", ".join(partly[0].namespaces)
            raise NoInformer(
                f"{resource.gvk} is cached for the namespaces {held} only, not for {namespace!r}: "
                "add it to the namespaces of its CacheOptions, or read with manager.api_reader"
            )
        raise NoInformer(
            f"{resource.gvk} is not cached: let a controller watch it (for_, owns, watches), call cache.informer() for it "
            "before the cache is read, or read with manager.api_reader"
        )

    def _check_synced(self, informer: Informer) -> None:
        if not informer.synced:
            status = informer.status()
            why = f" ({status.failure})" if status.failure else ""
            raise NotSynced(
                f"{informer.resource.gvk} has not been listed yet{why}: await cache.wait_for_sync() before the first read"
            )

    # --- state

    @property
    def informers(self) -> tuple[Informer, ...]:
        """All informers that somebody has asked for."""
        return tuple(self._references)

    def status(self) -> CacheStatus:
        statuses = tuple(informer.status() for informer in self._references)
        return CacheStatus(self._group is not None, all(found.synced for found in statuses), statuses)

    def health(self) -> CacheHealth:
        """Tell whether the copies can be relied on.

        Not before the first sync of all. Later only a watch that stays broken for five minutes while the API server
        answers counts: when the server is down, all replicas would go out of service, and webhooks with them.
        """
        statuses = self.status().informers
        problems: list[str] = []
        for status in statuses:
            if not status.synced:
                problems.append(f"{status.kind}: not synced{f' ({status.failure})' if status.failure else ''}")
                continue
            for reflector in status.reflectors:
                if reflector.failing_for is None or reflector.failing_for <= BROKEN_AFTER:
                    continue
                if reflector.server_answers or _another_lives(statuses, status):
                    where = f" in {reflector.namespace}" if reflector.namespace else ""
                    problems.append(
                        f"{status.kind}{where}: watch broken for {reflector.failing_for:.0f} s ({reflector.failure})"
                    )
        return CacheHealth(not problems, tuple(problems))

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


def _another_lives(statuses: tuple[InformerStatus, ...], broken: InformerStatus) -> bool:
    return any(
        status is not broken
        and status.failing_for is None
        and status.sign_of_life_age is not None
        and status.sign_of_life_age < _ANSWERS_WITHIN
        for status in statuses
    )
