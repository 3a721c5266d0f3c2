"""A Client that reads from the cache what the cache holds."""

from __future__ import annotations

from copy import copy
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pyoperator.cache._errors import NotSynced
from pyoperator.cache._field_selector import BUILT_IN, FieldSelector
from pyoperator.cache._selectors import LabelSelector
from pyoperator.client import Client, DelegatingClient, ListOptions, ObjectList, Undecodable, signature_of
from pyoperator.objects import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from pyoperator.cache._cache import Cache
    from pyoperator.cache._informer import Informer
    from pyoperator.client import Key, Transport
    from pyoperator.client import LabelSelector as SelectorArgument
    from pyoperator.objects import GroupVersionKind, Unstructured

T = TypeVar("T")


class CachedListOptions(ListOptions, total=False):
    """Options of a list; ``index`` is for kinds that are cached."""

    index: tuple[str, str] | Mapping[str, str] | None


class CachedClient(DelegatingClient):
    """Answer ``get`` and ``list`` from the cache where an informer covers what is asked; all else is the inner client's.

    Covered means: the informer has synced, holds whole objects, and of the namespace asked for. An informer with a
    label selector covers lists whose selector includes its own, and a ``get`` that finds the object; otherwise the
    request goes to the server, so that the answer is the same with or without the cache, except that it may lag
    behind by the latency of the watch. A list with a ``field_selector`` is answered from the cache if each of its
    fields is ``metadata.name``, ``metadata.namespace``, the informer's own, or the name of an index, compared by ``=``.
    Reads that only a server can answer (other field selectors, ``limit``, ``continue_``, an exact
    ``resource_version``, subresources) are live. A list over all namespaces, of a cache that is confined to some,
    means those. If the cache has implicit informers, a read of a kind that has none makes one and waits for its first
    sync; raises NotSynced if that takes too long.

    **Reads see your own writes** (``read_your_own_writes``; controller-runtime has it since 0.25): a read waits until
    the informer has seen what was written before it through any CachedClient of the cache, a ``get`` for the writes of
    its object, a ``list`` for those in its namespace that it may select. After ``own_write_timeout`` seconds (the watch
    is broken, or far behind) it asks the server, and later reads do so at once until the write was seen; a list that
    only indexes can answer raises NotSynced instead. Nothing waits for the writes of others, nor for one whose answer
    was lost: nobody knows whether it took place. Reads of the cache itself (``cache.get``) never wait.
    """

    def __init__(
        self, client: Client, cache: Cache, *, read_your_own_writes: bool = True, own_write_timeout: float = 5.0
    ) -> None:
        if not (isfinite(own_write_timeout) and own_write_timeout >= 0):
            raise ValueError(
                f"own_write_timeout is {own_write_timeout} s: give seconds from 0 up (0 asks the server at once), or "
                "switch the waiting off with read_your_own_writes=False"
            )
        if read_your_own_writes:
            client = _over(client, cache.write_routing.observing(client.transport))
        super().__init__(client)
        self.cache = cache
        self.read_your_own_writes = read_your_own_writes
        self.own_write_timeout = own_write_timeout

    @signature_of(Client.get)
    async def get(self, kind: Any, key: Key, *, subresource: str = "", **options: Any) -> Any:
        """Read one object, from the cache if it is there; raises NotFound, DecodeError."""
        resource = await self.resource(kind)
        full = self.complete_key(resource, key)
        informer = None if subresource else await self._informer(kind, full.namespace)
        if (
            informer is not None
            and informer.own_writes.unseen
            and self.read_your_own_writes
            and informer.own_writes.concerns(full)
            and not await informer.own_writes.caught_up(full, self.own_write_timeout)
        ):
            informer = None
        if informer is not None:
            entry = informer.store.get(full)
            if entry is not None:
                return self.scheme.codec(kind).decode(entry.raw)
            if not informer.selective:
                return self.cache.get(kind, full)  # raises the NotFound
        return await self.inner.get(kind, full, subresource=subresource, **options)

    @overload
    async def list(self, kind: GroupVersionKind, **options: Unpack[CachedListOptions]) -> ObjectList[Unstructured]: ...
    @overload
    async def list(self, kind: type[T], **options: Unpack[CachedListOptions]) -> ObjectList[T]: ...
    async def list(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: SelectorArgument = "",
        field_selector: str = "",
        index: tuple[str, str] | Mapping[str, str] | None = None,
        **options: Any,
    ) -> ObjectList[Any]:
        """Read a collection; ``index`` (one pair, or several to be ANDed) is only for kinds that are cached.

        A cached list carries no ``resource_version``: it is the state of now, and no place to start a watch from.
        Raises NoInformer for an ``index`` of a kind that is not cached, NotSynced when an own write does not come.
        """
        await self.resource(kind)
        live = any(options.get(name) not in (None, "", 0, "0") for name in ("limit", "continue_", "resource_version"))
        informer = None if live else await self._informer(kind, namespace)
        if index is not None and informer is None:
            self.cache.entries(kind, namespace=namespace, index=index)  # raises, saying what is missing
            raise ValueError("index= needs a cached list: leave out limit, continue_, resource_version")
        wanted = _parse(label_selector)
        fields = None if informer is None else _cached_fields(field_selector, informer, indexed=index is not None)
        if informer is None or fields is None or not (index is not None or _includes(wanted, informer)):
            if index is not None:
                raise ValueError(
                    f"index= needs a cached list, and no index answers the field selector {field_selector!r}"
                )
            found: ObjectList[Any] = await self.inner.list(
                kind, namespace=namespace, label_selector=label_selector, field_selector=field_selector, **options
            )
            return found
        if (
            informer.own_writes.unseen
            and self.read_your_own_writes
            and not await informer.own_writes.caught_up_list(namespace, wanted, self.own_write_timeout)
        ):
            if index is not None or any(field not in BUILT_IN for field, _ in fields.equal):
                raise NotSynced(
                    f"the cache of {informer.resource.gvk} has not seen an own write within "
                    f"{self.own_write_timeout:g} s, and only its indexes can answer this list: let the reconcile be repeated"
                )
            spaces = (namespace,) if namespace else informer.namespaces
            return await self._live(
                kind, spaces, {"label_selector": label_selector, "field_selector": field_selector, **options}
            )
        codec = self.scheme.codec(kind)
        items: list[Any] = []
        undecodable: list[Undecodable] = []
        indexed = dict([index]) if isinstance(index, tuple) else index
        for entry in informer.store.select(namespace=namespace, selector=wanted, indexed=indexed, fields=fields):
            try:
                items.append(codec.decode(entry.raw))
            except DecodeError as error:
                undecodable.append(Undecodable(entry.key, error))
        return ObjectList(items, undecodable=tuple(undecodable))

    async def _live(self, kind: Any, namespaces: tuple[str, ...], options: Mapping[str, Any]) -> ObjectList[Any]:
        """List from the server what the cache holds of a kind: all namespaces, or those it is confined to."""
        lists: list[ObjectList[Any]] = [
            await self.inner.list(kind, namespace=namespace, **options) for namespace in namespaces
        ]
        if len(lists) == 1:
            return lists[0]
        return ObjectList(
            [item for found in lists for item in found.items],
            undecodable=tuple(failure for found in lists for failure in found.undecodable),
        )

    async def _informer(self, kind: Any, namespace: str) -> Informer | None:
        informer = self.cache.find_informer(kind, namespace)
        if informer is None or informer.options.metadata_only or not informer.synced:
            return await self.cache.implicit_informer(kind, namespace)
        return informer


def _over(client: Client, transport: Transport) -> Client:
    """Return the same client, wrappers and all, over another transport; the given one stays as it is."""
    found = copy(client)
    found.transport = transport
    if isinstance(found, DelegatingClient):
        found.inner = _over(found.inner, transport)
    return found


def _parse(selector: SelectorArgument) -> LabelSelector:
    if isinstance(selector, str):
        return LabelSelector.parse(selector)
    return LabelSelector.of({"matchLabels": dict(selector)})


def _includes(wanted: LabelSelector, informer: Informer) -> bool:
    """Tell whether what is wanted can only be among what the informer selects."""
    held = LabelSelector.parse(informer.options.label_selector)
    return set(held.requirements) <= set(wanted.requirements)


def _cached_fields(text: str, informer: Informer, *, indexed: bool) -> FieldSelector | None:
    """Return what is left to select of a field selector; None if the informer lacks objects, or an index for it."""
    asked = FieldSelector.parse(text)
    left = asked.without(informer.held_fields)
    if left is None and indexed:
        left = asked  # an index asks for what is cached
    return left if left is not None and informer.store.answers(left) else None
