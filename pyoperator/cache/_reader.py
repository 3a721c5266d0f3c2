"""Reads that are answered from informers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from pyoperator.cache._errors import NoInformer, NotSynced, not_found
from pyoperator.cache._field_selector import FieldSelector
from pyoperator.cache._selectors import LabelSelector
from pyoperator.objects import DecodeError, GroupVersionKind, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._informer import Informer
    from pyoperator.client import Key
    from pyoperator.objects import ResourceKind, Scheme, Unstructured

T = TypeVar("T")
Entries: TypeAlias = "list[Entry]"


class CacheReader(ABC):
    """Answer ``get`` and ``list`` from the bytes that informers hold; every read builds fresh objects."""

    def __init__(self, scheme: Scheme, logger: FilteringBoundLogger) -> None:
        self.scheme = scheme
        self._logger = logger

    @property
    @abstractmethod
    def informers(self) -> tuple[Informer, ...]:
        """All informers that there are."""

    @abstractmethod
    def find_informer(self, kind: Any, namespace: str = "") -> Informer | None:
        """Return the informer that answers reads of a kind in a namespace, or None."""

    @overload
    def get(self, kind: GroupVersionKind, key: Key) -> Unstructured: ...
    @overload
    def get(self, kind: type[T], key: Key) -> T: ...
    def get(self, kind: Any, key: Key) -> Any:
        """Return a fresh object; the key is an ObjectKey, (namespace, name), ``"namespace/name"``, or ``"name"``.

        Raises NotFound, NoInformer (with the remedy), NotSynced before the first sync, DecodeError for an object that
        does not fit the class, ValueError for a key without a namespace of a namespaced kind.
        """
        codec = self.scheme.codec(kind)
        return codec.decode(self._entry(kind, codec.resource, key, whole=True).raw)

    def get_entry(self, kind: Any, key: Key) -> Entry:
        """Return an object's entry (metadata and bytes) without building the object; errors as :meth:`get`."""
        return self._entry(kind, self.scheme.resource(kind), key, whole=False).copied()

    def _entry(self, kind: Any, resource: ResourceKind, key: Key, *, whole: bool) -> Entry:
        namespace, name = ObjectKey.of(key)
        if not resource.namespaced:
            namespace = ""
        elif not namespace:
            raise ValueError(
                f"{resource.gvk.kind} {name!r} is namespaced: a cache has no namespace of its own, give (namespace, name)"
            )
        informer = self._reader(kind, namespace, whole=whole)
        found = ObjectKey(namespace, name)
        entry = informer.store.get(found)
        if entry is None:
            self._check_synced(informer)
            raise not_found(informer.resource, found)
        return entry

    @overload
    def list(
        self,
        kind: GroupVersionKind,
        *,
        namespace: str = ...,
        label_selector: str | LabelSelector = ...,
        field_selector: str | FieldSelector = ...,
        index: tuple[str, str] | Mapping[str, str] | None = ...,
    ) -> list[Unstructured]: ...
    @overload
    def list(
        self,
        kind: type[T],
        *,
        namespace: str = ...,
        label_selector: str | LabelSelector = ...,
        field_selector: str | FieldSelector = ...,
        index: tuple[str, str] | Mapping[str, str] | None = ...,
    ) -> list[T]: ...
    def list(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: str | LabelSelector = "",
        field_selector: str | FieldSelector = "",
        index: tuple[str, str] | Mapping[str, str] | None = None,
    ) -> list[Any]:
        """Return fresh objects that meet all conditions; several indexes and fields are ANDed.

        ``field_selector`` (``spec.nodeName=a,metadata.name=b``) is answered from indexes named after the fields;
        ``metadata.name`` and ``metadata.namespace`` need none. An object that does not fit the class is left out and
        logged: it must not hide the others. Raises NoInformer, NotSynced, SelectorError, and NoIndex for an index or
        a field that is not indexed.
        """
        codec = self.scheme.codec(kind)
        found: list[Any] = []
        for entry in self._select(kind, namespace, label_selector, field_selector, index, whole=True):
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
        field_selector: str | FieldSelector = "",
        index: tuple[str, str] | Mapping[str, str] | None = None,
    ) -> Entries:
        """Return entries (metadata and bytes) as :meth:`list` does objects; nothing is decoded."""
        found = self._select(kind, namespace, label_selector, field_selector, index, whole=False)
        return [entry.copied() for entry in found]

    def _select(
        self,
        kind: Any,
        namespace: str,
        label_selector: str | LabelSelector,
        field_selector: str | FieldSelector,
        index: tuple[str, str] | Mapping[str, str] | None,
        *,
        whole: bool,
    ) -> Entries:
        selector = LabelSelector.parse(label_selector) if isinstance(label_selector, str) else label_selector
        fields = FieldSelector.parse(field_selector) if isinstance(field_selector, str) else field_selector
        if not self.scheme.resource(kind).namespaced:
            namespace = ""
        informer = self._reader(kind, namespace, whole=whole)
        self._check_synced(informer)
        return informer.store.select(
            namespace=namespace,
            selector=selector if selector.requirements else None,
            indexed=dict([index]) if isinstance(index, tuple) else index,
            # What the server selects by already needs no index here.
            fields=fields.without(informer.held_fields) or fields,
        )

    def _reader(self, kind: Any, namespace: str, *, whole: bool) -> Informer:
        informer = self.find_informer(kind, namespace)
        if informer is not None:
            if whole and informer.options.metadata_only:
                raise NoInformer(
                    f"{informer.resource.gvk} is cached as metadata only: read it with cache.get_entry() or "
                    "cache.entries(), ask the server with manager.api_reader, or cache whole objects with "
                    "cache.get_informer()"
                )
            return informer
        resource = self.scheme.resource(kind)
        partly = [found for found in self.informers if found.resource.gvk == resource.gvk]
        if partly:
            held = ", ".join(partly[0].namespaces)
            raise NoInformer(
                f"{resource.gvk} is cached for the namespaces {held} only, not for {namespace!r}: "
                "add it to the namespaces of its CacheOptions, or read with manager.api_reader"
            )
        raise NoInformer(
            f"{resource.gvk} is not cached: let a controller watch it (for_, owns, watches), call cache.get_informer() for it "
            "before the cache is read, or read with manager.api_reader"
        )

    def _check_synced(self, informer: Informer) -> None:
        if not informer.synced:
            status = informer.status()
            why = f" ({status.failure})" if status.failure else ""
            raise NotSynced(
                f"{informer.resource.gvk} has not been listed yet{why}: await cache.wait_for_cache_sync() before the first read"
            )
