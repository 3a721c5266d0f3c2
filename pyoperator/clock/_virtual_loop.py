"""An asyncio loop on which time jumps to the next timer as soon as nothing is ready to run."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Every task waits for something that no timer and no ready callback will ever bring."""


class _SequencedTask(asyncio.Task[Any]):
    """A task whose hash is its place in the order of creation.

    asyncio and task groups keep tasks in sets and cancel them in set order; with the default hash (an address) that
    order, and with it everything after a cancellation, would differ between two runs of one seed.
    """

    def __init__(self, coro: Coroutine[Any, Any, Any], *, sequence: int, **kwargs: Any) -> None:
        self._sequence = sequence  # before super: the base class registers the task in a set at once
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self._sequence

    def __eq__(self, other: object) -> bool:
        return self is other


class _JumpingSelector(selectors.BaseSelector):
    """Stand in for the operating system's selector: instead of waiting, move the loop's time forward."""

    def __init__(self) -> None:
        self.now = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        # The loop registers its own wake-up pipe and nothing else: a virtual loop has no I/O.
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock(
                "virtual time cannot advance: no callback is ready and no timer is set; "
                "some task waits for I/O, a thread, or an event that nobody will set"
            )
        if timeout > 0:
            self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Run asyncio code with no real waiting: time starts at 0 and jumps from timer to timer.

    Two runs of the same code and seed are identical, in any process: tasks are hashed by creation order, functions
    given to ``run_in_executor`` run inline, and there is no I/O. Raises :class:`Deadlock` when nothing can ever
    happen again. Network calls are refused; use the in-process transport.
    """

    def __init__(self) -> None:
        self._jumping_selector = _JumpingSelector()
        super().__init__(self._jumping_selector)
        self._task_sequence = 0
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # typeshed's protocol spells out each version's keywords
        # asyncio fires a timer when its time is below now + resolution. A nanosecond would vanish in the rounding of a
        # large now (after a virtual year a float's step is 4 ns) and the loop would spin; a microsecond holds for decades.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping_selector.now

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> asyncio.Task[Any]:
        self._task_sequence += 1
        return _SequencedTask(coro, sequence=self._task_sequence, loop=loop, **kwargs)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run ``func`` inline, at one virtual instant; threads would make a run irreproducible."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a virtual loop has no network: use the in-process transport (pyoperator.testing)")

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a virtual loop has no network: serve in-process (pyoperator.testing)")


def virtual_loop_factory() -> VirtualTimeLoop:
    """Make a virtual loop; pass it as ``asyncio.Runner(loop_factory=virtual_loop_factory)``."""
    return VirtualTimeLoop()
