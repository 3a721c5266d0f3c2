"""What surrounds all runnables: started first, in order; stopped last, in reverse, and in bounded time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

_AT_LEAST = 2.5  # seconds that the stop may take even after the deadline: servers let requests finish, for up to 2 s
_EACH = 0.5  # what a service gets at least, even if those before it have used all of that


class Service(Protocol):
    """Something that runs before and after everything else: probe and metrics servers, the supervisor thread."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class ServiceStack:
    """Start services one by one; stop those that were started, under a deadline.

    What lives on another thread may hang with it, and must not hang the stop of the process.
    """

    def __init__(self, services: Sequence[Service], logger: FilteringBoundLogger) -> None:
        self._services = services
        self._logger = logger
        self._started: list[Service] = []
        self._hurried = False
        self._patience: asyncio.Timeout | None = None  # with the service that is being stopped

    async def start(self) -> None:
        for service in self._services:
            self._started.append(service)
            await service.start()

    async def stop(self, deadline: float | None) -> tuple[str, ...]:
        """Stop all; return who does not come to an end by ``deadline`` (loop time; None waits for ever)."""
        left: list[str] = []
        loop = asyncio.get_running_loop()
        at_least = loop.time() + _AT_LEAST
        limit = None if deadline is None else max(deadline, at_least)
        for service in reversed(self._started):
            if self._hurried:
                limit = at_least
            try:
                when = None if limit is None else max(limit, loop.time() + _EACH)
                async with asyncio.timeout_at(when) as self._patience:
                    await service.stop()
            except TimeoutError:
                left.append(f"{service!r} (its stop() does not return)")
            except Exception as error:
                self._logger.error("could not be stopped", service=repr(service), error=repr(error))
        self._patience = None
        return tuple(left)

    def hurry(self) -> None:
        """Wait no longer than must be, also if there is no deadline."""
        self._hurried = True
        if self._patience is not None and self._patience.when() is None:
            self._patience.reschedule(asyncio.get_running_loop().time() + _EACH)

    def __repr__(self) -> str:
        return f"<ServiceStack {len(self._started)} of {len(self._services)} started>"
