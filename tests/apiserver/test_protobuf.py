from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyoperator.apiserver import StatusError
from pyoperator.apiserver._protobuf import decode_protobuf
from tests.apiserver.requests import CONFIG_MAPS, Asker


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def metadata(name: str) -> bytes:
    # As Go writes it: empty strings and a zero time included.
    return field(1, field(1, name) + field(2, "") + field(8, b"") + field(11, field(1, "app") + field(2, "x")))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            body("v1", "ConfigMap", metadata("a") + field(2, field(1, "k") + field(2, "v")) + field(3, field(1, "b") + field(2, b"\xff"))),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "a", "labels": {"app": "x"}},
                "data": {"k": "v"},
                "binaryData": {"b": "/w=="},
            },
        ),
        (
            body(
                "coordination.k8s.io/v1",
                "Lease",
                metadata("l") + field(2, field(1, "me") + field(2, 15) + field(3, field(1, 1_800_000_000) + field(2, 5000))),
            ),
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "l", "labels": {"app": "x"}},
                "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": "2027-01-15T08:00:00.000005Z"},
            },
        ),
    ],
)  # fmt: skip
def test_bodies_are_what_their_json_would_be(data: bytes, expected: dict[str, Any]) -> None:
    assert decode_protobuf(data) == expected


def test_inlined_structs_pointers_and_unions() -> None:
    volume = field(1, "v") + field(2, field(2, b""))  # name, and inlined the source emptyDir
    probe = field(1, field(2, field(1, "/x") + field(2, field(1, 1) + field(3, "http"))))
    container = field(1, "c") + field(2, "i") + field(10, probe)
    spec = field(1, volume) + field(2, container) + field(4, 0) + field(5, 0)
    pod = decode_protobuf(body("v1", "Pod", metadata("p") + field(2, spec)))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert pod["spec"]["containers"][0]["livenessProbe"] == {"httpGet": {"path": "/x", "port": "http"}}
    # A pointer to zero was set on purpose; it stays.
    assert pod["spec"]["terminationGracePeriodSeconds"] == 0


def test_over_the_core() -> None:
    ask = Asker()
    headers = {"content-type": "application/vnd.kubernetes.protobuf"}
    made = ask("POST", CONFIG_MAPS, body("v1", "ConfigMap", metadata("a")), headers=headers, status=201)
    assert made["metadata"]["labels"] == {"app": "x"}
    ask("POST", CONFIG_MAPS, b"nonsense", headers=headers, status=400)
    ask("POST", CONFIG_MAPS, body("v1", "Unheard", b""), headers=headers, status=400)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=120), prefixed=st.booleans())
def test_malformed_bodies_are_400(raw: bytes, prefixed: bool) -> None:
    with contextlib.suppress(StatusError):  # any other exception is a fault
        decode_protobuf(body("v1", "Pod", raw) if prefixed else b"k8s\0" + raw)
