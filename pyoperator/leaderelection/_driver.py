"""The driver: carries out what the elector asks for, on whatever loop it runs."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.client import TransportError
from pyoperator.leaderelection._actions import CancelRequest, CloseWatch, OpenWatch, Phase, Report, SendRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyoperator.client import Transport
    from pyoperator.clock import Clock
    from pyoperator.leaderelection._actions import Action, ElectionStatus, Transition
    from pyoperator.leaderelection._elector import Elector
    from pyoperator.leaderelection._leadership import Leadership


class ElectionDriver:
    """Drive one elector over one transport: ``run()`` until cancelled; everything else from the same loop.

    The transport is the election's own, never shared with the work, and not fenced. ``on_transition`` must not block.
    """

    def __init__(
        self,
        elector: Elector,
        transport: Transport,
        *,
        clock: Clock,
        leadership: Leadership,
        on_transition: Callable[[Transition], None],
    ) -> None:
        self._elector = elector
        self._transport = transport
        self._clock = clock
        self._leadership = leadership
        self._on_transition = on_transition
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._status: ElectionStatus = elector.status()

    async def run(self) -> None:
        """Serve the elector until cancelled; then the gate is closed and nothing is released."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._tick()
        finally:
            self._group = None
            self._leadership.publish(None, 0)
            self._idle.set()  # nobody is left to finish a release that is being waited for

    def campaign(self) -> None:
        self._apply(self._elector.campaign(*self._now()))

    def stop(self) -> None:
        self._apply(self._elector.stop(*self._now()))

    async def release(self) -> None:
        """Give the Lease back; returns when that is done, refused, or its time (renew_deadline / 2) is over."""
        self._apply(self._elector.release(*self._now()))
        await self._idle.wait()

    @property
    def status(self) -> ElectionStatus:
        """The latest snapshot; safe to read from any thread."""
        status = self._status
        if status.renewed_at is None:
            return status
        return dataclasses.replace(status, last_renew_age=self._clock.elapsed() - status.renewed_at)

    def _now(self) -> tuple[float, float]:
        return self._clock.elapsed(), self._clock.wall()

    def _apply(self, actions: list[Action]) -> None:
        elector = self._elector
        # The gate first: nobody may hear of a loss, or of an election, while the fence still says otherwise.
        self._leadership.publish(elector.valid_until, elector.token)
        self._status = elector.status()
        if elector.phase is Phase.IDLE:
            self._idle.set()
        else:
            self._idle.clear()
        for action in actions:
            match action:
                case SendRequest():
                    self._start(action.request, self._send(action))
                case OpenWatch():
                    self._start(action.watch, self._follow(action))
                case CancelRequest(request=number) | CloseWatch(watch=number):
                    task = self._tasks.pop(number, None)
                    if task is not None and task is not asyncio.current_task():
                        task.cancel()
                case Report(transition=transition):
                    self._on_transition(transition)
        self._changed.set()

    def _start(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
            raise RuntimeError("the election's driver is not running: await its run() in a task of its own")
        self._tasks[number] = self._group.create_task(work)

    async def _tick(self) -> None:
        # Loop time may stand still while the machine sleeps, or run at another rate: never trust one long sleep.
        longest = self._elector.config.retry_period
        while True:
            self._changed.clear()
            delay = self._elector.next_tick - self._clock.elapsed()
            if delay <= 0:
                self._apply(self._elector.tick(*self._now()))
                # An elector that stays due would starve the loop.
                await asyncio.sleep(0)
                continue
            pause = None if self._elector.phase is Phase.IDLE else max(min(delay, longest), 0.0001)
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _send(self, action: SendRequest) -> None:
        try:
            async with asyncio.timeout(action.timeout):
                response = await self._transport.request(
                    action.method, action.path, body=action.body, timeout=action.timeout
                )
        except TransportError as error:
            self._finish(action.request, str(error), sent=error.sent)
        except TimeoutError:
            self._finish(action.request, f"no answer within {action.timeout:.1f} s", sent=True)
        except asyncio.CancelledError:
            if _asked_to_stop():
                raise
            # A library let a cancellation of its own escape: without an answer the elector would wait for ever.
            self._finish(action.request, "the transport was cancelled from inside", sent=True)
        except Exception as error:  # an exec plugin, a token file: whatever credentials do must not end the election
            self._finish(action.request, f"{type(error).__name__}: {error}", sent=True)
        else:
            self._tasks.pop(action.request, None)
            self._apply(self._elector.answered(*self._now(), action.request, response.status, response.body))

    def _finish(self, request: int, reason: str, *, sent: bool) -> None:
        self._tasks.pop(request, None)
        self._apply(self._elector.failed(*self._now(), request, reason, sent=sent))

    async def _follow(self, action: OpenWatch) -> None:
        status, reason = 0, ""
        try:
            async with self._transport.stream(
                "GET",
                action.path,
                query=action.query,
                connect_timeout=action.connect_timeout,
                idle_timeout=action.idle_timeout,
            ) as stream:
                if stream.status != 200:
                    status, reason = stream.status, f"answered {stream.status}"
                else:
                    buffer = b""
                    async for chunk in stream.chunks():
                        *lines, buffer = (buffer + chunk).split(b"\n")
                        for line in lines:
                            if line.strip():
                                self._event(action.watch, line)
                        if action.watch not in self._tasks:
                            return  # one of these events closed this very watch
        except TransportError as error:
            reason = str(error)
        except asyncio.CancelledError:
            if _asked_to_stop():
                raise
            reason = "the transport was cancelled from inside"
        except Exception as error:  # as for requests: polling goes on
            reason = f"{type(error).__name__}: {error}"
        self._tasks.pop(action.watch, None)
        self._apply(self._elector.watch_ended(*self._now(), action.watch, status, reason))

    def _event(self, watch: int, line: bytes) -> None:
        event = msgspec.json.decode(line)
        kind, item = event["type"], event["object"]
        self._apply(self._elector.watch_event(*self._now(), watch, kind, item))


def _asked_to_stop() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
