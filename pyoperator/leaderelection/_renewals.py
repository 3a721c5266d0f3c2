"""What a host lets others see and decide of its election: when leadership is renewed, and whether it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.client import TransportError, is_in_process
from pyoperator.leaderelection._leadership import Leadership

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from pyoperator.client import Response, StreamResponse, Transport
    from pyoperator.clock import Clock
    from pyoperator.leaderelection._config import ElectionConfig


class ToldLeadership(Leadership):
    """A fence that tells ``on_renewed(valid_until)`` each time valid-until changes; None: this process steps down.

    Called in the thread that changes it, and only then, so a listener hears of a change as soon as the fence has it.
    """

    def __init__(self, config: ElectionConfig, clock: Clock, on_renewed: Callable[[float | None], None]) -> None:
        super().__init__(config, clock)
        self._on_renewed = on_renewed

    def publish(self, valid_until: float | None, token: int) -> None:
        before = self.valid_until
        super().publish(valid_until, token)
        if self.valid_until != before:
            self._on_renewed(self.valid_until)

    def close(self) -> None:
        before = self.valid_until
        super().close()
        if before is not None:
            self._on_renewed(None)


class HeldTransport:
    """The election's transport while somebody may veto its writes: ``may_renew`` is asked before each.

    A vetoed write counts as one that was never sent: the elector tries again until the end of its right to lead, and a
    candidate that may not renew does not acquire either.
    """

    def __init__(self, transport: Transport, may_renew: Callable[[], bool]) -> None:
        self._transport = transport
        self._may_renew = may_renew

    @property
    def in_process(self) -> bool:
        return is_in_process(self._transport)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        if method != "GET" and not self._may_renew():
            raise TransportError("held back, because the work loop stands still", sent=False)
        return await self._transport.request(method, path, query=query, body=body, headers=headers, timeout=timeout)

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AbstractAsyncContextManager[StreamResponse]:
        return self._transport.stream(
            method, path, query=query, headers=headers, connect_timeout=connect_timeout, idle_timeout=idle_timeout
        )

    async def aclose(self) -> None:
        await self._transport.aclose()

    def __repr__(self) -> str:
        return f"<HeldTransport {self._transport!r}>"
