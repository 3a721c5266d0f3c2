"""The objects of one kind, by namespace and name, with indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pyoperator.cache._entry import CacheEvent, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyoperator.cache._selectors import LabelSelector
    from pyoperator.objects import ObjectKey

IndexFunction: TypeAlias = "Callable[[Entry], Iterable[str]]"


def owner_uids(entry: Entry) -> Iterable[str]:
    """Index function: the uids of an object's owners, to find the children of a parent."""
    return [owner.uid for owner in entry.metadata.owner_references]


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Size of a store: objects, and the bytes of their JSON."""

    objects: int
    bytes: int
    indexes: tuple[str, ...]


class _Index:
    """One index: value -> keys, and key -> values to take an object out without asking the function again."""

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        # A dict as an ordered set: the order of results must not depend on string hashes.
        self.keys: dict[str, dict[ObjectKey, None]] = {}
        self.values: dict[ObjectKey, tuple[str, ...]] = {}

    def put(self, key: ObjectKey, values: tuple[str, ...]) -> None:
        if self.values.get(key) == values:
            return
        self.remove(key)
        if values:
            self.values[key] = values
            for value in values:
                self.keys.setdefault(value, {})[key] = None

    def remove(self, key: ObjectKey) -> None:
        for value in self.values.pop(key, ()):
            keys = self.keys[value]
            keys.pop(key, None)
            if not keys:
                del self.keys[value]


class Store:
    """Hold entries and tell what each change was; nothing here waits, decodes or calls handlers.

    An index function that raises leaves its object out of that index; ``on_index_error(name, key, error)`` is told.
    """

    def __init__(self, on_index_error: Callable[[str, ObjectKey, Exception], None] | None = None) -> None:
        self._namespaces: dict[str, dict[str, Entry]] = {}
        self._indexes: dict[str, _Index] = {}
        self._on_index_error = on_index_error
        self._objects = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._objects

    def get(self, key: ObjectKey) -> Entry | None:
        """Return the entry of that key, or None."""
        found = self._namespaces.get(key.namespace)
        return None if found is None else found.get(key.name)

    def put(self, entry: Entry, *, initial: bool = False) -> list[CacheEvent]:
        """Take in an object's state and return what changed.

        Nothing for a version that is known already or older than the known one (a watch that resumes repeats).
        An object with another uid under the same name was deleted meanwhile: a DELETED and an ADDED.
        """
        key = entry.key
        old = self.get(key)
        if old is None:
            self._insert(key, entry)
            return [CacheEvent("ADDED", key, None, entry, initial)]
        before, after = old.metadata, entry.metadata
        if before.uid != after.uid:
            # A late state of the former object has a lower version than the one known.
            if is_older(after.resource_version, before.resource_version):
                return []
            self._remove(key, old)
            self._insert(key, entry)
            return [
                CacheEvent("DELETED", key, old, None, final_state_unknown=True),
                CacheEvent("ADDED", key, None, entry, initial),
            ]
        if before.resource_version == after.resource_version or is_older(
            after.resource_version, before.resource_version
        ):
            return []
        self._namespaces[key.namespace][key.name] = entry
        self._bytes += len(entry.raw) - len(old.raw)
        self._index(key, entry)
        return [CacheEvent("MODIFIED", key, old, entry)]

    def overwrite(self, entry: Entry) -> list[CacheEvent]:
        """Take in a state even if its version is lower: the server itself went back (restored from a backup)."""
        old = self.get(entry.key)
        if old is None or old.metadata.uid == entry.metadata.uid:
            if old is not None and old.metadata.resource_version == entry.metadata.resource_version:
                return []
            if old is not None:
                self._remove(entry.key, old)
            self._insert(entry.key, entry)
            return [CacheEvent("ADDED" if old is None else "MODIFIED", entry.key, old, entry)]
        self._remove(entry.key, old)
        self._insert(entry.key, entry)
        return [
            CacheEvent("DELETED", entry.key, old, None, final_state_unknown=True),
            CacheEvent("ADDED", entry.key, None, entry),
        ]

    def delete(self, key: ObjectKey, final: Entry | None = None) -> list[CacheEvent]:
        """Forget an object; ``final`` is its last state as told by the server, None if only its absence is known.

        A ``final`` that is older than the known state is a repetition and changes nothing.
        """
        old = self.get(key)
        if old is None:
            return []
        if final is not None and is_older(final.metadata.resource_version, old.metadata.resource_version):
            return []
        self._remove(key, old)
        return [CacheEvent("DELETED", key, final or old, None, final_state_unknown=final is None)]

    def entries(self, namespace: str = "") -> Iterator[Entry]:
        """Iterate over a snapshot of one namespace, or of all for the empty string."""
        if namespace:
            yield from tuple(self._namespaces.get(namespace, {}).values())
            return
        for found in tuple(self._namespaces.values()):
            yield from tuple(found.values())

    def select(
        self,
        *,
        namespace: str = "",
        selector: LabelSelector | None = None,
        indexed: Mapping[str, str] | None = None,
    ) -> list[Entry]:
        """Return the entries that meet all conditions; raises KeyError, with a remedy, for an unknown index."""
        candidates: Iterable[Entry] = self._by_index(indexed) if indexed else self.entries(namespace)
        return [
            entry
            for entry in candidates
            if (not namespace or entry.metadata.namespace == namespace)
            and (selector is None or selector.matches(entry.metadata.labels))
        ]

    def _by_index(self, indexed: Mapping[str, str]) -> list[Entry]:
        found: list[dict[ObjectKey, None]] = []
        for name, value in indexed.items():
            if name not in self._indexes:
                known = ", ".join(sorted(self._indexes)) or "none"
                raise KeyError(
                    f"no index {name!r} (known: {known}): add it with cache.add_index(kind, {name!r}, function)"
                )
            found.append(self._indexes[name].keys.get(value, {}))
        smallest = min(found, key=len)
        entries = (self.get(key) for key in smallest if all(key in keys for keys in found))
        return [entry for entry in entries if entry is not None]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index what is here and what will come; raises ValueError if the name has another function already."""
        existing = self._indexes.get(name)
        if existing is not None:
            if existing.function == function:
                return
            raise ValueError(f"index {name!r} exists with another function: choose another name")
        self._indexes[name] = _Index(function)
        for entry in self.entries():
            self._index(entry.key, entry, only=name)

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(self._objects, self._bytes, tuple(self._indexes))

    def _insert(self, key: ObjectKey, entry: Entry) -> None:
        self._namespaces.setdefault(key.namespace, {})[key.name] = entry
        self._objects += 1
        self._bytes += len(entry.raw)
        self._index(key, entry)

    def _remove(self, key: ObjectKey, old: Entry) -> None:
        found = self._namespaces[key.namespace]
        del found[key.name]
        if not found:
            del self._namespaces[key.namespace]
        self._objects -= 1
        self._bytes -= len(old.raw)
        for index in self._indexes.values():
            index.remove(key)

    def _index(self, key: ObjectKey, entry: Entry, *, only: str = "") -> None:
        for name, index in self._indexes.items():
            if only and name != only:
                continue
            try:
                values = tuple(dict.fromkeys(index.function(entry)))
            except Exception as error:
                index.remove(key)
                if self._on_index_error is not None:
                    self._on_index_error(name, key, error)
            else:
                index.put(key, values)

    def __repr__(self) -> str:
        return f"<Store {self._objects} objects, {self._bytes} bytes, indexes: {', '.join(self._indexes) or 'none'}>"


def is_older(version: str, than: str) -> bool:
    """Tell whether a resourceVersion precedes another; False where they are not numbers (then order is unknown)."""
    if len(version) == len(than):
        return version < than and version.isdecimal() and than.isdecimal()
    try:
        return int(version) < int(than)
    except ValueError:
        return False
