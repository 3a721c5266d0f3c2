"""The records that logs, metrics, health and tests read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.cache._own_writes import OwnWritesStatistics
    from pyoperator.objects import GroupVersionKind


@dataclass(frozen=True, slots=True)
class ReflectorStatus:
    """One list+watch. Ages and durations in seconds of elapsed time (suspend included); None: never, or not failing.

    ``sign_of_life_age``: since data, a bookmark or a clean reconnect. ``failing_for``: since when nothing has worked;
    ``phase`` then tells what fails (``list``, ``connect``, ``stream``, ``silent``; else empty), ``failure`` why, and
    ``server_answers`` whether the API server itself refuses (True) or cannot be reached (False). ``streamed_lists``:
    how many of the ``lists`` came as the beginning of a watch (WatchList).
    """

    namespace: str
    synced: bool
    resource_version: str
    lists: int
    streamed_lists: int
    relists: int
    watches: int
    events: int
    failures: int
    unexpected_errors: int
    unreadable: int
    bookmark_age: float | None
    sign_of_life_age: float | None
    phase: str
    failure: str
    failing_for: float | None
    server_answers: bool


@dataclass(frozen=True, slots=True)
class InformerStatus:
    """One informer: the sums of its reflectors, and the failure that has lasted longest. Units as ReflectorStatus.

    ``bytes`` is the size of the objects' JSON, ``held_bytes`` what is in memory of it: less, if it is compressed.
    ``own_writes_unseen``: writes of this process that the informer has yet to see; ``own_write_waits``: reads that
    waited for such a write, ``own_write_timeouts``: those that did in vain and asked the server.
    """

    kind: GroupVersionKind
    synced: bool
    objects: int
    bytes: int
    held_bytes: int
    lists: int
    streamed_lists: int
    relists: int
    watches: int
    events: int
    failures: int
    unexpected_errors: int
    unreadable: int
    handlers: int
    handler_errors: int
    index_errors: int
    own_writes_unseen: int
    own_write_waits: int
    own_write_timeouts: int
    bookmark_age: float | None
    sign_of_life_age: float | None
    phase: str
    failure: str
    failing_for: float | None
    server_answers: bool
    reflectors: tuple[ReflectorStatus, ...]


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """All informers of a cache."""

    running: bool
    synced: bool
    informers: tuple[InformerStatus, ...]


@dataclass(frozen=True, slots=True)
class CacheHealth:
    """Whether reads of the cache can be relied on; ``problems`` names each informer that says no, and why."""

    ready: bool
    problems: tuple[str, ...]


def summarize(
    kind: GroupVersionKind,
    reflectors: tuple[ReflectorStatus, ...],
    *,
    objects: int,
    size: int,
    held: int,
    handlers: int,
    handler_errors: int,
    index_errors: int,
    own_writes: OwnWritesStatistics,
) -> InformerStatus:
    """Sum up the reflectors of one informer."""
    failing = [found for found in reflectors if found.failing_for is not None]
    worst = max(failing, key=lambda found: found.failing_for or 0.0, default=None)
    lives = [found.sign_of_life_age for found in reflectors]
    bookmarks = [found.bookmark_age for found in reflectors if found.bookmark_age is not None]
    return InformerStatus(
        kind=kind,
        synced=all(found.synced for found in reflectors),
        objects=objects,
        bytes=size,
        held_bytes=held,
        lists=sum(found.lists for found in reflectors),
        streamed_lists=sum(found.streamed_lists for found in reflectors),
        relists=sum(found.relists for found in reflectors),
        watches=sum(found.watches for found in reflectors),
        events=sum(found.events for found in reflectors),
        failures=sum(found.failures for found in reflectors),
        unexpected_errors=sum(found.unexpected_errors for found in reflectors),
        unreadable=sum(found.unreadable for found in reflectors),
        handlers=handlers,
        handler_errors=handler_errors,
        index_errors=index_errors,
        own_writes_unseen=own_writes.unseen,
        own_write_waits=own_writes.waits,
        own_write_timeouts=own_writes.timeouts,
        bookmark_age=max(bookmarks, default=None),
        # The oldest sign counts: one dead namespace makes the informer stale.
        sign_of_life_age=None if None in lives else max((age for age in lives if age is not None), default=None),
        phase=worst.phase if worst is not None else "",
        failure=worst.failure if worst is not None else "",
        failing_for=worst.failing_for if worst is not None else None,
        server_answers=worst.server_answers if worst is not None else True,
        reflectors=reflectors,
    )
