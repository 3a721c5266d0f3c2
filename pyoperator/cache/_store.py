"""The objects of one kind, by namespace and name, with indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec.structs

from pyoperator.cache._entry import CacheEvent, Entry
from pyoperator.cache._errors import NoIndex, SelectorError
from pyoperator.cache._field_selector import BUILT_IN, NAME, NAMESPACE
from pyoperator.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyoperator.cache._field_selector import FieldSelector
    from pyoperator.cache._selectors import LabelSelector

IndexFunction: TypeAlias = "Callable[[Entry], Iterable[str]]"


def owner_uids(entry: Entry) -> Iterable[str]:
    """Index function: the uids of an object's owners, to find the children of a parent."""
    return [owner.uid for owner in entry.metadata.owner_references]


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Size of a store: objects, the bytes of their JSON, and the bytes held of it (fewer, if it is compressed)."""

    objects: int
    bytes: int
    held_bytes: int
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
        self._held_bytes = 0
        self._saved_bytes = 0  # by compression: apart, so that those who don't compress pay one comparison

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
        self._held_bytes += len(entry.held) - len(old.held)
        if entry.packing is not None:
            self._saved_bytes += _saved(entry) - _saved(old)
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
        fields: FieldSelector | None = None,
    ) -> list[Entry]:
        """Return the entries that meet all conditions.

        A field selector is answered from ``metadata.name`` and ``metadata.namespace``, which need no index, and from
        indexes whose names are the fields' paths. Raises NoIndex, with a remedy, for an unknown index or field, and
        SelectorError for ``!=``, which an index can't answer.
        """
        pairs = list(indexed.items()) if indexed else []
        name = ""
        tests: list[tuple[str, str]] = []
        if fields is not None:
            if fields.unequal:
                raise SelectorError(
                    f"field selector '{fields}': a cached list can't answer '!=': filter what it returns, or ask the "
                    "server (manager.api_reader)"
                )
            for field, value in fields.equal:
                if field not in BUILT_IN:
                    pairs.append((field, value))
                    continue
                tests.append((field, value))
                if field == NAME:
                    name = value
                elif not namespace:
                    namespace = value
        candidates: Iterable[Entry]
        if pairs:
            candidates = self._by_index(pairs)
        elif name:
            spaces = [namespace] if namespace else list(self._namespaces)
            candidates = [entry for space in spaces if (entry := self.get(ObjectKey(space, name))) is not None]
        else:
            candidates = self.entries(namespace)
        return [
            entry
            for entry in candidates
            if (not namespace or entry.metadata.namespace == namespace)
            and (selector is None or selector.matches(entry.metadata.labels))
            and (not tests or _meets(entry, tests))
        ]

    def answers(self, fields: FieldSelector) -> bool:
        """Tell whether :meth:`select` can answer a field selector."""
        return not fields.unequal and all(field in BUILT_IN or field in self._indexes for field, _ in fields.equal)

    def _by_index(self, pairs: list[tuple[str, str]]) -> list[Entry]:
        found: list[dict[ObjectKey, None]] = []
        for name, value in pairs:
            if name not in self._indexes:
                known = ", ".join(sorted(self._indexes)) or "none"
                raise NoIndex(
                    f"no index {name!r} (known: {known}): add it with cache.add_index(kind, {name!r}, function)"
                )
            found.append(self._indexes[name].keys.get(value, {}))
        smallest = min(found, key=len)
        entries = (self.get(key) for key in smallest if all(key in keys for keys in found))
        return [entry for entry in entries if entry is not None]

    def pack(self, entry: Entry) -> None:
        """Compress an entry that came before its kind's dictionary was trained, if it is still here."""
        packing = entry.packing
        if packing is None or self.get(entry.key) is not entry or packing.is_packed(entry.held):
            return
        held = packing.pack(entry.key, entry.held)
        saved = len(entry.held) - len(held)
        self._held_bytes -= saved
        self._saved_bytes += saved
        # In place, for all who hold this entry; one assignment, as a thread may read it at this moment.
        msgspec.structs.force_setattr(entry, "held", held)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index what is here and what will come; raises ValueError if the name has another function already."""
        if name in BUILT_IN:
            raise ValueError(f"index {name!r} is built in: it needs no function")
        existing = self._indexes.get(name)
        if existing is not None:
            if existing.function == function:
                return
            raise ValueError(f"index {name!r} exists with another function: choose another name")
        self._indexes[name] = _Index(function)
        for entry in self.entries():
            self._index(entry.key, entry, only=name)

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(
            self._objects, self._held_bytes + self._saved_bytes, self._held_bytes, tuple(self._indexes)
        )

    def _insert(self, key: ObjectKey, entry: Entry) -> None:
        self._namespaces.setdefault(key.namespace, {})[key.name] = entry
        self._objects += 1
        self._held_bytes += len(entry.held)
        if entry.packing is not None:
            self._saved_bytes += _saved(entry)
        self._index(key, entry)

    def _remove(self, key: ObjectKey, old: Entry) -> None:
        found = self._namespaces[key.namespace]
        del found[key.name]
        if not found:
            del self._namespaces[key.namespace]
        self._objects -= 1
        self._held_bytes -= len(old.held)
        if old.packing is not None:
            self._saved_bytes -= _saved(old)
        for index in self._indexes.values():
            index.remove(key)

    def _index(self, key: ObjectKey, entry: Entry, *, only: str = "") -> None:
        for name, index in self._indexes.items():
            if only and name != only:
                continue
            try:
                found = index.function(entry)
                if isinstance(found, str):  # it would be indexed letter by letter
                    raise TypeError(f"an index function returns a list of values, this one returned {found!r}")
                values = tuple(dict.fromkeys(found))
            except Exception as error:
                index.remove(key)
                if self._on_index_error is not None:
                    self._on_index_error(name, key, error)
            else:
                index.put(key, values)

    def __repr__(self) -> str:
        return f"<Store {self._objects} objects, {self._held_bytes} bytes held, indexes: {', '.join(self._indexes) or 'none'}>"


def _saved(entry: Entry) -> int:
    return entry.size - len(entry.held)


def _meets(entry: Entry, tests: list[tuple[str, str]]) -> bool:
    metadata = entry.metadata
    return all((metadata.namespace if field == NAMESPACE else metadata.name) == value for field, value in tests)


def is_older(version: str, than: str) -> bool:
    """Tell whether a resourceVersion precedes another; False where they are not numbers (then order is unknown)."""
    if len(version) == len(than):
        return version < than and version.isdecimal() and than.isdecimal()
    try:
        return int(version) < int(than)
    except ValueError:
        return False
