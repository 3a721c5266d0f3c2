"""What a manager needs of its surroundings before it can work, and what it says while it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.manager._permissions import PermissionCheck, of_election, of_events, of_informers
from pyoperator.manager._reachability import Reachability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache import Cache
    from pyoperator.client import Transport
    from pyoperator.leaderelection import ElectionConfig
    from pyoperator.manager._permissions import Permission


class Prerequisites:
    """An API server that answers, permissions, caches in sync: waited for in this order.

    ``warming_up()`` names who has not warmed up yet; ``syncing()`` tells whether caches are waited for just now;
    ``records()`` whether there are recorders of events besides the election's.
    """

    def __init__(
        self,
        transport: Transport,
        cache: Cache,
        election: ElectionConfig | None,
        *,
        warming_up: Callable[[], tuple[str, ...]],
        syncing: Callable[[], bool],
        records: Callable[[], bool],
        logger: FilteringBoundLogger,
    ) -> None:
        self._reachability = Reachability(transport, logger)
        self.permissions = PermissionCheck(transport, self._needed, logger)
        self._cache = cache
        self._election = election
        self._warming_up = warming_up
        self._syncing = syncing
        self._records = records

    async def preflight(self) -> None:
        """Wait until the server answers, for ever if need be; then begin to ask for what is not allowed."""
        await self._reachability.wait()
        self.permissions.begin()

    def missing(self) -> tuple[str, ...]:
        """Return what the start waits for, in words."""
        found = [self._reachability.problem] if self._reachability.problem else []
        found += self.permissions.problems
        found += [f"{name} is warming up" for name in self._warming_up()]
        if self._syncing():
            found += self._cache.health().problems
        return tuple(found)

    def _needed(self) -> Iterator[Permission]:
        yield from of_informers(self._cache.informers)
        if self._election is not None:
            yield from of_election(self._election)
        yield from of_events(self._cache.informers, self._election, recorders=self._records())

    def __repr__(self) -> str:
        return f"<Prerequisites missing={self.missing()}>"
