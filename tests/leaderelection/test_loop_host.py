"""The host on the caller's loop, and LeaderElector, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.client import LeadershipLost
from pyoperator.clock import LoopClock, Randomness
from pyoperator.leaderelection import ElectionConfig, Elector, LeaderElector, Leadership, LoopHost, Phase, Transition
from tests.leaderelection.lease_server import LeaseServer, LeaseTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def make(
    server: LeaseServer, identity: str, *, rate: float = 1.0, **settings: Any
) -> tuple[LoopHost, LeaseTransport, list[Transition]]:
    transitions: list[Transition] = []
    transport = LeaseTransport(server, identity)
    host = LoopHost(
        ElectionConfig(name="op", namespace="default", identity=identity, **settings),
        transport,
        clock=LoopClock(asyncio.get_running_loop(), rate=rate),
        random=Randomness(len(identity)),
        on_transition=transitions.append,
    )
    return host, transport, transitions


def now() -> float:
    return asyncio.get_running_loop().time()


def test_hand_over_within_50_ms_and_transitions_count() -> None:
    async def main() -> None:
        server = LeaseServer()
        hosts = [make(server, identity)[0] for identity in ("a", "bb", "ccc")]
        await hosts[0].acquire()
        others = [asyncio.create_task(host.acquire()) for host in hosts[1:]]
        await asyncio.sleep(60)
        await hosts[0].release()
        assert not hosts[0].lost.is_set()
        released = now()
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        assert now() - released < 0.05
        assert sum(host.leadership.is_leader for host in hosts) == 1
        assert server.spec["leaseTransitions"] == 1
        for host in hosts:
            await host.aclose()
        await asyncio.gather(*others, return_exceptions=True)
        assert not server.listeners

    run_virtual(main)


@pytest.mark.parametrize("rate", [1.0, 0.9])
def test_crash_is_taken_over_within_100_ms_of_expiry(rate: float) -> None:
    async def main() -> None:
        server = LeaseServer()
        first, transport, _ = make(server, "a")
        second, _, _ = make(server, "bb", rate=rate)
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(31)
        last = first.status().renewed_at
        assert last is not None
        transport.down = True
        await first.lost.wait()
        assert now() == pytest.approx(last + 10.0, abs=0.01)
        await waiting
        assert last + 15 / rate < now() < last + 15 / rate + 0.1
        await first.aclose()
        await second.aclose()

    run_virtual(main)


def test_forbidden_watch_is_replaced_by_polling() -> None:
    async def main() -> None:
        server = LeaseServer()
        first, _, _ = make(server, "a")
        second, transport, _ = make(server, "bb")
        transport.watch_status = 403
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(20)
        await first.release()
        released = now()
        await waiting
        assert now() - released < 2 * 2.2 + 0.1
        await first.aclose()
        await second.aclose()

    run_virtual(main)


def test_lost_answers_do_not_cost_leadership() -> None:
    async def main() -> None:
        server = LeaseServer()
        host, transport, transitions = make(server, "a")
        transport.lose_answers = 1
        await host.acquire()
        for _ in range(20):
            transport.lose_answers = 2
            await asyncio.sleep(5)
        assert [item.kind for item in transitions] == ["acquired", "new_leader"]
        assert host.leadership.token == 0
        await host.aclose()

    run_virtual(main)


def test_a_cancellation_that_escapes_from_the_transport_is_a_failed_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer the candidate would wait for ever, and neither lead nor end."""

    async def main() -> None:
        host, transport, transitions = make(LeaseServer(), "a")
        request, stream = transport.request, transport.stream
        escapes = iter([True, False, True, False, True])

        async def cancelled_request(*args: Any, **options: Any) -> Any:
            if next(escapes, False):
                raise asyncio.CancelledError
            return await request(*args, **options)

        @contextlib.asynccontextmanager
        async def cancelled_stream(*args: Any, **options: Any) -> AsyncIterator[Any]:
            if now() < 5:
                raise asyncio.CancelledError
            async with stream(*args, **options) as opened:
                yield opened

        monkeypatch.setattr(transport, "request", cancelled_request)
        monkeypatch.setattr(transport, "stream", cancelled_stream)
        async with asyncio.timeout(30):
            await host.acquire()
        await asyncio.sleep(60)
        assert host.leadership.is_leader
        assert host.status().watching
        assert [item.kind for item in transitions] == ["acquired", "new_leader"]
        await host.aclose()

    run_virtual(main)


