"""Sources: where a controller's events come from."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from pyoperator.controller._arguments import checked_function

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pyoperator.cache import Entry
    from pyoperator.controller._dispatch import Dispatcher
    from pyoperator.controller._events import Event, GenericEvent


class Registration(Protocol):
    """What an informer gives for a handler, to take it away again."""

    def remove(self) -> None: ...


class EntryStore(Protocol):
    """An informer's objects."""

    def entries(self) -> Iterable[Entry]: ...


class InformerView(Protocol):
    """What a controller needs of an informer; ``pyoperator.cache.Informer`` has it."""

    @property
    def synced(self) -> bool: ...

    def add_handler(self, handler: Dispatcher, /) -> Registration: ...

    async def wait_synced(self) -> None: ...

    @property
    def store(self) -> EntryStore: ...

    def freshen(self) -> int: ...

    def status(self) -> Any: ...


class InformerCache(Protocol):
    """What a controller needs of a cache; ``pyoperator.cache.Cache`` has it."""

    def get_informer(self, kind: Any, options: Any = None, **overrides: Any) -> Any: ...

    def release(self, informer: Any, /) -> None: ...


class Source:
    """Deliver events to a dispatcher; subclass it and override what the source needs.

    ``start`` and ``stop`` are synchronous and are called on every replica (warm-up); ``run`` is called only while the
    controller leads, for sources that need a task, and is cancelled when the workers have ended.
    """

    def start(self, dispatch: Dispatcher) -> None:
        """Begin to deliver; what exists already is delivered as initial."""

    def stop(self) -> None:
        """Deliver nothing any more."""

    def close(self) -> None:
        """Stop for good and give back what the source holds; it is not started again."""
        self.stop()

    @property
    def synced(self) -> bool:
        """Whether everything that existed at the start has been delivered."""
        return True

    async def wait_synced(self) -> None:
        """Return when ``synced``."""

    def blocked(self) -> str:
        """Say why the source cannot sync for now (kind not installed, forbidden, server away); empty if it can."""
        return ""

    @property
    def replayable(self) -> bool:
        """Whether ``replay`` delivers all that a new replica would be told; if so, a standby may drop keys."""
        return False

    def replay(self, dispatch: Dispatcher) -> None:
        """Deliver everything that exists once more, as initial."""

    def freshen(self) -> int:
        """Make sure, at a start of leadership, that what feeds this source is alive; return how much was reopened."""
        return 0

    async def run(self, dispatch: Dispatcher) -> None:
        """Deliver from a task of its own; an exception ends the controller with it."""


class InformerSource(Source):
    """Events of an informer at hand."""

    def __init__(self, informer: InformerView) -> None:
        if isinstance(informer, type) or not hasattr(informer, "add_handler"):
            raise TypeError(
                f"{informer!r} is no informer: give cache.get_informer(Kind), or use KindSource(cache, Kind)"
            )
        self._informer = informer
        self._registration: Registration | None = None

    @property
    def informer(self) -> InformerView:
        return self._informer

    def start(self, dispatch: Dispatcher) -> None:
        if self._registration is None:
            self._registration = self._informer.add_handler(dispatch)

    def stop(self) -> None:
        if self._registration is not None:
            registration, self._registration = self._registration, None
            registration.remove()

    @property
    def synced(self) -> bool:
        return self._informer.synced

    async def wait_synced(self) -> None:
        await self._informer.wait_synced()

    def blocked(self) -> str:
        # Whatever the informer names as its failure (kind not installed, forbidden, no connection) lasts until somebody
        # repairs it outside: ending the process would not help, so it never expires.
        return str(getattr(self._informer.status(), "failure", "") or "")

    @property
    def replayable(self) -> bool:
        return True

    def freshen(self) -> int:
        """Reopen watches that showed no sign of life: a new leader must not trust a connection that may be dead."""
        return self._informer.freshen()

    def replay(self, dispatch: Dispatcher) -> None:
        from pyoperator.cache import CacheEvent

        for entry in self._informer.store.entries():
            dispatch.on_add(CacheEvent("ADDED", entry.metadata.key, None, entry, initial=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._informer!r})"


class KindSource(InformerSource):
    """Events of a kind, through the cache's shared informer; made at once, so that the cache knows it before it starts."""

    def __init__(self, cache: InformerCache, kind: Any, **options: Any) -> None:
        super().__init__(cache.get_informer(kind, **options))
        self._cache = cache
        self.kind = kind

    def close(self) -> None:
        """Stop, and give the informer back: the last user's goodbye ends its watch."""
        self.stop()
        self._cache.release(self.informer)

    def __repr__(self) -> str:
        return f"KindSource({getattr(self.kind, '__name__', self.kind)!s})"


class ChannelSource(Source):
    """Events that the program itself sends: ``await channel.send(GenericEvent(key))``.

    Until the controller's sources have started, ``capacity`` events are kept and further senders wait (in order);
    from then on each event goes straight to the queue, which holds every key once.
    """

    def __init__(self, capacity: int = 1024) -> None:
        if capacity < 1:
            raise ValueError(f"a channel's capacity is at least 1, got {capacity}")
        self.capacity = capacity
        self._waiting: deque[GenericEvent] = deque()
        self._senders: deque[asyncio.Future[None]] = deque()
        self._dispatch: Dispatcher | None = None

    async def send(self, event: GenericEvent) -> None:
        """Deliver an event, waiting for a place. A cancelled send has delivered nothing."""
        while not self.try_send(event):
            sender = asyncio.get_running_loop().create_future()
            self._senders.append(sender)
            try:
                await sender
            finally:
                if sender in self._senders:
                    self._senders.remove(sender)

    def try_send(self, event: GenericEvent) -> bool:
        """Deliver an event if there is place for it, and tell whether."""
        if self._dispatch is not None:
            self._dispatch.on_generic(event)
            return True
        if len(self._waiting) >= self.capacity:
            return False
        self._waiting.append(event)
        return True

    def start(self, dispatch: Dispatcher) -> None:
        self._dispatch = dispatch
        while self._waiting:
            dispatch.on_generic(self._waiting.popleft())
        while self._senders:
            sender = self._senders.popleft()
            if not sender.done():
                sender.set_result(None)

    def stop(self) -> None:
        self._dispatch = None

    def __repr__(self) -> str:
        state = "started" if self._dispatch is not None else "not started"
        return f"ChannelSource(capacity={self.capacity}, waiting={len(self._waiting)}, {state})"


class FunctionSource(Source):
    """Events that an async function delivers while the controller leads: ``async def poll(deliver): ...``.

    It is cancelled when leadership ends or the controller stops; its exception ends the controller.
    """

    def __init__(self, function: Callable[[Callable[[Event], None]], Awaitable[None]]) -> None:
        self._function = checked_function("FunctionSource's function", function, 1, "deliver", may_be_async=True)

    async def run(self, dispatch: Dispatcher) -> None:
        await self._function(dispatch)

    def __repr__(self) -> str:
        return f"FunctionSource({getattr(self._function, '__qualname__', self._function)!s})"
