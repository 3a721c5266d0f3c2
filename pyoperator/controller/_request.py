"""What a reconciler is given, what it may answer, and what it may look like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any, Protocol, TypeAlias

from pyoperator.objects import ObjectKey, metadata_of


class Request(ObjectKey):
    """Name the object to reconcile. Says nothing of what happened to it: a reconciler looks at the state, not at events.

    Equal to, and hashed like, the ObjectKey (or plain tuple) of the same namespace and name.
    """

    __slots__ = ()

    @classmethod
    def of(cls, found: Any) -> Request:
        """Return the request for an object of any kind, a cache entry, or a key.

        Raises TypeError for what is none of these.
        """
        if isinstance(found, ObjectKey):
            return cls(*found)
        key = getattr(found, "key", None)  # an entry's or a custom resource's
        try:
            return cls(*(key if isinstance(key, ObjectKey) else metadata_of(found).key))
        except (AttributeError, TypeError):
            raise TypeError(f"{found!r} is no object: give one with metadata, a cache entry or an ObjectKey") from None


@dataclass(frozen=True, slots=True, init=False)
class Result:
    """Tell when a key is to be reconciled again; ``None`` or ``Result()`` means when something changes.

    ``requeue_after``: seconds or a timedelta (0: at once, behind what waits already), kept as seconds; the key's failures
    are forgotten.
    ``backoff``: again after the key's backoff, as after an error but without one: for what is not ready yet.
    ``priority``: of that requeue; by default the priority this reconcile was taken with.
    Raises ValueError for a negative or infinite time, or for ``requeue_after`` together with ``backoff``; TypeError for a
    time that is no number.
    """

    requeue_after: float | None = None
    backoff: bool = False
    priority: int | None = None

    def __init__(
        self, requeue_after: float | timedelta | None = None, *, backoff: bool = False, priority: int | None = None
    ) -> None:
        seconds = requeue_after.total_seconds() if isinstance(requeue_after, timedelta) else requeue_after
        if seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise TypeError(
                    f"requeue_after is {seconds!r}: give seconds or a timedelta; for a growing time Result(backoff=True)"
                )
            if not (isfinite(seconds) and seconds >= 0):
                raise ValueError(f"requeue_after is {seconds}: give seconds >= 0, or None for no requeue")
            if backoff:
                raise ValueError(
                    "requeue_after and backoff exclude each other: one fixes the time, the other lets it grow"
                )
        object.__setattr__(self, "requeue_after", seconds)
        object.__setattr__(self, "backoff", backoff)
        object.__setattr__(self, "priority", priority)


class TerminalError(Exception):
    """Raise from a reconciler when trying again cannot help: counted and logged as an error, not retried.

    The key runs again when something about it changes, or when an earlier ``requeue_after`` comes due.
    """


class Reconciler(Protocol):
    """Bring one object's world to what its spec asks for.

    Called with a key that may no longer exist. Never called for one key twice at once. An ``async def`` runs on the
    loop; a plain ``def`` runs in a thread, which cannot be cancelled and has no client. Any exception means: again, after a backoff.
    """

    async def reconcile(self, request: Request) -> Result | None: ...


class SyncReconciler(Protocol):
    """A reconciler whose method blocks; it runs in a thread of the controller.

    The client is asynchronous and belongs to the loop, so it can't be used there: docs/guides/blocking-code.md shows how
    an async reconciler calls code that blocks.
    """

    def reconcile(self, request: Request) -> Result | None: ...


# Union[] rather than |: evaluated at import, where 3.11 cannot combine a string or a generic alias of a Protocol.
AnyReconciler: TypeAlias = (
    Reconciler | SyncReconciler | Callable[[Request], Awaitable[Result | None]] | Callable[[Request], Result | None]
)
