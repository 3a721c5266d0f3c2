"""WatchList: the complete state of a collection as the beginning of a watch, and which servers offer it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pyoperator.cache._interruption import NotStreamed
from pyoperator.cache._listing import Snapshot
from pyoperator.client import MalformedStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import msgspec

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._watch_events import WatchEvent
    from pyoperator.clock import Clock
    from pyoperator.objects import ObjectKey

END: Final = "k8s.io/initial-events-end"
# The end follows the objects within about a second. client-go warns after as long as this.
_QUIET_SECONDS: Final = 10.0
_REARM_SECONDS: Final = 1.0
_ASK_AGAIN_AFTER: Final = 6 * 3600.0
_ATTEMPTS: Final = 2


class InitialEvents:
    """Collect what a watch with ``sendInitialEvents`` tells before its end mark.

    That is an ADDED for each object, in no order of versions, and possibly changes that happened meanwhile. Nothing of
    it counts before the bookmark that says that it is complete, and of which version. An ordinary bookmark tells of a
    server that does not know the parameter: one that does sends none before that mark.
    """

    def __init__(self, not_older_than: str, read: Callable[[msgspec.Raw], Entry | None]) -> None:
        self.query = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        if not_older_than:
            self.query.append(("resourceVersion", not_older_than))
        self._overtaken = False  # a change has come: those follow what was there at first, so the end must be near
        self._asked = not_older_than
        self._read = read
        self._entries: list[Entry] = []
        self._by_key: dict[ObjectKey, Entry] | None = None

    async def collect(self, events: AsyncIterator[WatchEvent], path: str, receiving: Callable[[], None]) -> Snapshot:
        """Read to the end mark; ``receiving`` is called now and then meanwhile.

        Raises NotStreamed when the end does not come, the ApiError of an ERROR event, MalformedStream.
        """
        loop = asyncio.get_running_loop()
        armed = loop.time()
        try:
            async with asyncio.timeout(_QUIET_SECONDS) as quiet:
                async for event in events:
                    if event.type == "ERROR":
                        raise event.error(path)
                    snapshot = self.take(event)
                    if snapshot is not None:
                        return snapshot
                    now = loop.time()
                    # Changes may go on for ever: they do not prolong the wait for the end.
                    if now - armed >= _REARM_SECONDS and not self._overtaken:
                        armed = now
                        quiet.reschedule(now + _QUIET_SECONDS)
                        receiving()
        except TimeoutError:
            reason = f"the end of the initial events did not come within {_QUIET_SECONDS:.0f} s"
            raise NotStreamed(reason, lasting=True) from None
        raise NotStreamed("the watch ended before the end of the initial events", lasting=False)

    def take(self, event: WatchEvent) -> Snapshot | None:
        """Take the next event, none of type ERROR; return the state once it is complete.

        Raises NotStreamed, and MalformedStream for an end without a version.
        """
        match event.type:
            case "ADDED":
                self._put(self._read(event.object))
            case "MODIFIED":
                self._overtaken = True
                self._index()
                self._put(self._read(event.object))
            case "DELETED":
                self._overtaken = True
                gone = self._read(event.object)
                if gone is not None:
                    self._index().pop(gone.key, None)
            case "BOOKMARK":
                return self._end(event)
        return None

    def _put(self, entry: Entry | None) -> None:
        if entry is None:
            return
        if self._by_key is None:
            self._entries.append(entry)
        else:
            self._by_key[entry.key] = entry

    def _index(self) -> dict[ObjectKey, Entry]:
        # Only when something changed meanwhile: most streams never pay for it.
        if self._by_key is None:
            self._by_key = {entry.key: entry for entry in self._entries}
            self._entries.clear()
        return self._by_key

    def _end(self, event: WatchEvent) -> Snapshot:
        metadata = event.metadata()
        if metadata.annotations.get(END) != "true":
            raise NotStreamed("a bookmark came before the end of the initial events", lasting=True)
        if not metadata.resource_version:
            raise MalformedStream("the end of the initial events has no version")
        entries = self._entries if self._by_key is None else list(self._by_key.values())
        self._entries, self._by_key = [], None  # handed over: the watch goes on, and must not keep what was there first
        return Snapshot(entries, metadata.resource_version, self._asked)


class WatchListSupport:
    """Remember whether it is worth asking the server for its state as a stream.

    A server that refused or ignored the request is asked again after six hours: lists are rare (a first one, and one
    after a compaction), so a vain attempt then costs little, while an upgrade of the control plane, of which nothing in
    an answer tells, is noticed within the day. Two failures in a row of any other kind (a proxy that holds back or cuts
    long answers, a watch cache that lags) lead to an attempt to list in pages, and so in turn: progress before
    preference.
    """

    def __init__(self, clock: Clock, *, wanted: bool = True) -> None:
        self._clock = clock
        self._wanted = wanted
        self._ask_at = float("-inf")
        self._failures = 0

    @property
    def expected(self) -> bool:
        """Whether the next attempt should be one."""
        if not self._wanted or self._failures % (_ATTEMPTS + 1) == _ATTEMPTS:
            return False
        return self._clock.elapsed() >= self._ask_at

    def missing(self) -> None:
        """Note that the server does not offer it."""
        self._ask_at = self._clock.elapsed() + _ASK_AGAIN_AFTER

    def failed(self) -> None:
        """Note an attempt that failed for another reason, or a list that did."""
        self._failures += 1

    def listed(self) -> None:
        """Note that the state was obtained, in whichever way."""
        self._failures = 0
