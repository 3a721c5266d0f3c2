"""The two transports of a manager."""

from __future__ import annotations

import contextlib

from structlog.testing import capture_logs

from pyoperator.client import Configuration, OpenGate, TransportError
from pyoperator.clock import Randomness, SystemClock
from pyoperator.manager._connections import Connections
from pyoperator.objects import Scheme


async def test_one_of_them_tells_where_the_configuration_came_from() -> None:
    configuration = Configuration("http://127.0.0.1:1", source="a test", warnings=("beware",))
    connections = Connections(configuration, None, scheme=Scheme(), clock=SystemClock(), random=Randomness(1))
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
