from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.serving import BindAddress, BindAddressError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", "", 8080),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:9", "::1", 9),
        ("localhost:65535", "localhost", 65535),
        ("*:80", "", 80),
        (" :8081 ", "", 8081),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_parses_what_operators_write(text: str, host: str, port: int) -> None:
    assert BindAddress.parse(text) == BindAddress(host, port)


@pytest.mark.parametrize("text", ["0", "", "  "])
def test_disabled(text: str) -> None:
    address = BindAddress.parse(text)
    assert address.disabled
    assert str(address) == "0"


@pytest.mark.parametrize(
    ("text", "teaches"),
    [
        ("8080", "did you mean ':8080'"),
        ("localhost", "has no port"),
        (":http", "number from 0 to 65535"),
        (":65536", "number from 0 to 65535"),
        (":-1", "number from 0 to 65535"),
        (":", "number from 0 to 65535"),
        ("::1:8080", "in brackets"),
        ("[nope]:1", "no IPv6 address"),
        ("http://x:1", "brackets"),
        ("a b:1", "no host name"),
    ],
)
def test_errors_teach(text: str, teaches: str) -> None:
    with pytest.raises(BindAddressError, match="bind address") as caught:
        BindAddress.parse(text)
    assert teaches in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parse_is_idempotent() -> None:
    address = BindAddress.parse(":1")
    assert BindAddress.parse(address) is address


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    try:
        address = BindAddress.parse(text)
    except BindAddressError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert 0 <= address.port <= 65535
        assert BindAddress.parse(str(address)) == address