def test_release_without_release_on_cancel_lets_the_lease_run_out() -> None:
    async def main() -> None:
        server = LeaseServer()
        host, _, _ = make(server, "a", release_on_cancel=False)
        await host.acquire()
        await host.release()
        assert server.holder == "a"
        assert not host.leadership.is_leader
        await host.aclose()

    run_virtual(main)


def test_acquire_again_after_a_loss_is_a_new_tenure() -> None:
    async def main() -> None:
        server = LeaseServer()
        host, transport, _ = make(server, "a")
        await host.acquire()
        transport.down = True
        await host.lost.wait()
        assert "not renewed within 10 s" in host.lost_reason
        transport.down = False
        await host.acquire()
        assert not host.lost.is_set()
        assert host.leadership.token == 1
        status = host.status()
        assert status.master_status == 1
        assert (status.acquisitions_total, status.losses_total) == (2, 1)
        assert status.last_renew_age is not None
        assert status.last_renew_age < 1
        await host.aclose()

    run_virtual(main)


def test_a_broken_elector_is_a_loss_and_closes_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        host, _, _ = make(LeaseServer(), "a")
        await host.acquire()

        def explode(*_: object) -> None:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(Elector, "tick", explode)
        await host.lost.wait()
        assert "a fault of ours" in host.lost_reason
        assert not host.leadership.is_leader
        await asyncio.sleep(0)
        with pytest.raises(ExceptionGroup):
            await host.acquire()
        await host.aclose()

    run_virtual(main)


def test_a_release_does_not_outlive_an_elector_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        host, _, _ = make(LeaseServer(), "a")
        await host.acquire()

        def explode(*_: object) -> None:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(Elector, "answered", explode)
        async with asyncio.timeout(10):
            await host.release()
        await host.aclose()

    run_virtual(main)


def test_a_listener_that_raises_costs_nothing() -> None:
    async def main() -> None:
        def explode(transition: Transition) -> None:
            raise RuntimeError(transition.kind)

        host = LoopHost(
            ElectionConfig(name="op", namespace="default", identity="a"),
            LeaseTransport(LeaseServer()),
            clock=LoopClock(asyncio.get_running_loop()),
            on_transition=explode,
        )
        await host.acquire()
        await asyncio.sleep(30)
        assert host.leadership.is_leader
        await host.aclose()

    run_virtual(main)


