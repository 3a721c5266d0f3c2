"""A write on its way back through the watch: what it was, and what is needed to recognize it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from pyoperator.objects import ObjectKey

if TYPE_CHECKING:
    from pyoperator.cache._entry import Entry

Effect: TypeAlias = Literal["present", "gone", "dying"]

_NEVER_OLD: Final = 1 << 128


class Write(msgspec.Struct, frozen=True):
    """One write as the server has answered it.

    ``effect``: "present": the object of that uid has ``version`` now; "gone": it is no more; "dying": it is no more, or
    has a deletionTimestamp (``version`` is then one that it had before, 0 if none is known). ``labels``: those of the answer, None where it has none. ``selected``: whether the informer
    selects the object as it was written. ``known``: whether the informer has known the object that is gone.
    """

    key: ObjectKey
    effect: Effect
    uid: str
    version: int = 0
    labels: Mapping[str, str] | None = None
    selected: bool = True
    known: bool = False


class Deletion:
    """The deletion of one object, while it is under way: what the informer tells may overtake the server's answer."""

    __slots__ = ("held", "key", "seen")

    def __init__(self, key: ObjectKey, held: str) -> None:
        self.key: ObjectKey = key
        self.held: str = held  # the uid that the informer knew under this name when it began
        self.seen: set[str] = set()  # the uids whose end it has seen since


class UnseenWrite(msgspec.Struct, eq=False):
    """A write on its way back through the watch, and the reads that wait for it.

    ``noted``, and ``since`` when it was last found to be needed, in seconds of the loop. ``known``: the informer has
    known the object that is gone: another of its name is a successor; ``seen_then``: how far it had come otherwise.
    ``abandoned``: nothing will tell any more whether it was seen. ``expired``: a read has waited in vain, the next ones
    go to the server at once. ``readers``: reads that began after it and are not done waiting; ``waiters``: those of them
    that wait for this one now.
    """

    write: Write
    noted: float
    since: float
    done: bool = False
    abandoned: bool = False
    expired: bool = False
    known: bool = False
    seen_then: int = 0
    readers: int = 0
    waiters: list[asyncio.Future[None]] = []

    def finish(self, *, abandoned: bool = False) -> None:
        self.done, self.abandoned = True, abandoned
        if self.waiters:
            self.wake()

    def wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


def succeeds(entry: Entry, record: UnseenWrite) -> bool:
    """Tell whether an object was made after the one of its name that a write has deleted; False if nothing tells."""
    if record.write.version:
        return version_of(entry) > record.write.version
    return record.known


def covers(newer: Write, older: Write) -> bool:
    """Tell whether whoever has waited for ``newer`` need not wait for ``older``."""
    if newer.effect == "gone":
        return newer.uid == older.uid
    if older.effect == "present":
        return newer.effect == "present" and newer.version >= older.version
    return newer.effect == older.effect and newer.uid == older.uid


def version_of(entry: Entry) -> int:
    """Return an entry's version; one that is no number (a transform may drop it) is never too old."""
    version = entry.metadata.resource_version
    return int(version) if version.isdecimal() else _NEVER_OLD


def as_number(version: str) -> int:
    """Return a resourceVersion as a number, for comparisons; 0 for one that is none."""
    return int(version) if version.isdecimal() else 0
