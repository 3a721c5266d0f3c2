"""The host on its own thread, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.client import AiohttpTransport, Configuration, LeadershipLost
from pyoperator.leaderelection import (
    ElectionConfig,
    ElectionConfigError,
    LeaderElector,
    Leadership,
    LoopHost,
    Phase,
    SupervisorThread,
    ThreadHost,
    Transition,
)
from tests.leaderelection.http_lease_server import HTTPLeaseServer, http_lease_server
from tests.leaderelection.lease_server import LeaseServer, LeaseTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyoperator.client import Transport

SHORT: dict[str, Any] = {"lease_duration": 2, "renew_deadline": 1.2, "retry_period": 0.3}


def config(identity: str, **settings: Any) -> ElectionConfig:
    return ElectionConfig(name="op", namespace="default", identity=identity, **settings)


@pytest.fixture
def server() -> Iterator[HTTPLeaseServer]:
    with http_lease_server() as running:
        yield running


@pytest.fixture
def factory(server: HTTPLeaseServer) -> Callable[[], Transport]:
    return lambda: AiohttpTransport(Configuration(server=server.address))


async def test_renewals_go_on_while_the_work_loop_is_stalled(
    server: HTTPLeaseServer, factory: Callable[[], Transport]
) -> None:
    patient = {"lease_duration": 3, "renew_deadline": 2.4, "retry_period": 0.3}
    host = ThreadHost(config("a", **patient), factory)
    await host.acquire()
    before, begun = len(server.commits), time.monotonic()
    stalled = threading.Event()
    # Longer than a lease, and nothing runs on this loop meanwhile.
    while (passed := time.monotonic() - begun) < 3.2 or len(server.commits) - before < 5:
        assert passed < 60, "renewals stand still"
        stalled.wait(0.1)
    assert host.leadership.is_leader
    assert not host.lost.is_set()
    await host.release()
    assert server.core.holder == ""
    await host.aclose()


async def test_loss_reaches_the_work_loop(server: HTTPLeaseServer, factory: Callable[[], Transport]) -> None:
    heard: list[tuple[str, int]] = []

    def listen(transition: Transition) -> None:
        heard.append((transition.kind, threading.get_ident()))

    host = ThreadHost(config("a", **SHORT), factory, on_transition=listen)
    await host.acquire()
    server.core.edit(holderIdentity="thief")
    async with asyncio.timeout(60):
        await host.lost.wait()
    assert not host.leadership.is_leader
    assert "thief" in host.lost_reason
    assert [kind for kind, _ in heard][:3] == ["acquired", "new_leader", "lost"]
    assert {thread for _, thread in heard} == {threading.get_ident()}
    await host.release()
    assert server.core.holder == "thief"
    await host.aclose()


async def test_abandon_and_campaign_again(server: HTTPLeaseServer, factory: Callable[[], Transport]) -> None:
    host = ThreadHost(config("a", **SHORT), factory)
    assert host.status().phase is Phase.IDLE
    await host.acquire()
    await host.abandon()
    assert not host.leadership.is_leader
    assert server.core.holder == "a"
    await host.acquire()
    assert host.leadership.token == 1
    assert host.status().is_leader
    await host.release()
    await host.aclose()
    await host.aclose()
    with pytest.raises(LeadershipLost, match="closed"):
        await host.acquire()


async def test_an_acquire_cancelled_in_its_first_step_is_ended_by_release_and_close(server: HTTPLeaseServer) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow_factory() -> Transport:
        entered.set()
        go_on.wait(10)
        return AiohttpTransport(Configuration(server=server.address))

    async with contextlib.AsyncExitStack() as stack:
        supervisor = SupervisorThread()
        supervisor.start()
        stack.push_async_callback(supervisor.stop)
        host = ThreadHost(config("a", **SHORT), slow_factory, supervisor=supervisor)
        acquiring = asyncio.create_task(host.acquire())
        assert await asyncio.to_thread(entered.wait, 10)
        acquiring.cancel()
        await asyncio.wait([acquiring])
        releasing = asyncio.create_task(host.release())
        await asyncio.sleep(0)
        go_on.set()
        await releasing
        await host.aclose()
        assert host.status().phase is Phase.IDLE
        assert server.core.holder == ""
        assert host._inner is not None


async def test_an_in_process_transport_is_refused() -> None:
    transport = LeaseTransport(LeaseServer())
    host = ThreadHost(config("a"), lambda: transport)
    with pytest.raises(ElectionConfigError, match="LoopHost"):
        await host.acquire()
    assert transport.closed
    await host.aclose()


async def test_a_transport_that_does_not_say_where_it_lives_is_refused() -> None:
    unsaid: Any = object()
    host = ThreadHost(config("a"), lambda: unsaid)
    with pytest.raises(ElectionConfigError, match="an attribute in_process"):
        await host.acquire()
    await host.aclose()


async def test_a_given_supervisor_is_shared_and_outlives_the_host(
    server: HTTPLeaseServer, factory: Callable[[], Transport]
) -> None:
    supervisor = SupervisorThread()
    supervisor.start()
    host = ThreadHost(config("a"), factory, supervisor=supervisor)
    await host.acquire()
    await host.release()
    await host.aclose()
    assert supervisor.loop.is_running()
    await supervisor.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = supervisor.loop


async def test_leader_elector_on_a_thread(server: HTTPLeaseServer, factory: Callable[[], Transport]) -> None:
    async def body(leadership: Leadership) -> int:
        leadership.check()
        return leadership.token

    async with LeaderElector(config("a"), factory) as elector:
        assert await elector.run(body) == 0
        assert await elector.run(body) == 1
    assert server.core.holder == ""


async def test_release_to_acquire_over_loopback(server: HTTPLeaseServer, factory: Callable[[], Transport]) -> None:
    transports = [factory(), factory()]
    follows = asyncio.Event()

    def listen(transition: Transition) -> None:
        if transition.kind == "new_leader" and transition.holder != transition.identity:
            follows.set()

    hosts = [
        LoopHost(config(name, retry_period=8), transport, on_transition=listen)
        for name, transport in zip("ab", transports, strict=True)
    ]
    await hosts[0].acquire()
    for _ in range(20):
        leader, follower = hosts
        waiting = asyncio.create_task(follower.acquire())
        async with asyncio.timeout(60):
            await follows.wait()
            follows.clear()
            await leader.release()
            await waiting
        hosts.reverse()
    gaps = [
        (taken - released) * 1000
        for (released, holder), (taken, _) in zip(server.commits, server.commits[1:], strict=False)
        if not holder
    ]
    assert len(gaps) == 20
    # By the watch, in milliseconds on an idle machine: nobody waited for the next try.
    assert sorted(gaps)[10] < 4000, gaps
    for host, transport in zip(hosts, transports, strict=True):
        await host.aclose()
        await transport.aclose()