def test_cancelling_acquire_at_any_moment_and_releasing_leaves_the_lease_free() -> None:
    async def main() -> None:
        for step in range(40):
            server = LeaseServer()
            host, _, _ = make(server, "a")
            task = asyncio.create_task(host.acquire())
            await asyncio.sleep(step * 0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await host.release()
            await asyncio.sleep(1)
            assert server.holder == "", step
            assert host.status().phase is Phase.IDLE
            await host.aclose()

    run_virtual(main)


def elector(server: LeaseServer, transport: LeaseTransport, **options: Any) -> LeaderElector:
    return LeaderElector(
        ElectionConfig(name="op", namespace="default", identity="a"),
        transport,
        clock=LoopClock(asyncio.get_running_loop()),
        random=Randomness(1),
        **options,
    )


def test_leader_elector_runs_a_body_and_releases() -> None:
    async def main() -> None:
        server = LeaseServer()
        heard: list[object] = []

        async def body(leadership: Leadership) -> str:
            leadership.check()
            await asyncio.sleep(100)
            assert server.holder == "a"
            return "done"

        async with elector(
            server,
            LeaseTransport(server),
            on_started_leading=lambda leadership: heard.append(leadership.token),
            on_stopped_leading=lambda: heard.append("stopped"),
            on_new_leader=heard.append,
        ) as one:
            assert await one.run(body) == "done"
            assert server.holder == ""
        assert heard == ["a", 0, "stopped"]

    run_virtual(main)


def test_leader_elector_cancels_the_body_when_leadership_is_lost() -> None:
    async def main() -> None:
        server = LeaseServer()
        async with elector(server, LeaseTransport(server)) as one:

            async def body(leadership: Leadership) -> None:
                server.edit(holderIdentity="thief")
                await asyncio.sleep(3600)

            with pytest.raises(LeadershipLost, match="thief"):
                await one.run(body)
            assert now() < 1
            assert server.holder == "thief"
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    run_virtual(main)


@pytest.mark.parametrize("silent", [True, False])
def test_leader_elector_ends_at_once_when_the_server_is_out_of_reach(silent: bool) -> None:
    """A release would hold up the end of the process, and could not succeed."""

    async def main() -> None:
        server = LeaseServer()
        transport = LeaseTransport(server)
        async with elector(server, transport) as one:

            async def body(leadership: Leadership) -> None:
                transport.latency, transport.down = (3600.0, False) if silent else (0.001, True)
                await asyncio.sleep(3600)

            with pytest.raises(LeadershipLost, match="not renewed within 10 s"):
                await one.run(body)
            renewed = one.status().renewed_at
            assert renewed is not None
            assert now() == pytest.approx(renewed + 10.0, abs=0.001)
        assert now() == pytest.approx(renewed + 10.0, abs=0.001)

    run_virtual(main)


def test_a_release_is_tried_no_longer_than_the_last_renewal_is_valid() -> None:
    async def main() -> None:
        server = LeaseServer()
        transport = LeaseTransport(server)
        host = LoopHost(
            ElectionConfig(name="op", namespace="default", identity="a"),
            transport,
            clock=LoopClock(asyncio.get_running_loop()),
        )
        await host.acquire()
        renewed = host.status().renewed_at
        assert renewed is not None
        transport.down = True
        await asyncio.sleep(8)
        await host.release()
        assert now() == pytest.approx(renewed + 10.0, abs=0.2)
        await host.aclose()

    run_virtual(main)


def test_a_callback_that_raises_at_the_start_gives_the_lease_back() -> None:
    async def main() -> None:
        server = LeaseServer()

        def explode(leadership: Leadership) -> None:
            raise RuntimeError("a fault of the caller")

        async with elector(server, LeaseTransport(server), on_started_leading=explode) as one:
            with pytest.raises(RuntimeError, match="a fault of the caller"):
                async with one.lead():
                    raise AssertionError("the block must not start")
            assert server.holder == ""

    run_virtual(main)


def test_leader_elector_passes_on_a_cancellation_from_outside() -> None:
    async def main() -> None:
        server = LeaseServer()
        async with elector(server, LeaseTransport(server)) as one:

            async def body(leadership: Leadership) -> None:
                await asyncio.sleep(3600)

            task = asyncio.create_task(one.run(body))
            await asyncio.sleep(5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.holder == ""

    run_virtual(main)


@pytest.mark.parametrize("release", [True, False])
def test_a_body_that_crashes_is_lost_leadership(release: bool) -> None:
    async def main() -> None:
        server = LeaseServer()
        transitions: list[Transition] = []
        stopped: list[float] = []
        config = ElectionConfig(name="op", namespace="default", identity="a", release_on_cancel=release)
        one = LeaderElector(
            config,
            LeaseTransport(server),
            clock=LoopClock(asyncio.get_running_loop()),
            on_transition=transitions.append,
            on_stopped_leading=lambda: stopped.append(now()),
        )

        async def body(leadership: Leadership) -> None:
            await asyncio.sleep(5)
            raise ValueError("a fault of the body")

        async with one, elector(server, LeaseTransport(server, "other")) as other:
            with pytest.raises(ValueError, match="a fault of the body"):
                await one.run(body)
            crashed = now()
            assert crashed == pytest.approx(5, abs=0.2)
            assert len(stopped) == 1
            assert [item.kind for item in transitions] == ["acquired", "new_leader", "released" if release else "lost"]
            status = one.status()
            assert status.phase is Phase.IDLE
            assert (status.acquisitions_total, status.losses_total) == (1, 0 if release else 1)
            assert status.valid_until is None
            assert not one.leadership.is_leader
            with pytest.raises(LeadershipLost):
                one.leadership.check()
            # The body is over, so the Lease is free; or it runs out, if that was asked for.
            assert server.holder == ("" if release else "a")
            async with other.lead():
                assert (now() - crashed < 0.1) is release

    run_virtual(main)
