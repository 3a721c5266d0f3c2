"""The two transports of a manager."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from pyoperator.client import AiohttpTransport, Configuration, OpenGate, TransportError
from pyoperator.clock import Randomness, SystemClock
from pyoperator.leaderelection._renewals import HeldTransport
from pyoperator.manager import Manager, ManagerError
from pyoperator.manager._connections import Connections
from pyoperator.objects import Scheme
from pyoperator.testing import FaultyTransport
from tests.manager.support import InProcessLeaseTransport, LeaseServer, LeaseTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.client import Gate, Response, Transport


class Asked(LeaseTransport):
    """Notes who is asked what, and when; each request takes a second."""

    def __init__(self, server: LeaseServer, gate: Gate, asked: list[tuple[Gate, str, float]]) -> None:
        super().__init__(server, gate)
        self.asked = asked

    async def request(self, method: str, path: str, **options: Any) -> Response:
        self.asked.append((self._gate, f"{method} {path}", asyncio.get_running_loop().time()))
        await asyncio.sleep(1)
        return await super().request(method, path, **options)


def connections_over(
    transport_factory: Callable[[Gate], Transport] | None, configuration: Configuration | None = None
) -> Connections:
    return Connections(
        configuration,
        transport_factory,
        scheme=Scheme(),
        clock=SystemClock(),
        random=Randomness(1),
        logger=get_logger(),
    )


@pytest.mark.parametrize("reachable", [True, False])
def test_a_standby_keeps_a_connection_ready_for_its_first_write(reachable: bool) -> None:
    async def main() -> None:
        asked: list[tuple[Gate, str, float]] = []
        server = LeaseServer()
        server.reachable = reachable
        connections = connections_over(lambda gate: Asked(server, gate, asked))
        gate = OpenGate()
        connections.fence(gate)
        keeping = asyncio.create_task(connections.keep_ready())
        await asyncio.sleep(20)
        keeping.cancel()
        await asyncio.wait((keeping,))
        assert asked == [(gate, "GET /version", time) for time in (0, 16)]  # again before a pool closes it

    run_virtual(main)


def test_a_fault_of_the_credentials_is_told_and_does_not_end_it() -> None:
    class Faulty(Asked):
        async def request(self, method: str, path: str, **options: Any) -> Response:
            await super().request(method, path, **options)
            raise KeyError("token")

    async def main() -> None:
        asked: list[tuple[Gate, str, float]] = []
        server = LeaseServer()
        connections = connections_over(lambda gate: Faulty(server, gate, asked))
        with capture_logs() as lines:
            keeping = asyncio.create_task(connections.keep_ready())
            await asyncio.sleep(20)
        assert not keeping.done()
        keeping.cancel()
        await asyncio.wait((keeping,))
        assert len(asked) == 2
        assert [(line["log_level"], line["exc_info"]) for line in lines] == [("error", True)] * 2

    run_virtual(main)


def test_in_process_there_is_nothing_to_keep_ready() -> None:
    async def main() -> None:
        connections = connections_over(lambda gate: InProcessLeaseTransport(LeaseServer(), gate))
        await connections.keep_ready()

    run_virtual(main)


async def test_one_of_them_tells_where_the_configuration_came_from() -> None:
    configuration = Configuration("http://127.0.0.1:1", source="a test", warnings=("beware",))
    connections = connections_over(None, configuration)
    connections.fence(OpenGate())
    with capture_logs() as lines:
        for transport in connections.all():
            with contextlib.suppress(TransportError):
                await transport.request("GET", "/version")
    await connections.aclose()
    assert [(line["event"], line.get("source")) for line in lines] == [
        ("talking to the API server", "a test"),
        ("beware", None),
    ]


class Silent:
    """A wrapper that does not pass on whether it is in process."""

    def __init__(self, inner: object) -> None:
        self.inner = inner


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda _gate: Silent(None), "give Silent an attribute in_process"),
        (lambda gate: FaultyTransport(Silent(gate), random=Randomness(1)), "give Silent an attribute in_process"),  # type: ignore[arg-type]
        (lambda _gate: None, "None does not say"),
        (InProcessLeaseTransport(LeaseServer(), OpenGate()), "a function that makes a transport"),
    ],
)
def test_a_transport_that_does_not_say_where_it_lives_is_refused(factory: Any, message: str) -> None:
    with pytest.raises(ManagerError, match=message):
        Manager(transport_factory=factory)


def test_wrappers_pass_on_where_a_transport_lives() -> None:
    for kind in (LeaseTransport, InProcessLeaseTransport):
        transport = kind(LeaseServer(), OpenGate())
        faulty = FaultyTransport(transport, random=Randomness(1))
        held = HeldTransport(faulty, lambda: True)
        assert (faulty.in_process, held.in_process) == (kind.in_process, kind.in_process)
    assert not AiohttpTransport(Configuration("http://127.0.0.1:1")).in_process
