"""The two ways to the API server that a manager has: past the fence, and through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.client import Client, OpenGate, TransportError, is_in_process
from pyoperator.manager._errors import ManagerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from pyoperator.client import Configuration, Gate, Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.objects import Scheme


_READY_EVERY = 15.0
"""Seconds; less than the 20 after which a transport closes an idle connection."""


class Connections:
    """Make and close transports; ``fenced`` is the open one until ``fence`` is called, as without leader election."""

    def __init__(
        self,
        configuration: Configuration | None,
        transport_factory: Callable[[Gate], Transport] | None,
        *,
        scheme: Scheme,
        clock: Clock,
        random: Randomness,
        logger: FilteringBoundLogger,
    ) -> None:
        if transport_factory is not None and not callable(transport_factory):
            raise ManagerError(
                f"transport_factory is {transport_factory!r}: give a function that makes a transport with the gate it is "
                "called with, as in `lambda gate: InProcessTransport(server, gate=gate)`"
            )
        self.make: Callable[[Gate], Transport] = transport_factory or _http(configuration, clock)
        self.open = self.make(OpenGate())
        self.fenced = self.open
        # In-process transports belong to one loop: no second thread, and nobody outside to serve.
        try:
            self.in_process = is_in_process(self.open)
        except TypeError as error:
            raise ManagerError(f"transport_factory: {error}") from error
        self._scheme = scheme
        self._clock = clock
        self._random = random
        self._logger = logger

    def fence(self, gate: Gate) -> None:
        """Let everything that asks for ``fenced`` from now on pass ``gate``."""
        self.fenced = self.make(gate)

    def client(self, transport: Transport, field_manager: str) -> Client:
        """Return a plain client over one of the two."""
        return Client(
            transport, scheme=self._scheme, field_manager=field_manager, clock=self._clock, random=self._random
        )

    async def keep_ready(self) -> None:
        """Keep what the first write of a leader needs: an open connection, credentials that are valid.

        A standby writes nothing. Without this everybody who waits for its first write would wait for TCP, TLS and
        perhaps a credential plugin, in the moment in which all is busy. Until cancelled; nothing for in-process ones.
        """
        while not self.in_process:
            try:
                await self.fenced.request("GET", "/version", timeout=_READY_EVERY)
            except TransportError:
                pass  # a standby has nothing to say: its informers tell that the server is away
            except Exception:  # a fault of a foreign source of credentials: a standby stays one, and goes on trying
                self._logger.exception("cannot keep the first write's connection ready")
            await asyncio.sleep(_READY_EVERY)

    def all(self) -> list[Transport]:
        return [self.fenced] if self.fenced is self.open else [self.fenced, self.open]

    async def aclose(self) -> None:
        for transport in self.all():
            await transport.aclose()

    def __repr__(self) -> str:
        return f"<Connections {self.open!r} fenced={self.fenced is not self.open}>"


def _http(configuration: Configuration | None, clock: Clock) -> Callable[[Gate], Transport]:
    from pyoperator.client import AiohttpTransport, Configuration

    found = configuration if configuration is not None else Configuration.load(clock=clock)
    made: list[AiohttpTransport] = []

    def make(gate: Gate) -> AiohttpTransport:
        # One of them tells where the configuration came from, and what is wrong with it.
        made.append(AiohttpTransport(found, gate=gate, clock=clock, announce="nothing" if made else "all"))
        return made[-1]

    return make
