"""The manager's clients read their own writes, or not, as its cache is configured."""

from __future__ import annotations

import pytest

from pyoperator.manager import CacheConfiguration
from tests.manager.support import LeaseServer
from tests.manager.test_manager import manager


@pytest.mark.parametrize("wanted", [True, False])
async def test_both_clients_are_as_configured(wanted: bool) -> None:
    configuration = CacheConfiguration(read_your_own_writes=wanted, own_write_timeout=2.0)
    built = manager(LeaseServer(), cache=configuration, leader_election=False)
    for client in (built.client, built.unfenced_client(reason="a test")):
        assert (client.read_your_own_writes, client.own_write_timeout) == (wanted, 2.0)
    # The live reader goes straight to the server, whatever the cache does.
    assert (built.client.transport is built.api_reader.transport) is not wanted
    await built._connections.aclose()


async def test_by_default_they_do() -> None:
    built = manager(LeaseServer(), leader_election=False)
    assert built.client.read_your_own_writes
    await built._connections.aclose()


async def test_a_bad_timeout_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="own_write_timeout"):
        manager(LeaseServer(), cache=CacheConfiguration(own_write_timeout=-1), leader_election=False)
