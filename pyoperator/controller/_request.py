"""What a reconciler is given, what it may answer, and what it may look like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, TypeAlias

from pyoperator.objects import ObjectKey


class Request(ObjectKey):
    """Name the object to reconcile. Says nothing of what happened to it: a reconciler looks at the state, not at events.

    Equal to, and hashed like, the ObjectKey (or plain tuple) of the same namespace and name.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Tell when a key is to be reconciled again; ``None`` or ``Result()`` means when something changes.

    ``requeue_after``: seconds (0: at once, behind what waits already); the key's failures are forgotten.
    ``backoff``: again after the key's backoff, as after an error but without one: for what is not ready yet.
    ``priority``: of that requeue; by default the priority this reconcile was taken with.
    Raises ValueError for a negative or infinite time, or for ``requeue_after`` together with ``backoff``.
    """

    requeue_after: float | None = None
    backoff: bool = False
    priority: int | None = None

    def __post_init__(self) -> None:
        if self.requeue_after is not None:
            if not (isfinite(self.requeue_after) and self.requeue_after >= 0):
                raise ValueError(f"requeue_after is {self.requeue_after}: give seconds >= 0, or None for no requeue")
            if self.backoff:
                raise ValueError(
                    "requeue_after and backoff exclude each other: one fixes the time, the other lets it grow"
                )


class TerminalError(Exception):
    """Raise from a reconciler when trying again cannot help: counted and logged as an error, not retried.

    The key runs again when something about it changes, or when an earlier ``requeue_after`` comes due.
    """


class Reconciler(Protocol):
    """Bring one object's world to what its spec asks for.

    Called with a key that may no longer exist. Never called for one key twice at once. An ``async def`` runs on the
    loop; a plain ``def`` runs in a thread, which cannot be cancelled. Any exception means: again, after a backoff.
    """

    async def reconcile(self, request: Request) -> Result | None: ...


class SyncReconciler(Protocol):
    """A reconciler whose method blocks; it runs in a thread of the controller."""

    def reconcile(self, request: Request) -> Result | None: ...


# Union[] rather than |: evaluated at import, where 3.11 cannot combine a string or a generic alias of a Protocol.
AnyReconciler: TypeAlias = (
    Reconciler | SyncReconciler | Callable[[Request], Awaitable[Result | None]] | Callable[[Request], Result | None]
)
