from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyoperator.client import TransportError
from pyoperator.clock import Randomness
from pyoperator.testing import Faults, FaultyTransport
from tests.client.fake_transport import FakeTransport, answer
from tests.support import run_virtual


def make(faults: Faults | None = None, seed: int = 1, **options: Any) -> tuple[FaultyTransport, FakeTransport]:
    inner = FakeTransport(handler=lambda sent: answer({}), chunks=[b"0123456789"] * 3)
    return FaultyTransport(inner, random=Randomness(seed), faults=faults, **options), inner


def outcomes(seed: int) -> list[str]:
    async def main() -> list[str]:
        transport, _ = make(Faults(latency=(0, 1), refused=0.2, lost_answer=0.2, errors=0.2, half_open=0.1), seed)
        seen = []
        for number in range(50):
            try:
                response = await transport.request("GET", f"/{number}", timeout=2)
                seen.append(str(response.status))
            except TransportError as error:
                seen.append(str(error))
        return [*seen, str(asyncio.get_running_loop().time())]

    return run_virtual(main)


def test_a_seed_repeats_itself() -> None:
    assert outcomes(1) == outcomes(1)
    assert outcomes(1) != outcomes(2)
    assert {"200", "500"} <= set(outcomes(1))


def test_each_fault() -> None:
    async def main() -> None:
        transport, inner = make()
        transport.inject_next("refused", "broken", "lost_answer", "errors", "throttled", "half_open")
        with pytest.raises(TransportError, match="refused") as refused:
            await transport.request("POST", "/x")
        assert not refused.value.sent
        with pytest.raises(TransportError, match="reset"):
            await transport.request("POST", "/x")
        assert inner.sent == []
        with pytest.raises(TransportError, match="lost"):
            await transport.request("POST", "/x")
        assert len(inner.sent) == 1  # carried out all the same
        assert (await transport.request("GET", "/x")).status == 500
        throttled = await transport.request("GET", "/x")
        assert (throttled.status, throttled.headers["retry-after"]) == (429, "1")
        with pytest.raises(TransportError, match="no answer within 7 s"):
            await transport.request("GET", "/x", timeout=7)
        assert asyncio.get_running_loop().time() == pytest.approx(7)
        assert sum(transport.injected.values()) == 6
        with pytest.raises(ValueError, match="no such fault"):
            transport.inject_next("latency")

    run_virtual(main)


def test_streams() -> None:
    async def main() -> None:
        transport, inner = make()
        transport.inject_next("cut", "silent")
        async with transport.stream("GET", "/x") as stream:
            chunks = aiter(stream.chunks())
            assert 0 < len(await anext(chunks)) < 10
            with pytest.raises(TransportError, match="cut"):
                await anext(chunks)
        with pytest.raises(TransportError, match="nothing came for 5 s"):
            async with transport.stream("GET", "/x", idle_timeout=5) as stream:
                await anext(aiter(stream.chunks()))
        assert inner.open_streams == 0

    run_virtual(main)


def test_a_partition_and_its_end() -> None:
    async def main() -> None:
        transport, _ = make(applies_to=lambda method, path: method != "GET")
        transport.change(errors=1.0)
        assert (await transport.request("GET", "/x")).status == 200
        assert (await transport.request("PUT", "/x")).status == 500
        transport.partitioned = True
        with pytest.raises(TransportError):
            await transport.request("GET", "/x", timeout=1)
        with pytest.raises(TransportError):
            async with transport.stream("GET", "/x", connect_timeout=1):
                pass
        transport.partitioned = False
        assert (await transport.request("GET", "/x")).status == 200
        await transport.aclose()

    run_virtual(main)
