"""Where an elector lives: on the caller's loop (tests, simulation), or on a thread of its own (production)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog

from pyoperator.client import LeadershipLost, is_in_process
from pyoperator.clock import Randomness, SystemClock
from pyoperator.leaderelection._config import ElectionConfigError
from pyoperator.leaderelection._driver import ElectionDriver
from pyoperator.leaderelection._elector import Elector
from pyoperator.leaderelection._leadership import Leadership
from pyoperator.leaderelection._renewals import HeldTransport, ToldLeadership
from pyoperator.leaderelection._supervisor import SupervisorThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.client import Transport
    from pyoperator.clock import Clock
    from pyoperator.leaderelection._actions import ElectionStatus, Transition
    from pyoperator.leaderelection._config import ElectionConfig
    from pyoperator.leaderelection._supervisor import Supervisor

T = TypeVar("T")


def _tell(listener: Callable[[Transition], None] | None, transition: Transition) -> None:
    """Call a listener; its fault is logged and costs no leadership."""
    if listener is None:
        return
    try:
        listener(transition)
    except Exception:
        structlog.get_logger().exception("on_transition raised", transition=transition.kind, lease=transition.name)


def _fence(config: ElectionConfig, clock: Clock, on_renewed: Callable[[float | None], None] | None) -> Leadership:
    return Leadership(config, clock) if on_renewed is None else ToldLeadership(config, clock, on_renewed)


class ElectionHost(Protocol):
    """What a manager needs of an election; both hosts have it. All coroutines belong to the work's loop."""

    @property
    def leadership(self) -> Leadership:
        """The fence; one object for the host's whole life, whoever leads."""
        ...

    @property
    def lost(self) -> asyncio.Event:
        """Set when leadership has ended otherwise than by release or abandon; cleared by ``acquire``."""
        ...

    @property
    def lost_reason(self) -> str: ...

    async def acquire(self) -> None:
        """Compete, and return when leading; call it again after a loss or release to compete again.

        A cancelled acquire goes on competing in the background until ``release`` or ``abandon``. Raises whatever ended
        the elector, if it broke.
        """
        ...

    async def release(self) -> None:
        """Give the Lease back, if it is still ours and ``release_on_cancel`` is set; bounded by renew_deadline / 2.

        Only after all leader-only work has provably stopped; otherwise ``abandon``.
        """
        ...

    async def abandon(self) -> None:
        """Stop competing and leading, close the fence, and let the Lease run out."""
        ...

    def status(self) -> ElectionStatus:
        """Return a snapshot; from any thread."""
        ...

    async def aclose(self) -> None:
        """Abandon what is left, end the elector and close its transport. Idempotent."""
        ...


class LoopHost:
    """Run the elector on the caller's loop. The transport stays the caller's unless ``owns_transport``.

    ``may_renew`` is asked before each write of the Lease: False holds it back, so that leadership ends at valid-until.
    ``on_renewed(valid_until)`` is called on this loop whenever that instant changes, None when this process steps down.
    """

    def __init__(
        self,
        config: ElectionConfig,
        transport: Transport,
        *,
        clock: Clock | None = None,
        random: Randomness | None = None,
        on_transition: Callable[[Transition], None] | None = None,
        on_broken: Callable[[str], None] | None = None,
        leadership: Leadership | None = None,
        owns_transport: bool = False,
        may_renew: Callable[[], bool] | None = None,
        on_renewed: Callable[[float | None], None] | None = None,
    ) -> None:
        self.config = config
        self._transport: Transport = transport if may_renew is None else HeldTransport(transport, may_renew)
        self._clock = clock or SystemClock()
        self._leadership = leadership or _fence(config, self._clock, on_renewed)
        self._listener = on_transition
        self._broken_listener = on_broken
        self._owns_transport = owns_transport
        self._driver = ElectionDriver(
            Elector(config, random or Randomness()),
            self._transport,
            clock=self._clock,
            leadership=self._leadership,
            on_transition=self._heard,
        )
        self._task: asyncio.Task[None] | None = None
        self._won = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost_reason = ""

    @property
    def leadership(self) -> Leadership:
        return self._leadership

    @property
    def lost(self) -> asyncio.Event:
        return self._lost

    @property
    def lost_reason(self) -> str:
        return self._lost_reason

    async def acquire(self) -> None:
        self._lost.clear()
        self._won.clear()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"election {self.config.name}")
            await asyncio.sleep(0)  # the driver's task group must be open before the first action
        if not self._task.done():
            self._driver.campaign()
            if self._driver.status.is_leader:
                return  # won after an earlier acquire was cancelled
            await self._won.wait()
        if self._task.done():
            await self._task
            raise LeadershipLost(f"the election {self.config.name} is closed")

    async def release(self) -> None:
        if self._task is None or self._task.done():
            return
        if self.config.release_on_cancel:
            await self._driver.release()
        else:
            await self.abandon()

    async def abandon(self) -> None:
        if self._task is not None and not self._task.done():
            self._driver.stop()

    def status(self) -> ElectionStatus:
        return self._driver.status

    async def aclose(self) -> None:
        await self.abandon()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)  # a failure was told as a loss
        if self._owns_transport:
            await self._transport.aclose()

    async def _run(self) -> None:
        try:
            await self._driver.run()
        except Exception as error:
            # The elector itself broke (the driver has closed the fence): whoever leads or waits must hear of it.
            self._lost_reason = f"the elector failed: {error!r}"
            self._lost.set()
            if self._broken_listener is not None:
                self._broken_listener(self._lost_reason)
            raise
        finally:
            self._won.set()

    def _heard(self, transition: Transition) -> None:
        if transition.kind == "acquired":
            self._won.set()
        elif transition.kind == "lost":
            self._lost_reason = transition.reason
            self._lost.set()
        _tell(self._listener, transition)

    def __repr__(self) -> str:
        return f"<LoopHost {self.config.identity!r} {self.status().phase.value}>"


