"""What is true of a cache in a storm: the server's own account, and the rules that every handler's history keeps."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.apiserver import APIServer
    from pyoperator.cache import CacheEvent, Informer
    from pyoperator.objects import ObjectKey

MOST_VIOLATIONS = 20


@dataclass
class Verdict:
    """Violations, in words, with the time and the phase; and a digest of everything that handlers were told."""

    now: Callable[[], float]
    phase: str = ""
    violations: list[str] = field(default_factory=list)
    by_phase: dict[str, int] = field(default_factory=dict)
    told: int = 0
    unknown_final_states: int = 0

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    def violated(self, what: str) -> None:
        self.by_phase[self.phase] = self.by_phase.get(self.phase, 0) + 1
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(f"{self.now():.1f} s, {self.phase}: {what}")

    def note(self, what: str) -> None:
        self._digest.update(f"{self.now():.6f} {what}\n".encode())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


@dataclass(frozen=True)
class Interest:
    """What one informer is to hold, said independently of the code under test."""

    name: str
    namespaces: tuple[str, ...] = ()
    label: tuple[str, str] | None = None
    metadata_only: bool = False

    def holds(self, namespace: str, labels: dict[str, str]) -> bool:
        if self.namespaces and namespace not in self.namespaces:
            return False
        return self.label is None or labels.get(self.label[0]) == self.label[1]


class Truth:
    """The server's history of config maps as one informer should see it, from the server's own commits."""

    def __init__(self, server: APIServer, interest: Interest, now: Callable[[], float]) -> None:
        self.interest = interest
        self._server = server
        self._now = now
        # (namespace, name), uid, version of every state that a watch of this interest could tell.
        self.states: set[tuple[tuple[str, str], str, int]] = set()
        # Versions at which an object was deleted or left the selection.
        self.ends: dict[tuple[tuple[str, str], str], list[int]] = {}
        # Changes that the cache does not show yet: when, version, and whether the object is there after it.
        self._pending: dict[tuple[str, str], deque[tuple[float, int, bool]]] = {}
        server.store.subscribe(self._note)

    def _note(self, change: Any) -> None:
        new, old = change.new, change.old
        if new.resource != "configmaps":
            return
        holds = self.interest.holds
        before = old is not None and holds(old.namespace, old.labels)
        after = change.type != "DELETED" and holds(new.namespace, new.labels)
        key = (new.namespace, new.name)
        if after:
            self.states.add((key, new.uid, change.revision))
        elif before:
            self.ends.setdefault((key, new.uid), []).append(change.revision)
        if before or after:
            self._pending.setdefault(key, deque()).append((self._now(), change.revision, after))

    def staleness(self, informer: Informer) -> float:
        """Return for how many seconds the oldest change that the cache does not reflect has been there."""
        shown = {
            (entry.metadata.namespace, entry.metadata.name): int(entry.metadata.resource_version)
            for entry in informer.store.entries()
        }
        oldest = self._now()
        for key, changes in list(self._pending.items()):
            version = shown.get(key)
            if version is None:
                last_end = max((number for number, change in enumerate(changes) if not change[2]), default=-1)
                for _ in range(last_end + 1):
                    changes.popleft()
            else:
                while changes and changes[0][1] <= version:
                    changes.popleft()
            if changes:
                oldest = min(oldest, changes[0][0])
            else:
                del self._pending[key]
        return self._now() - oldest

    def difference(self, informer: Informer) -> list[str]:
        """Return in what the cache differs from the server, byte by byte of canonical JSON."""
        wanted = {
            (stored.namespace, stored.name): _canonical(stored.data, self.interest.metadata_only)
            for stored in self._server.store.objects("configmaps")
            if self.interest.holds(stored.namespace, dict(stored.labels))
        }
        held = {
            (entry.metadata.namespace, entry.metadata.name): _canonical(entry.raw, self.interest.metadata_only)
            for entry in informer.store.entries()
        }
        name = self.interest.name
        return [
            *(f"{name} lacks {key}" for key in wanted if key not in held),
            *(f"{name} holds {key}, which is gone" for key in held if key not in wanted),
            *(f"{name} differs in {key}" for key in wanted if key in held and wanted[key] != held[key]),
        ]


def _canonical(data: bytes, metadata_only: bool) -> bytes:
    obj = msgspec.json.decode(data)
    obj["metadata"].pop("managedFields", None)
    # The items of a list do not carry these two, the events of a watch do.
    obj.pop("apiVersion", None)
    obj.pop("kind", None)
    return msgspec.json.encode({"metadata": obj["metadata"]} if metadata_only else obj, order="sorted")


class Historian:
    """A handler that knows which history is legal.

    Per uid: ADDED, then MODIFIED, then DELETED; never two ADDED without a DELETED. Versions only rise, per key, over
    deletions and new uids too. Every state told is one the server really had. A DELETED with a final state carries
    the version of the deletion; one without is true: the object had really gone, after the state last told.
    """

    def __init__(self, name: str, truth: Truth, verdict: Verdict) -> None:
        self.name = name
        self._truth = truth
        self._verdict = verdict
        self.present: dict[ObjectKey, tuple[str, int]] = {}
        self._newest: dict[ObjectKey, int] = {}
        self._finished: set[str] = set()

    def on_add(self, event: CacheEvent) -> None:
        uid, version = self._hear(event)
        if event.key in self.present:
            self._violated(event, f"ADDED twice: {self.present[event.key]} was there")
        if uid in self._finished and self._truth.interest.label is None:
            self._violated(event, "ADDED after its DELETED")
        if version <= self._newest.get(event.key, 0):
            self._violated(event, f"went back from version {self._newest[event.key]}")
        self._true(event, uid, version)
        self._keep(event.key, uid, version)

    def on_update(self, event: CacheEvent) -> None:
        uid, version = self._hear(event)
        known = self.present.get(event.key)
        if known is None or known[0] != uid:
            self._violated(event, f"MODIFIED without ADDED: {known} was there")
        elif event.resync:
            if version != known[1] or event.old is not event.new:
                self._violated(event, f"a resync changed {known}")
        elif version <= known[1]:
            self._violated(event, f"went back from version {known[1]}")
        elif event.old is None or int(event.old.metadata.resource_version) != known[1]:
            self._violated(event, f"the old state is not {known}")
        self._true(event, uid, version)
        self._keep(event.key, uid, version)

    def on_delete(self, event: CacheEvent) -> None:
        uid, version = self._hear(event)
        known = self.present.pop(event.key, None)
        if known is None or known[0] != uid:
            self._violated(event, f"DELETED without ADDED: {known} was there")
            return
        ends = self._truth.ends.get(((event.key.namespace, event.key.name), uid), [])
        if event.final_state_unknown:
            self._verdict.unknown_final_states += 1
            if not any(end > known[1] for end in ends):
                self._violated(event, "DELETED, but it has not gone")
        elif version not in ends:
            self._violated(event, f"the final state is of no deletion, those were {ends}")
        if version < known[1]:
            self._violated(event, f"went back from version {known[1]}")
        self._finished.add(uid)
        self._newest[event.key] = max(version, self._newest.get(event.key, 0))

    def agrees_with(self, informer: Informer) -> bool:
        """Tell whether what was told adds up to what the cache holds."""
        held = {
            entry.key: (entry.metadata.uid, int(entry.metadata.resource_version)) for entry in informer.store.entries()
        }
        return held == self.present

    def _hear(self, event: CacheEvent) -> tuple[str, int]:
        metadata = event.entry.metadata
        self._verdict.told += 1
        self._verdict.note(
            f"{self.name} {event.type} {event.key} {metadata.uid} {metadata.resource_version} "
            f"{event.initial:d}{event.resync:d}{event.final_state_unknown:d}"
        )
        return metadata.uid, int(metadata.resource_version)

    def _keep(self, key: ObjectKey, uid: str, version: int) -> None:
        self.present[key] = (uid, version)
        self._newest[key] = max(version, self._newest.get(key, 0))

    def _true(self, event: CacheEvent, uid: str, version: int) -> None:
        if (tuple(event.key), uid, version) not in self._truth.states:
            self._violated(event, "the server never had this state")

    def _violated(self, event: CacheEvent, what: str) -> None:
        metadata = event.entry.metadata
        self._verdict.violated(
            f"{self.name}: {event.type} {event.key} uid {metadata.uid[:8]} version {metadata.resource_version}: {what}"
        )
