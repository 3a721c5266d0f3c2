"""What this process has written and an informer has not seen yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec.structs

from pyoperator.cache._unseen_write import Deletion, UnseenWrite, Write, covers, succeeds, version_of
from pyoperator.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._selectors import LabelSelector
    from pyoperator.cache._store import Store

# A key that no object has: the write remembered there stands for all that are not remembered one by one.
_ANY: Final = ObjectKey("", "")
# A deletion whose object is not in the store blocks nothing, but a late event may still bring the object: it is
# remembered for a while, far beyond the latency of a watch that works.
_REMEMBERED: Final = 30.0
# By then a watch that had died in silence has been replaced, and has told what there was to tell.
_DOUBTED: Final = 300.0
_LONG_AGO: Final = float("-inf")
_MOST_KEYS: Final = 10_000
_MOST_PER_KEY: Final = 100
_SILENCE: Final = 60.0  # seconds between two warnings about the same informer


@dataclass(frozen=True, slots=True)
class OwnWritesStatistics:
    """``unseen``: writes remembered now. ``waits``: reads that had to wait; ``timeouts``: those that did in vain."""

    unseen: int
    waits: int
    timeouts: int


class OwnWrites:
    """Remember the writes that an informer has not seen yet, and let reads wait until it has.

    ``unseen`` and ``deletions`` (those under way) are empty nearly always, and then a read or an event costs one look.
    A write is dropped by the first event of its object that tells of it or of something newer, or when the informer has
    come to a newer version in any other way (a list, a bookmark, events of other objects). Nothing polls: waiting reads
    (``awaited``: for what) are woken by :meth:`seen`, :meth:`listed` and :meth:`advanced`. ``seen_version(namespace)``
    tells how far the informer has come, "" for all its namespaces. ``selective``: the informer leaves objects out, so that
    to be told of an object's end may only mean that it left the selection, and it may come back before it is deleted: a
    deletion is then not settled by such an event, but held against what comes after it. Times are those of the loop.

    Memory is bounded: beyond 10,000 objects (the watch is down, and writes go on) the oldest are remembered only as one
    version that every read waits for.
    """

    def __init__(
        self,
        store: Store,
        seen_version: Callable[[str], int],
        logger: FilteringBoundLogger,
        *,
        selective: bool = False,
    ) -> None:
        self.unseen: OrderedDict[ObjectKey, list[UnseenWrite]] = OrderedDict()
        self.deletions: dict[ObjectKey, list[Deletion]] = {}
        self.awaited: list[UnseenWrite] = []
        self.on_versions_begun_anew: Callable[[], None] | None = None
        self._store = store
        self._seen_version = seen_version
        self._logger = logger
        self._selective = selective
        self._highest = 0
        self._waits = 0
        self._timeouts = 0
        self._warned_at = _LONG_AGO

    # --- writes

    def begin_deletion(self, key: ObjectKey) -> Deletion:
        """Take note of what the informer tells until :meth:`end_deletion`: the answer will name no version."""
        entry = self._store.get(key)
        begun = Deletion(key, "" if entry is None else entry.metadata.uid)
        self.deletions.setdefault(key, []).append(begun)
        return begun

    def end_deletion(self, begun: Deletion) -> None:
        left = self.deletions[begun.key]
        left.remove(begun)
        if not left:
            del self.deletions[begun.key]

    def note(self, write: Write) -> None:
        """Remember a write, unless the informer has seen it already (its event may overtake its answer)."""
        now = asyncio.get_running_loop().time()
        if self.unseen:
            self._forget_old(now)
        if write.effect == "present":
            entry = self._store.get(write.key)
            if entry is not None and version_of(entry) >= write.version:
                return
        self._highest = max(self._highest, write.version)
        known = self.unseen.get(write.key)
        if known is None:
            kept = []
        else:
            if any(covers(found.write, write) for found in known):
                return
            # A read that began before this write must not wait for it, but goes on waiting for what it found.
            kept = [found for found in known if found.readers or not covers(write, found.write)]
            if write.effect == "present" and write.labels is None:  # of a Scale, which does not tell them
                labels = next((found.write.labels for found in known if found.write.labels), None)
                write = msgspec.structs.replace(write, labels=labels)
            self.unseen.move_to_end(write.key)
        record = UnseenWrite(write, now, now, known=write.known)
        if write.effect != "present":
            self._recognize(record)
            if not (write.version or record.known):
                record.seen_then = self._seen_version(write.key.namespace)
        kept.append(record)
        self.unseen[write.key] = kept
        if len(kept) > _MOST_PER_KEY:
            kept.pop(0).finish(abandoned=True)
            self.note_version(self._highest)
        if len(self.unseen) > _MOST_KEYS:
            _, oldest = self.unseen.popitem(last=False)
            for found in oldest:
                found.finish(abandoned=True)
            self.note_version(self._highest)

    def note_version(self, version: int) -> None:
        """Let every read wait for this version: for writes that are not remembered one by one."""
        known = self.unseen.pop(_ANY, [])
        for found in known:
            version = max(version, found.write.version)
            found.finish(abandoned=True)
        self.unseen[_ANY] = [UnseenWrite(Write(_ANY, "present", "", version), _LONG_AGO, _LONG_AGO)]

    def _forget_old(self, now: float) -> None:
        while self.unseen:
            key = next(iter(self.unseen))
            found = self.unseen[key]
            if found[-1].since + _REMEMBERED > now:
                return
            blocking = [record for record in found if self._blocks(record) and not self._in_vain(record, now)]
            for record in found:
                if record not in blocking:
                    record.finish()
                record.since = now
            self._keep(key, blocking)
            if blocking:
                self.unseen.move_to_end(key)

    def _in_vain(self, record: UnseenWrite, now: float) -> bool:
        """Tell whether the end of an object may never be told: a selective informer that did not select it.

        Another of its name is here, and nothing says which of them came first. The informer has gone on for longer than
        any event takes.
        """
        write = record.write
        if write.effect == "present" or write.version or record.known:
            return False
        return now - record.noted > _DOUBTED or self._seen_version(write.key.namespace) > record.seen_then

    def _keep(self, key: ObjectKey, found: list[UnseenWrite]) -> None:
        if found:
            self.unseen[key] = found
        else:
            self.unseen.pop(key, None)

    # --- what the informer tells

    def seen(self, entry: Entry, *, deleted: bool) -> None:
        """Take note of an event that the store has taken in; ``deleted`` if it told of the object's end."""
        key = entry.key
        if deleted:
            for begun in self.deletions.get(key, ()):
                begun.seen.add(entry.metadata.uid)
        found = self.unseen.get(key)
        if found is not None:
            version = version_of(entry)
            left: list[UnseenWrite] = []
            for record in found:
                write = record.write
                over = version >= write.version if write.effect == "present" else self._ended(entry, record, deleted)
                if over:
                    record.finish()
                else:
                    left.append(record)
                    record.wake()
            if left:
                self.unseen[key] = left
            else:
                del self.unseen[key]
        if _ANY in self.unseen:
            for record in self.unseen[_ANY]:
                record.wake()  # the informer has come a step further

    def _ended(self, entry: Entry, record: UnseenWrite, deleted: bool) -> bool:
        """Tell whether an event settles a deletion."""
        write = record.write
        if entry.metadata.uid == write.uid:
            self._recognize(record)
            if write.effect == "dying" and entry.metadata.deletion_timestamp is not None:
                return True
            return deleted and not self._selective
        return not deleted and succeeds(entry, record)

    def _recognize(self, record: UnseenWrite) -> None:
        held = self._store.get(record.write.key)
        record.known = record.known or (held is not None and held.metadata.uid == record.write.uid)

    def listed(self, *, server_went_back: bool = False) -> None:
        """Take note of a complete list, or of a bookmark, which is as good.

        If the server went back in time, the versions written mean nothing any more, of other kinds neither.
        """
        if server_went_back and self.on_versions_begun_anew is not None:
            self.on_versions_begun_anew()
        for key, found in list(self.unseen.items()):
            left: list[UnseenWrite] = []
            for record in found:
                if server_went_back or self._passed(record.write):
                    record.finish()
                else:
                    left.append(record)
                    record.wake()
            self._keep(key, left)
        self._forget_old(asyncio.get_running_loop().time())

    def advanced(self) -> None:
        """Take note that the informer has come on by another object's event: no event of their own may follow."""
        for record in self.awaited:
            if record.write.effect != "gone" and self._come_to(record.write):
                record.wake()

    def close(self) -> None:
        """End all waits: the informer was dropped and will see nothing any more."""
        for found in self.unseen.values():
            for record in found:
                record.finish(abandoned=True)
        self.unseen.clear()

    # --- reads

    def concerns(self, key: ObjectKey) -> bool:
        """Tell whether a read of an object has anything to ask :meth:`caught_up`."""
        return key in self.unseen or _ANY in self.unseen

    async def caught_up(self, key: ObjectKey, timeout: float) -> bool:
        """Wait, at most ``timeout`` seconds, until the store shows the writes of an object; False: ask the server.

        Writes that follow are not waited for. After one read has waited in vain, the next ones that need the same write
        don't wait at all.
        """
        self._drop_passed()
        found = [record for at in (key, _ANY) for record in self.unseen.get(at, ())]
        return await self._wait(found, timeout, None)

    async def caught_up_list(self, namespace: str, selector: LabelSelector, timeout: float) -> bool:
        """Wait as :meth:`caught_up`, for all that a list of a namespace ("" = all) with this selector may return."""
        self._drop_passed()
        found = [
            record
            for key, records in self.unseen.items()
            if not namespace or key.namespace == namespace or key == _ANY
            for record in records
        ]
        return await self._wait(found, timeout, selector if selector.requirements else None)

    def _drop_passed(self) -> None:
        """Forget the version that all wait for, once the informer has come to it: no event of an object would."""
        for record in self.unseen.get(_ANY, ()):
            if self._passed(record.write):
                record.finish()
        self._keep(_ANY, [record for record in self.unseen.get(_ANY, ()) if not record.done])

    async def _wait(self, writes: list[UnseenWrite], timeout: float, selector: LabelSelector | None) -> bool:
        first = self._first(writes, selector)
        if first is None or first.expired:
            return first is None
        loop = asyncio.get_running_loop()
        self._waits += 1
        for record in writes:
            record.readers += 1
        try:
            async with asyncio.timeout(timeout):
                # Again from the start each time: while it waited for one, a late event may have undone another.
                while first is not None:
                    waiter = loop.create_future()
                    first.waiters.append(waiter)
                    self.awaited.append(first)
                    try:
                        await waiter
                    finally:
                        self.awaited.remove(first)
                        first.waiters.remove(waiter)
                    first = self._first(writes, selector)
        except TimeoutError:
            unseen = [record for record in writes if self._holds_up(record, selector)]
            if unseen:  # it may have been settled in the very moment
                self._timed_out(unseen, timeout, loop.time())
                return False
        finally:
            for record in writes:
                record.readers -= 1
        return not any(record.abandoned for record in writes)

    def _first(self, writes: list[UnseenWrite], selector: LabelSelector | None = None) -> UnseenWrite | None:
        return next((record for record in writes if self._holds_up(record, selector)), None)

    def _holds_up(self, record: UnseenWrite, selector: LabelSelector | None) -> bool:
        return not record.done and self._blocks(record) and (selector is None or self._concerns(record.write, selector))

    def _timed_out(self, unseen: list[UnseenWrite], timeout: float, now: float) -> None:
        self._timeouts += 1
        for record in unseen:
            record.expired = True
        if now - self._warned_at >= _SILENCE:
            self._warned_at = now
            self._logger.warning(
                "the cache has not seen an own write; reads that need it ask the server until it has",
                key=str(unseen[0].write.key),
                effect=unseen[0].write.effect,
                version=unseen[0].write.version,
                waited=timeout,
            )

    def _concerns(self, write: Write, selector: LabelSelector) -> bool:
        if write.key == _ANY:
            return True
        if write.labels is not None and selector.matches(write.labels):
            return True
        entry = self._store.get(write.key)
        return entry is not None and selector.matches(entry.metadata.labels)

    def _blocks(self, record: UnseenWrite) -> bool:
        """Tell whether the store, as it is, contradicts a write."""
        write = record.write
        entry = self._store.get(write.key)
        if write.effect == "present":
            behind = version_of(entry) < write.version if entry is not None else write.selected
            return behind and not self._passed(write)
        if entry is None:
            # It may still be dying, and the informer not even have come to its making.
            return write.effect == "dying" and write.selected and not record.known and not self._come_to(write)
        if entry.metadata.uid != write.uid:
            # A predecessor, which was gone long before, or a successor.
            return not succeeds(entry, record)
        return write.effect == "gone" or entry.metadata.deletion_timestamp is None

    def _passed(self, write: Write) -> bool:
        """Tell whether the informer has come to the version of a write, whatever became of the object."""
        return write.effect == "present" and self._come_to(write)

    def _come_to(self, write: Write) -> bool:
        return self._seen_version(write.key.namespace) >= write.version

    # --- state

    def statistics(self) -> OwnWritesStatistics:
        return OwnWritesStatistics(sum(map(len, self.unseen.values())), self._waits, self._timeouts)

    def __repr__(self) -> str:
        return f"<OwnWrites {len(self.unseen)} objects unseen, {self._waits} waits, {self._timeouts} in vain>"
