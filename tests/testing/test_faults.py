"""Each fault of answers and of streams, one by one, at the embedded server and at canned streams."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.apiserver import APIServer
from pyoperator.client import TransportError
from pyoperator.clock import LoopClock, Randomness
from pyoperator.testing import Faults, FaultyTransport, InProcessTransport
from tests.client.fake_transport import FakeTransport, answer
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WATCH = [("watch", "true")]
LINES = [b'{"a":1}\n{"b":2}\n', b'{"c":3}\n']


def canned(chunks: Sequence[bytes] = LINES, *, seed: int = 1, **faults: Any) -> tuple[FaultyTransport, FakeTransport]:
    inner = FakeTransport(handler=lambda sent: answer({}), chunks=list(chunks))
    return FaultyTransport(inner, random=Randomness(seed), faults=Faults(**faults)), inner


async def read(transport: FaultyTransport, *, watch: bool = True) -> tuple[int, list[bytes]]:
    async with transport.stream("GET", CONFIG_MAPS, query=WATCH if watch else [], idle_timeout=5) as stream:
        return stream.status, [chunk async for chunk in stream.chunks()]


STATUSES = [
    ("errors", 500, "InternalError"),
    ("throttled", 429, "TooManyRequests"),
    ("unauthorized", 401, "Unauthorized"),
    ("unavailable", 503, "ServiceUnavailable"),
    ("gone", 410, "Expired"),
]


@pytest.mark.parametrize(("fault", "code", "reason"), STATUSES)
def test_statuses_of_requests_and_streams(fault: str, code: int, reason: str) -> None:
    async def main() -> None:
        transport, inner = canned()
        transport.inject_next(fault, fault)
        response = await transport.request("GET", CONFIG_MAPS)
        status, (body,) = await read(transport)
        assert response.status == status == code
        for told in (json.loads(response.body), json.loads(body)):
            assert (told["kind"], told["code"], told["reason"]) == ("Status", code, reason)
        assert inner.sent == []
        assert transport.injected == {fault: 2}

    run_virtual(main)


@pytest.mark.parametrize(("fault", "code"), [("html", 200), ("bad_gateway", 502), ("garbage", 200)])
def test_answers_that_are_no_json(fault: str, code: int) -> None:
    async def main() -> None:
        transport, inner = canned()
        transport.inject_next(fault, fault)
        response = await transport.request("POST", CONFIG_MAPS, body=b"{}")
        status, (body,) = await read(transport)
        assert response.status == status == code
        for given in (response.body, body):
            with pytest.raises(ValueError, match=r"decode|Expecting"):
                json.loads(given)
        assert ("html" in response.headers["content-type"]) == (fault != "garbage")
        assert inner.sent == []

    run_virtual(main)


def test_garbage_differs_and_follows_the_seed() -> None:
    async def bodies() -> list[bytes]:
        transport, _ = canned(garbage=1.0)
        return [(await transport.request("GET", "/x")).body for _ in range(5)]

    assert run_virtual(bodies) == run_virtual(bodies)
    assert len(set(run_virtual(bodies))) == 5


def test_what_only_reads_can_meet_waits_for_one() -> None:
    async def main() -> None:
        transport, _ = canned(gone=1.0)
        assert (await transport.request("POST", CONFIG_MAPS, body=b"{}")).status == 200
        assert (await transport.request("GET", CONFIG_MAPS)).status == 410
        transport.change(gone=0.0)
        transport.inject_next("gone_event")
        assert await read(transport, watch=False) == (200, LINES)
        assert transport.injected == {"gone": 1}
        _, (line,) = await read(transport)
        event = json.loads(line)
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)

    run_virtual(main)


def test_a_stream_ends_at_once() -> None:
    async def main() -> None:
        transport, _ = canned()
        transport.inject_next("empty")
        assert await read(transport) == (200, [])
        assert await read(transport) == (200, LINES)

    run_virtual(main)


def test_chunks_are_cut_anew_anywhere() -> None:
    async def main() -> None:
        transport, _ = canned([b"0123456789" * 10] * 3)
        transport.inject_next("recut")
        _, pieces = await read(transport)
        assert b"".join(pieces) == b"0123456789" * 30
        assert len(pieces) > 3
        assert all(pieces)

    run_virtual(main)


def test_a_long_line_is_the_same_event() -> None:
    async def main() -> None:
        transport, _ = canned()
        transport.inject_next("long_line")
        _, pieces = await read(transport)
        text = b"".join(pieces)
        assert len(text) == len(b"".join(LINES)) + 10 * 1024 * 1024
        lines = text.split(b"\n")
        assert len(lines[0]) > 10 * 1024 * 1024
        assert [json.loads(line) for line in lines[:3]] == [{"a": 1}, {"b": 2}, {"c": 3}]
        # A list has no lines.
        transport.change(long_line=1.0, repeated=1.0)
        assert await read(transport, watch=False) == (200, LINES)

    run_virtual(main)


def test_events_come_again_in_their_order() -> None:
    async def main() -> None:
        transport, _ = canned()
        transport.inject_next("repeated")
        assert await read(transport) == (200, [LINES[0], LINES[0], LINES[1]])
        transport.change(repeated=1.0)
        assert await read(transport) == (200, [LINES[0], LINES[0], LINES[1], LINES[0] + LINES[1]])

    run_virtual(main)


def test_a_repetition_never_falls_into_a_line() -> None:
    async def main() -> None:
        transport, _ = canned([b'{"a":', b"1}\n", b'{"b"'], repeated=1.0)
        assert await read(transport) == (200, [b'{"a":', b"1}\n", b'{"a":1}\n', b'{"b"'])

    run_virtual(main)


def test_chunk_faults_are_counted_when_they_strike() -> None:
    async def main() -> None:
        transport, _ = canned([])
        transport.inject_next("cut")
        assert await read(transport) == (200, [])  # no chunk came that could be cut
        assert transport.injected == {}
        transport, _ = canned(cut=1.0)
        with pytest.raises(TransportError, match="cut"):
            await read(transport)
        assert transport.injected == {"cut": 1}

    run_virtual(main)


def test_faults_of_chunks_stay_where_they_apply() -> None:
    async def main() -> None:
        transport, _ = canned(cut=1.0, repeated=1.0, empty=1.0)
        transport.applies_to = lambda method, path: path != CONFIG_MAPS
        assert await read(transport) == (200, LINES)

    run_virtual(main)


def test_a_seed_repeats_all_faults() -> None:
    names = [
        name
        for name, value in Faults.__dataclass_fields__.items()
        if isinstance(value.default, float) and name != "lag"
    ]

    async def main() -> tuple[list[str], dict[str, int]]:
        loop = asyncio.get_running_loop()
        server = APIServer(clock=LoopClock(loop), random=Randomness(1))
        faults = Faults(latency=(0.0, 1.0), long_line_bytes=100, lag=(1, 9), **dict.fromkeys(names, 0.05))  # type: ignore[arg-type]
        transport = FaultyTransport(InProcessTransport(server), random=Randomness(7), faults=faults)
        seen: list[str] = []
        for number in range(250):
            body = json.dumps({"metadata": {"name": f"a{number % 5}"}, "data": {"n": str(number)}}).encode()
            try:
                if number % 2:
                    seen.append(str(await transport.request("POST", CONFIG_MAPS, body=body, timeout=2)))
                    seen.append(str(await transport.request("GET", CONFIG_MAPS, query=[("resourceVersion", "0")])))
                    continue
                query = [*WATCH, ("resourceVersion", "0"), ("timeoutSeconds", "3")]
                async with transport.stream("GET", CONFIG_MAPS, query=query, idle_timeout=2) as stream:
                    seen.extend([str(chunk) async for chunk in stream.chunks()])
            except TransportError as error:
                seen.append(str(error))
        return [*seen, str(loop.time())], transport.injected

    seen, injected = run_virtual(main)
    assert (seen, injected) == run_virtual(main)
    assert set(injected) == set(names)
