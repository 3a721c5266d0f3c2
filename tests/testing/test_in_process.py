from __future__ import annotations

import asyncio
import json

import pytest

from pyoperator.apiserver import APIServer
from pyoperator.client import LeadershipLost, TransportError
from pyoperator.clock import LoopClock, Randomness
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = json.dumps({"metadata": {"name": "a"}}).encode()


def make_server() -> APIServer:
    return APIServer(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(1))


class CountingGate:
    """Admit so many times."""

    def __init__(self, admissions: int) -> None:
        self.left = admissions
        self.asked: list[tuple[str, str]] = []

    def admit(self, method: str, path: str) -> float | None:
        self.asked.append((method, path))
        self.left -= 1
        if self.left < 0:
            raise LeadershipLost("closed")
        return None


def test_requests_and_watches_on_virtual_time() -> None:
    async def scenario() -> list[str]:
        transport = InProcessTransport(make_server())
        seen: list[str] = []

        async def reader() -> None:
            async with transport.stream("GET", CONFIG_MAPS, query=[("watch", "1"), ("timeoutSeconds", "60")]) as stream:
                assert stream.status == 200
                async for chunk in stream.chunks():
                    seen.extend(json.loads(line)["type"] for line in chunk.splitlines())

        async with asyncio.TaskGroup() as group:
            group.create_task(reader())
            await asyncio.sleep(1)
            assert (await transport.request("POST", CONFIG_MAPS, body=BODY)).status == 201
            assert (await transport.request("DELETE", f"{CONFIG_MAPS}/a")).status == 200
        assert asyncio.get_running_loop().time() == pytest.approx(60)
        return seen

    assert run_virtual(scenario) == ["ADDED", "DELETED"]


def test_the_gate_is_asked_again_right_before_the_commit() -> None:
    async def scenario() -> None:
        server = make_server()
        gate = CountingGate(1)
        transport = InProcessTransport(server, gate=gate)
        with pytest.raises(LeadershipLost):
            await transport.request("POST", CONFIG_MAPS, body=BODY)
        assert gate.asked == [("POST", CONFIG_MAPS)] * 2
        assert server.store.get("configmaps", "default", "a") is None
        assert (await transport.request("GET", CONFIG_MAPS)).status == 200

    run_virtual(scenario)


def test_a_cancelled_request_may_have_committed() -> None:
    async def scenario() -> set[bool]:
        outcomes: set[bool] = set()
        for yields in range(4):
            server = make_server()
            task = asyncio.create_task(InProcessTransport(server).request("POST", CONFIG_MAPS, body=BODY))
            for _ in range(yields):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            outcomes.add(server.store.get("configmaps", "default", "a") is not None)
        return outcomes

    assert run_virtual(scenario) == {False, True}


def test_users_have_the_rights_that_rbac_gives_them() -> None:
    async def scenario() -> int:
        transport = InProcessTransport(make_server(), credential="eve")
        return (await transport.request("GET", CONFIG_MAPS)).status

    assert run_virtual(scenario) == 403


def test_idle_and_closed() -> None:
    async def scenario() -> None:
        transport = InProcessTransport(make_server())
        async with transport.stream("GET", CONFIG_MAPS, query=[("watch", "1")], idle_timeout=5) as stream:
            with pytest.raises(TransportError, match="no data for 5 s"):
                _ = [chunk async for chunk in stream.chunks()]
        with pytest.raises(TransportError, match=r"use stream\(\)"):
            await transport.request("GET", CONFIG_MAPS, query=[("watch", "1")])
        await transport.aclose()
        with pytest.raises(TransportError):
            await transport.request("GET", CONFIG_MAPS)

    run_virtual(scenario)


def test_two_runs_of_one_seed_are_equal() -> None:
    async def scenario() -> bytes:
        transport = InProcessTransport(make_server())
        for number in range(5):
            body = json.dumps({"metadata": {"generateName": f"x{number}-"}}).encode()
            await transport.request("POST", CONFIG_MAPS, body=body)
        return (await transport.request("GET", CONFIG_MAPS)).body

    assert run_virtual(scenario) == run_virtual(scenario)
