"""One client's watch: a bounded buffer between commits and whoever sends the lines."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from pyoperator.apiserver.storage._arrival import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from pyoperator.apiserver.storage._change import Change
    from pyoperator.apiserver.storage._selection import Selection
    from pyoperator.apiserver.storage._store import Store
    from pyoperator.apiserver.storage._stored_object import StoredObject
    from pyoperator.apiserver.storage._view import Encoder

# Initial events are rendered in pieces of this many objects, so that a large start never holds up the loop.
_INITIAL_PIECE = 250
# Seconds before the end of a watch with a timeout at which its last bookmark is sent, as in the real server.
_FAREWELL = 2.0
# This many watches of one resource that hear of changes in quick succession rest between two pieces, so that more comes
# together: seconds for each of them, twice what telling one takes. For fewer it is not worth a timer.
_MANY = 20
_REST_EACH, _LONGEST_REST = 0.00015, 0.015


class WatchSubscription:
    """The events of one watch, as encoded lines.

    Created and filled synchronously by the server; ``lines()`` is iterated once, by the face, on whatever loop it
    runs: timers (``timeout`` and bookmarks, in seconds) start when iteration does. A reader that lets ``limit`` events
    pile up is dropped: what is buffered is still delivered, then the stream ends, and the client starts again from the
    last version it saw. Nobody else is slowed.
    """

    def __init__(
        self,
        store: Store,
        resource: str,
        selection: Selection,
        encoder: Encoder,
        *,
        timeout: float,
        bookmark_interval: float | None,
        limit: int = 10_000,
    ) -> None:
        self._store = store
        self._resource = resource
        self._selection = selection
        self._encoder = encoder
        self._view = store.views.get(selection, encoder)
        self._timeout = timeout
        self._bookmark_interval = bookmark_interval
        self._limit = limit
        self._initial: Sequence[StoredObject] = ()
        # The version that the initial events show, when their end is to be marked.
        self._initial_end: int | None = None
        self._awaited: tuple[int, Callable[[], bytes]] | None = None
        self._first = True
        self._buffer: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._enough = 1  # so many buffered events wake whoever waits
        self._timer: asyncio.TimerHandle | None = None
        self._on_close: list[Callable[[], None]] = []
        self._ignore_up_to = 0
        self.closed: bool = False
        self.dropped: bool = False
        self.delivered: int = 0

    def start(self, revision: int) -> WatchSubscription:
        """Begin with the changes after ``revision``, which may be one that is still to come; raises Compacted."""
        self._ignore_up_to = revision
        replay = self._store.changes_after(revision) if revision < self._store.revision else ()
        for change in replay:
            if change.new.resource == self._resource:
                self.offer(change, bounded=False)
                change.lines.clear()
        self._store.add_watcher(self._resource, self)
        return self

    def start_with_objects(self) -> WatchSubscription:
        """Begin with an ADDED event for each object there is, and a bookmark that says so if bookmarks are wanted."""
        selection = self._selection
        objects = self._store.objects(self._resource, selection.namespace)
        if not selection.is_plain:
            objects = [stored for stored in objects if selection.matches(stored)]
        self._initial = objects
        self._ignore_up_to = self._store.revision
        if self._bookmark_interval is not None:
            self._initial_end = self._store.revision
        # The first line is made when it is read: what is buffered until then comes after it.
        self._first = not (objects or self._initial_end is not None)
        self._store.add_watcher(self._resource, self)
        return self

    def start_when_reached(self, revision: int, refusal: Callable[[], bytes]) -> WatchSubscription:
        """Begin with the objects once the store has come to ``revision``; refuse when it has not after three seconds.

        ``refusal`` makes the Status of the ERROR event that is then the only one.
        """
        self._awaited = revision, refusal
        self._store.add_watcher(self._resource, self)
        return self

    def fail(self, status: bytes) -> WatchSubscription:
        """Make this a stream of one ERROR event with a Status, then the end."""
        self._buffer.append(self._encoder.error(status))
        self.closed = True
        return self

    def on_close(self, callback: Callable[[], None]) -> None:
        self._on_close.append(callback)

    def offer(self, change: Change, *, bounded: bool = True) -> None:
        if self.closed or self._awaited is not None or change.revision <= self._ignore_up_to:
            return
        line = self._view.first_line(change) if self._first else self._view.line(change)
        if line is None:
            return
        self._first = False
        if bounded and len(self._buffer) >= self._limit:
            self.dropped = True
            self.close()
            return
        self._buffer.append(line)
        # As _wake, without a call for each watch and change.
        waiter = self._waiter
        if waiter is not None and len(self._buffer) >= self._enough and not waiter.done():
            waiter.set_result(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """End the stream after what is buffered; idempotent."""
        if not self.closed:
            self.closed = True
            self._wake()
        self._store.remove_watcher(self._resource, self)
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            callback()

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Yield bytes that hold one or more whole lines, until timeout, close or drop; closes itself at the end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        interval = self._bookmark_interval
        # The last word before a planned end comes a little earlier than the end: a reader resumes from there.
        farewell = deadline - _FAREWELL if interval is not None and self._timeout > _FAREWELL else deadline
        bookmark_at = min(farewell, loop.time() + interval) if interval is not None else deadline
        told = float("-inf")
        try:
            if self._awaited is not None:
                await self._await_version(loop, *self._awaited)
            async for piece in self._initial_lines():
                yield piece
            while True:
                if self._buffer:
                    piece = b"".join(self._buffer)
                    self.delivered += len(self._buffer)
                    self._buffer.clear()
                    yield piece
                    before, told = told, loop.time()
                    rest = self._due_rest(told - before)
                    # Not into what the clock asks for, which is looked at when nothing is buffered.
                    if rest and told + rest < min(deadline, bookmark_at):
                        await self._rest(loop, rest)
                    continue
                if self.closed:
                    return
                now = loop.time()
                if now >= deadline:
                    return
                if interval is not None and now >= bookmark_at:
                    bookmark_at = min(farewell, now + interval) if now < farewell else deadline
                    if self._store.revision >= self._ignore_up_to:  # never back behind what the client has
                        yield self._bookmark()
                    continue
                await self._wait(loop, min(deadline, bookmark_at))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self.close()

    def _due_rest(self, since: float) -> float:
        """Return for how many seconds to let events gather; ``since`` is how many passed between the last two pieces."""
        watches = self._store.watcher_count(self._resource)
        rest = min(_LONGEST_REST, _REST_EACH * watches)
        return rest if watches >= _MANY and since < 2 * rest else 0.0

    async def _rest(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Let events gather, but not beyond half of what may be buffered, and not when this is closed."""
        half = self._limit // 2
        if len(self._buffer) >= half:
            return
        self._enough = half
        try:
            await self._wait(loop, loop.time() + seconds)
        finally:
            self._enough = 1

    def _bookmark(self) -> bytes:
        first, self._first = self._first, False
        return self._encoder.bookmark(self._store.revision, first=first)

    async def _await_version(
        self, loop: asyncio.AbstractEventLoop, revision: int, refusal: Callable[[], bytes]
    ) -> None:
        until = loop.time() + PATIENCE
        unsubscribe = self._store.subscribe(lambda change: self._wake())
        try:
            while self._store.revision < revision and not self.closed and loop.time() < until:
                await self._wait(loop, until)
        finally:
            unsubscribe()
        self._awaited = None
        if self.closed:
            return
        if self._store.revision >= revision:
            self.start_with_objects()
        else:
            self.fail(refusal())

    async def _initial_lines(self) -> AsyncGenerator[bytes, None]:
        initial, self._initial = self._initial, ()
        event = self._encoder.event
        for start in range(0, len(initial), _INITIAL_PIECE):
            chunk = initial[start : start + _INITIAL_PIECE]
            self.delivered += len(chunk)
            lines = [event("ADDED", stored, first=start + index == 0) for index, stored in enumerate(chunk)]
            yield b"".join(lines)
            await asyncio.sleep(0)
        if self._initial_end is not None:
            yield self._encoder.bookmark(self._initial_end, initial_events_end=True, first=not initial)

    async def _wait(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Wait to be woken, or until then; perhaps not as long, so look again."""
        # The timer of an earlier wait is left to itself: to set one for each event costs more than to wake once in vain.
        timer = self._timer
        if timer is None or timer.when() > until:
            if timer is not None:
                timer.cancel()
            self._timer = loop.call_at(until, self._on_time)
        waiter = self._waiter = loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _on_time(self) -> None:
        self._timer = None
        self._wake()

    def __repr__(self) -> str:
        state = "dropped" if self.dropped else "closed" if self.closed else "open"
        return f"WatchSubscription({self._resource} {self._selection.namespace or '*'}, {state}, buffered={len(self._buffer)})"
