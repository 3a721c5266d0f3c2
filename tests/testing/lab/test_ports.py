"""Ports that wait for their process."""

from __future__ import annotations

import socket
import sys

import pytest

from pyoperator.testing.lab._ports import ReservedPort


def test_reserved_ports_differ() -> None:
    ports = [ReservedPort() for _ in range(20)]
    try:
        if sys.platform == "linux":
            assert len({port.number for port in ports}) == 20
    finally:
        for port in ports:
            port.close()


def test_its_process_can_listen_while_it_is_held() -> None:
    with ReservedPort() as port, socket.create_server(("127.0.0.1", port.number)) as server:
        assert port.address == f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="held on Linux only")
def test_nobody_who_does_not_share_it_gets_it() -> None:
    with ReservedPort() as port, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port.number))
        port.close()
        other.bind(("127.0.0.1", port.number))
