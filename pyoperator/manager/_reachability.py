"""Waiting for an API server that is not there yet, and saying so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.client import TransportError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from pyoperator.client import Transport

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
_LOG_EVERY = 60.0


class Reachability:
    """Ask for ``/version`` until the API server answers; never gives up, because servers come back.

    ``problem`` tells in words what it waits for; empty once the server has answered. 401 counts as no answer: a token
    may still be on its way, and starting would only fail in more places.
    """

    def __init__(self, transport: Transport, logger: FilteringBoundLogger) -> None:
        self._transport = transport
        self._logger = logger
        self.problem = ""

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        pause, logged_at, logged = _FIRST_PAUSE, float("-inf"), ""
        while True:
            self.problem = await self._ask()
            if not self.problem:
                if logged:
                    self._logger.info("the API server answers now")
                return
            if self.problem != logged or loop.time() - logged_at >= _LOG_EVERY:
                logged, logged_at = self.problem, loop.time()
                self._logger.error("waiting for the API server", reason=self.problem)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _ask(self) -> str:
        try:
            answer = await self._transport.request("GET", "/version", timeout=5.0)
        except TransportError as error:
            return f"the API server can't be reached ({error}): check the address, the network, and that it runs"
        if answer.status == 401:
            return (
                "the API server does not know us (HTTP 401): check the kubeconfig's user or the service account's token"
            )
        return ""