class ThreadHost:
    """Run the elector on a supervisor's loop, with a transport of its own, so that a stalled work loop can't stop it.

    ``transport_factory`` is called in that loop, because sessions belong to the loop they are made in. ``supervisor``
    is shared by whoever gives one; otherwise this host owns a thread. ``on_transition`` is called on the work's loop,
    ``may_renew`` and ``on_renewed`` (see LoopHost) in the supervisor's thread, because they are for stalls of the work's.
    Raises ElectionConfigError for an in-process transport: it is not made for two threads; use LoopHost.
    """

    def __init__(
        self,
        config: ElectionConfig,
        transport_factory: Callable[[], Transport],
        *,
        supervisor: Supervisor | None = None,
        clock: Clock | None = None,
        random: Randomness | None = None,
        on_transition: Callable[[Transition], None] | None = None,
        may_renew: Callable[[], bool] | None = None,
        on_renewed: Callable[[float | None], None] | None = None,
    ) -> None:
        self.config = config
        self._factory = transport_factory
        self._may_renew = may_renew
        self._own_thread = SupervisorThread(f"election-{config.name}") if supervisor is None else None
        self._supervisor: Supervisor | None = supervisor
        self._clock = clock or SystemClock()
        self._random = random or Randomness()
        self._listener = on_transition
        self._leadership = _fence(config, self._clock, on_renewed)
        self._inner: LoopHost | None = None
        self._work_loop: asyncio.AbstractEventLoop | None = None
        self._campaigned = False
        self._closed = False
        self._lost = asyncio.Event()
        self._lost_reason = ""

    @property
    def leadership(self) -> Leadership:
        return self._leadership

    @property
    def lost(self) -> asyncio.Event:
        return self._lost

    @property
    def lost_reason(self) -> str:
        return self._lost_reason

    async def acquire(self) -> None:
        if self._closed:
            raise LeadershipLost(f"the election {self.config.name} is closed")
        self._work_loop = asyncio.get_running_loop()
        self._lost.clear()
        self._campaigned = True
        await self._there(self._acquire())

    async def release(self) -> None:
        if self._campaigned and not self._closed:
            await self._there(self._end(LoopHost.release))

    async def abandon(self) -> None:
        if self._campaigned and not self._closed:
            await self._there(self._end(LoopHost.abandon))

    def status(self) -> ElectionStatus:
        inner = self._inner
        return Elector(self.config, self._random).status() if inner is None else inner.status()

    async def aclose(self) -> None:
        if self._campaigned and not self._closed:
            await self._there(self._end(LoopHost.aclose))
        self._closed = True
        if self._own_thread is not None:
            await self._own_thread.stop()

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        if self._supervisor is None and self._own_thread is not None:
            self._own_thread.start()
            self._supervisor = self._own_thread
        assert self._supervisor is not None  # noqa: S101 - one of the two is always given
        return await asyncio.wrap_future(self._supervisor.submit(work))

    async def _end(self, how: Callable[[LoopHost], Coroutine[Any, Any, None]]) -> None:
        """On the supervisor's loop, hence after an acquire that was cancelled a moment ago: it may have begun."""
        if self._inner is not None:
            await how(self._inner)

    async def _acquire(self) -> None:
        """On the supervisor's loop: make the inner host at the first call, then compete."""
        if self._inner is None:
            transport = self._factory()
            try:
                in_process = is_in_process(transport)
            except TypeError as error:
                raise ElectionConfigError(str(error)) from error
            if in_process:
                await transport.aclose()
                raise ElectionConfigError(
                    "an in-process transport can't be used from a second thread: host this election on the work's own loop "
                    "(LoopHost), as simulations do"
                )
            self._inner = LoopHost(
                self.config,
                transport,
                clock=self._clock,
                random=self._random,
                on_transition=self._hand_over,
                on_broken=self._broken,
                leadership=self._leadership,
                owns_transport=True,
                may_renew=self._may_renew,
            )
        await self._inner.acquire()

    def _hand_over(self, transition: Transition) -> None:
        self._on_work_loop(self._heard, transition)

    def _broken(self, reason: str) -> None:
        self._on_work_loop(self._set_lost, reason)

    def _on_work_loop(self, call: Callable[[Any], None], argument: object) -> None:
        loop = self._work_loop
        if loop is None or loop.is_closed():
            return  # nobody is left to tell; the fence is closed already
        try:
            loop.call_soon_threadsafe(call, argument)
        except RuntimeError:  # closed between the two lines
            return

    def _heard(self, transition: Transition) -> None:
        if transition.kind == "lost":
            self._set_lost(transition.reason)
        _tell(self._listener, transition)

    def _set_lost(self, reason: str) -> None:
        self._lost_reason = reason
        self._lost.set()

    def __repr__(self) -> str:
        return f"<ThreadHost {self.config.identity!r} {self.status().phase.value}>"
