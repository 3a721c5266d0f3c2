"""The versioned store: every change has its own revision, and the recent ones are remembered in order."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pyoperator.apiserver.storage._change import Change
from pyoperator.apiserver.storage._stored_object import StoredObject, storage_key
from pyoperator.apiserver.storage._view import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyoperator.objects import GroupVersionKind

_encode = msgspec.json.Encoder().encode


class Compacted(Exception):
    """The revision asked for is older than what the log still holds."""

    def __init__(self, wanted: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {wanted} ({oldest})")
        self.wanted = wanted
        self.oldest = oldest


class Watcher(Protocol):
    """Whoever is told of the changes of one resource."""

    def offer(self, change: Change) -> None: ...
    def close(self) -> None: ...
    def on_close(self, callback: Callable[[], None]) -> None: ...


class Persistence(Protocol):
    """Make commits durable; called before a commit becomes visible. An exception means that it did not happen."""

    def write(self, change: Change) -> None: ...
    def load(self) -> tuple[int, Iterable[StoredObject]]:
        """Return the revision reached and all objects."""
        ...

    def close(self) -> None: ...


class _Collection:
    """All objects of one resource, with their keys in order."""

    __slots__ = ("changed", "keys", "objects", "watchers")

    def __init__(self) -> None:
        # The revision of the last change: what was there at it, or after it, is what is there now.
        self.changed = 0
        self.objects: dict[str, StoredObject] = {}
        self.keys: list[str] = []
        # A dict, not a set: watchers are told in the order in which they came, in every run.
        self.watchers: dict[Watcher, None] = {}

    def put(self, stored: StoredObject) -> None:
        if stored.key not in self.objects:
            insort(self.keys, stored.key)
        self.objects[stored.key] = stored

    def remove(self, key: str) -> None:
        del self.objects[key]
        del self.keys[bisect_left(self.keys, key)]


class Store:
    """Objects of all kinds under one revision.

    ``history`` is how many changes are remembered, ``history_bytes`` how much data only they still hold (old states of
    objects, and deleted ones): a watch or a page that starts further back gets Compacted. Not thread-safe: one event
    loop owns a server.
    """

    def __init__(
        self, *, history: int = 10_000, history_bytes: int = 64 * 1024 * 1024, persistence: Persistence | None = None
    ) -> None:
        self._history = history
        self._history_bytes = history_bytes
        self._log_bytes = 0
        self._persistence = persistence
        self._collections: dict[str, _Collection] = {}
        self._log: list[Change] = []
        self._subscribers: dict[object, Callable[[Change], None]] = {}
        self.views: Views = Views()
        self.revision: int = 1
        # Changes up to and including this revision are forgotten.
        self.compacted: int = 1
        if persistence is not None:
            revision, objects = persistence.load()
            for stored in objects:
                self._collection(stored.resource).put(stored)
            self.revision = self.compacted = max(1, revision)

    def _collection(self, resource: str) -> _Collection:
        collection = self._collections.get(resource)
        if collection is None:
            collection = self._collections[resource] = _Collection()
        return collection

    def resources(self) -> list[str]:
        """Return the names of the resources that have objects."""
        return [resource for resource, collection in self._collections.items() if collection.objects]

    def get(self, resource: str, namespace: str, name: str) -> StoredObject | None:
        collection = self._collections.get(resource)
        return None if collection is None else collection.objects.get(storage_key(namespace, name))

    def objects(self, resource: str, namespace: str = "", *, revision: int | None = None) -> list[StoredObject]:
        """Return all objects (of a namespace) ordered by key, now or as they were; raises Compacted."""
        collection = self._collections.get(resource)
        if revision is not None and revision < self.compacted:
            raise Compacted(revision, self.compacted)
        if revision is not None and collection is not None and revision < collection.changed:
            return self._list_at(resource, namespace, revision)
        if collection is None:
            return []
        objects = collection.objects
        if not namespace:
            return [objects[key] for key in collection.keys]
        keys = collection.keys
        # "0" follows "/" in ASCII: the range holds exactly the keys that begin with "<namespace>/".
        start, end = bisect_left(keys, f"{namespace}/"), bisect_left(keys, f"{namespace}0")
        return [objects[key] for key in keys[start:end]]

    def _list_at(self, resource: str, namespace: str, revision: int) -> list[StoredObject]:
        collection = self._collections.get(resource)
        objects = dict(collection.objects) if collection is not None else {}
        for change in reversed(self.changes_after(revision)):
            if change.new.resource != resource:
                continue
            if change.old is None:
                objects.pop(change.new.key, None)
            else:
                objects[change.old.key] = change.old
        return [objects[key] for key in sorted(objects) if not namespace or objects[key].namespace == namespace]

    @property
    def watchers(self) -> int:
        """How many watches are open."""
        return sum(len(collection.watchers) for collection in self._collections.values())

    def watchers_of(self, resource: str) -> list[Watcher]:
        collection = self._collections.get(resource)
        return [] if collection is None else [*collection.watchers]

    def watcher_count(self, resource: str) -> int:
        collection = self._collections.get(resource)
        return 0 if collection is None else len(collection.watchers)

    def count(self, resource: str) -> int:
        collection = self._collections.get(resource)
        return 0 if collection is None else len(collection.objects)

    def changes_after(self, revision: int) -> list[Change]:
        """Return the changes with a later revision, oldest first; raises Compacted."""
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        # Revisions have no gaps, so a change's place in the log follows from its revision.
        return self._log[revision - self.compacted :]

    def put(
        self,
        resource: str,
        gvk: GroupVersionKind,
        obj: dict[str, Any],
        *,
        fields: Mapping[str, str],
        old: StoredObject | None,
    ) -> StoredObject:
        """Commit a new or changed object; stamps the next revision into ``obj`` and keeps its encoding."""
        stored = self._stored(resource, gvk, obj, fields)
        self._commit(Change("ADDED" if old is None else "MODIFIED", stored.revision, old, stored))
        return stored

    def remove(self, old: StoredObject, last: dict[str, Any], *, fields: Mapping[str, str]) -> StoredObject:
        """Commit a deletion; ``last`` is the state to report. Returns it stamped with the deletion's revision."""
        stored = self._stored(old.resource, old.gvk, last, fields)
        self._commit(Change("DELETED", stored.revision, old, stored))
        return stored

    def _stored(
        self, resource: str, gvk: GroupVersionKind, obj: dict[str, Any], fields: Mapping[str, str]
    ) -> StoredObject:
        metadata = obj["metadata"]
        revision = self.revision + 1
        metadata["resourceVersion"] = str(revision)
        return StoredObject(
            resource=resource,
            gvk=gvk,
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            revision=revision,
            data=_encode(obj),
            labels=dict(metadata.get("labels") or {}),
            fields=fields,
        )

    def _commit(self, change: Change) -> None:
        if self._persistence is not None:
            self._persistence.write(change)
        collection = self._collection(change.new.resource)
        if change.type == "DELETED":
            collection.remove(change.new.key)
        else:
            collection.put(change.new)
        self.revision = collection.changed = change.revision
        self._log.append(change)
        self._log_bytes += change.weight
        self._trim()
        for watcher in tuple(collection.watchers):
            watcher.offer(change)
        # Whoever watches has its lines; kept with the change they would double what the log takes.
        change.lines.clear()
        for callback in tuple(self._subscribers.values()):
            callback(change)

    def _trim(self) -> None:
        # In large steps: removing the head of a list moves all that follows.
        if len(self._log) > self._history + self._history // 4 + 1:
            self.compact(self._log[-self._history - 1].revision)
        if self._log_bytes > self._history_bytes:
            excess = self._log_bytes - self._history_bytes * 3 // 4
            for change in self._log:
                excess -= change.weight
                if excess <= 0:
                    self.compact(change.revision)
                    return

    def compact(self, revision: int | None = None) -> None:
        """Forget the changes up to ``revision`` (None: all), as etcd's compaction does.

        Lists and pages of older versions are refused with 410, watches with an ERROR event of that code. Happens by
        itself when ``history`` or ``history_bytes`` is exceeded; watches that are open go on.
        """
        keep = self.revision if revision is None else min(max(revision, self.compacted), self.revision)
        count = keep - self.compacted
        self._log_bytes -= sum(change.weight for change in self._log[:count])
        del self._log[:count]
        self.compacted = keep

    @property
    def history_bytes(self) -> int:
        """How much data is held only because changes are remembered."""
        return self._log_bytes

    def add_watcher(self, resource: str, watcher: Watcher) -> None:
        self._collection(resource).watchers[watcher] = None

    def remove_watcher(self, resource: str, watcher: Watcher) -> None:
        self._collection(resource).watchers.pop(watcher, None)

    def close_watchers(self, resource: str = "") -> None:
        """End the watches of one resource, or all of them."""
        for name, collection in self._collections.items():
            if not resource or name == resource:
                for watcher in tuple(collection.watchers):
                    watcher.close()

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call back after every commit, in order; returns the function that ends it."""
        token = object()
        self._subscribers[token] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(token, None)

        return unsubscribe

    def close(self) -> None:
        """End all watches and release the files, if there are any."""
        self.close_watchers()
        if self._persistence is not None:
            self._persistence.close()

    def __repr__(self) -> str:
        objects = sum(len(collection.objects) for collection in self._collections.values())
        return f"Store(revision={self.revision}, objects={objects}, compacted={self.compacted})"
