"""A Client that reads from the cache what the cache holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.cache._selectors import LabelSelector
from pyoperator.client import DelegatingClient, ObjectList, Undecodable
from pyoperator.objects import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.cache._cache import Cache
    from pyoperator.cache._informer import Informer
    from pyoperator.client import Client, Key
    from pyoperator.client import LabelSelector as SelectorArgument


class CachedClient(DelegatingClient):
    """Answer ``get`` and ``list`` from the cache where an informer covers what is asked; all else is the inner client's.

    Covered means: the informer has synced, holds whole objects, and of the namespace asked for. An informer with a
    label selector covers lists whose selector includes its own, and a ``get`` that finds the object; otherwise the
    request goes to the server, so that the answer is the same with or without the cache, except that it may lag
    behind by the latency of the watch. Reads that only a server can answer (``field_selector``, ``limit``,
    ``continue_``, an exact ``resource_version``, subresources) are live. A list over all namespaces, of a cache that is
    confined to some, means those.
    """

    def __init__(self, client: Client, cache: Cache) -> None:
        super().__init__(client)
        self.cache = cache

    async def get(self, kind: Any, key: Key, *, subresource: str = "", **options: Any) -> Any:
        """Read one object, from the cache if it is there; raises NotFound, DecodeError."""
        resource = await self.resource(kind)
        full = self.complete_key(resource, key)
        informer = None if subresource else self._informer(kind, full.namespace)
        if informer is not None:
            entry = informer.store.get(full)
            if entry is not None:
                return self.scheme.codec(kind).decode(entry.raw)
            if not informer.selective:
                return self.cache.get(kind, full)  # raises the NotFound
        return await self.inner.get(kind, full, subresource=subresource, **options)

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
        Raises NoInformer for an ``index`` of a kind that is not cached.
        """
        await self.resource(kind)
        live = field_selector or any(
            options.get(name) not in (None, "", 0, "0") for name in ("limit", "continue_", "resource_version")
        )
        informer = None if live else self._informer(kind, namespace)
        if index is not None and informer is None:
            self.cache.entries(kind, namespace=namespace, index=index)  # raises, saying what is missing
            raise ValueError("index= needs a cached list: leave out field_selector, limit, continue_, resource_version")
        wanted = _parse(label_selector)
        if informer is None or not (index is not None or _includes(wanted, informer)):
            found: ObjectList[Any] = await self.inner.list(
                kind, namespace=namespace, label_selector=label_selector, field_selector=field_selector, **options
            )
            return found
        codec = self.scheme.codec(kind)
        items: list[Any] = []
        undecodable: list[Undecodable] = []
        indexed = dict([index]) if isinstance(index, tuple) else index
        for entry in informer.store.select(namespace=namespace, selector=wanted, indexed=indexed):
            try:
                items.append(codec.decode(entry.raw))
            except DecodeError as error:
                undecodable.append(Undecodable(entry.key, error))
        return ObjectList(items, undecodable=tuple(undecodable))

    def _informer(self, kind: Any, namespace: str) -> Informer | None:
        informer = self.cache.find_informer(kind, namespace)
        if informer is None or not informer.synced or informer.options.metadata_only:
            return None
        return informer


def _parse(selector: SelectorArgument) -> LabelSelector:
    if isinstance(selector, str):
        return LabelSelector.parse(selector)
    return LabelSelector.of({"matchLabels": dict(selector)})


def _includes(wanted: LabelSelector, informer: Informer) -> bool:
    """Tell whether what is wanted can only be among what the informer selects."""
    if informer.options.field_selector:
        return False
    held = LabelSelector.parse(informer.options.label_selector)
    return set(held.requirements) <= set(wanted.requirements)
