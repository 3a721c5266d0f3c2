"""What a manager runs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from pyoperator._callables import discard, takes
from pyoperator._callables import name_of as callable_name
from pyoperator.manager._errors import ManagerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GroupName: TypeAlias = Literal["caches", "webhooks", "others", "leader"]
"""When something starts and stops; see LifeCycle."""

GROUPS: Final = ("caches", "webhooks", "others", "leader")


@runtime_checkable
class Runnable(Protocol):
    """Something with a life: ``run()`` works until it is cancelled, or returns when there is nothing left to do.

    A runnable runs on the leader only, unless it says otherwise. It may have, besides ``run``:

    - ``need_leader_election`` (default True): False runs it on every replica;
    - ``async warm_up()``: called on every replica while caches start, before anyone leads; the manager campaigns once
      it has returned, so it should do no more than what must be ready (start informers and wait for them);
    - ``async ready()``: for the groups caches and webhooks: returns once others may rely on it;
    - ``async drain()``: take no new work, return when the work in flight is done; ``run`` is cancelled after that.
      Without it ``run`` is cancelled at once;
    - ``blockers() -> Iterable[str]``: what has not ended: what ``run`` waits for, and what goes on although it has ended
      (threads that can't be cancelled). While it names something, the runnable does not count as stopped, and no lease
      is released.

    ``run`` may be called again after it has ended, when leadership is won a second time.
    """

    async def run(self) -> None: ...


class FunctionRunnable:
    """A plain ``async def`` function as a runnable."""

    def __init__(self, function: Callable[[], Awaitable[None]], *, need_leader_election: bool = True) -> None:
        self._function = function
        self.need_leader_election = need_leader_election

    async def run(self) -> None:
        await self._function()

    @property
    def name(self) -> str:
        return getattr(self._function, "__qualname__", None) or repr(self._function)

    def __repr__(self) -> str:
        return f"FunctionRunnable({self.name})"


def checked_runnable(given: Any) -> Runnable:
    """Return what a manager can run for what was given to ``add``; raises ManagerError for what would fail at its start."""
    if isinstance(given, type):
        raise ManagerError(
            f"{given.__qualname__} can't be run: it is a class, give an instance, {given.__qualname__}(...)"
        )
    if inspect.iscoroutinefunction(given):
        if not takes(given, 0):
            raise ManagerError(
                f"{callable_name(given)}{inspect.signature(given)} can't be run: it is called without arguments; give what "
                "it needs with functools.partial, or make it an object with `async def run(self)`"
            )
        return FunctionRunnable(given)
    if not isinstance(given, Runnable) or not callable(given.run):
        discard(given)
        raise ManagerError(
            f"{name_of(given)} can't be run: give an object with `async def run(self)`, or an async function"
        )
    if not takes(given.run, 0):
        raise ManagerError(
            f"{name_of(given)} can't be run: run{inspect.signature(given.run)} is called without arguments; what it needs "
            "belongs to its object"
        )
    if callable(getattr(given, "need_leader_election", None)):
        raise ManagerError(
            f"{name_of(given)} can't be run: its need_leader_election is a method, here it is an attribute, as in "
            "`need_leader_election = False`"
        )
    return given


def name_of(runnable: object) -> str:
    """Return what logs and errors call it: class and ``name``, if it has one."""
    kind = type(runnable).__name__
    name = getattr(runnable, "name", None)
    if isinstance(runnable, FunctionRunnable):
        return str(name)
    return f"{kind} {name}" if isinstance(name, str) and name else kind
