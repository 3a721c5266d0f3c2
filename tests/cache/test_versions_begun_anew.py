"""An API server whose versions begin anew: restarted without its memory, restored, or another one at the same address.

A watch after a version that such a server has not reached is answered with 200 and then nothing, not even bookmarks.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.cache import Cache, CachedClient, Informer
from pyoperator.client import Client, TransportError
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import GroupVersionKind, Scheme, Unstructured
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pyoperator.client import Response, StreamResponse, Transport

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
SECRET = GroupVersionKind("", "v1", "Secret")


class Address:
    """A transport to whatever server is at an address; ``down`` refuses connections, ``put`` breaks those that are open."""

    in_process = True

    def __init__(self) -> None:
        self.down = False
        self.questions = 0
        self._broken = asyncio.Event()
        self.server = self._made(1)

    def _made(self, seed: int) -> APIServer:
        clock = LoopClock(asyncio.get_running_loop())
        server = APIServer(clock=clock, random=Randomness(seed), options=ServerOptions())
        self._inner: Transport = InProcessTransport(server)
        return server

    def replace(self, seed: int) -> APIServer:
        self._broken.set()
        self._broken = asyncio.Event()
        self.server = self._made(seed)
        return self.server

    def _check(self) -> None:
        if self.down:
            raise TransportError("connection refused", sent=False)

    async def request(self, method: str, path: str, **options: Any) -> Response:
        self._check()
        return await self._inner.request(method, path, **options)

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[StreamResponse]:
        self._check()
        self.questions += dict(options["query"]) == {"limit": "1"}
        async with self._inner.stream(method, path, **options) as answer:
            yield _Breakable(answer, self._broken)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Breakable:
    def __init__(self, answer: StreamResponse, broken: asyncio.Event) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._broken = broken

    async def chunks(self) -> AsyncIterator[bytes]:
        pieces = self._answer.chunks()
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            while True:
                piece = asyncio.ensure_future(anext(pieces))
                await asyncio.wait({piece, broken}, return_when=asyncio.FIRST_COMPLETED)
                if broken.done():
                    piece.cancel()
                    await asyncio.gather(piece, return_exceptions=True)
                    raise TransportError("reset")
                try:
                    yield piece.result()
                except StopAsyncIteration:
                    return
        finally:
            broken.cancel()


class World:
    def __init__(self, address: Address, cache: Cache, live: Client) -> None:
        self.address = address
        self.cache = cache
        self.live = live
        self.client = CachedClient(live, cache)

    async def fill(self, *names: str) -> None:
        for name in names:
            await self.live.create(Unstructured.new(CONFIG_MAP, name, "default"))

    def names(self, informer: Informer) -> set[str]:
        return {entry.key.name for entry in informer.store.entries()}


def on_world(body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        address = Address()
        clock = LoopClock(asyncio.get_running_loop())
        cache = Cache(
            address,
            Scheme(),
            clock=clock,
            random=Randomness(7),
            logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
        )
        running = asyncio.create_task(cache.run())
        live = Client(address, scheme=cache.scheme, clock=clock, random=Randomness(3), namespace="default")
        try:
            await body(World(address, cache, live))
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_virtual(main)


@pytest.mark.parametrize("watch_list", [True, False])
@pytest.mark.parametrize(("away", "within"), [(2.0, 10.0), (0.0, 200.0)])
def test_an_informer_holds_what_the_new_server_has(watch_list: bool, away: float, within: float) -> None:
    """Whoever could not connect asks at once; whoever was connected again at once asks after a silence."""

    async def body(world: World) -> None:
        await world.fill(*(f"old-{number}" for number in range(50)), "both")
        informer = world.cache.get_informer(CONFIG_MAP, watch_list=watch_list, namespaces=("default",))
        await world.cache.wait_for_cache_sync()
        assert len(world.names(informer)) == 51
        before = max(entry.metadata.resource_version for entry in informer.store.entries("default"))
        uid = (await world.live.get(CONFIG_MAP, "default/both")).metadata["uid"]
        world.address.down = away > 0
        world.address.replace(2)
        await asyncio.sleep(away)
        world.address.down = False
        await world.fill("new", "both")
        assert int((await world.live.get(CONFIG_MAP, "default/new")).metadata["resourceVersion"]) < int(before)
        await asyncio.sleep(within)
        assert world.names(informer) == {"new", "both"}
        assert (await world.client.get(CONFIG_MAP, "default/both")).metadata["uid"] != uid
        # It goes on from there, and nothing is asked while the watch works.
        asked = world.address.questions
        await world.fill("later")
        await asyncio.sleep(1)
        assert world.names(informer) == {"new", "both", "later"}
        await asyncio.sleep(3000)
        assert world.address.questions == asked

    on_world(body)


def test_own_writes_of_before_hold_up_nobody() -> None:
    async def body(world: World) -> None:
        world.cache.get_informer(CONFIG_MAP, namespaces=("default",))
        await world.cache.wait_for_cache_sync()
        for number in range(50):
            await world.client.create(Unstructured.new(CONFIG_MAP, f"old-{number}", "default"))
        await world.client.create(Unstructured.new(SECRET, "old", "default"))
        world.address.down = True
        world.address.replace(2)
        await asyncio.sleep(2)
        world.address.down = False
        await asyncio.sleep(10)
        loop = asyncio.get_running_loop()
        # An informer that is made now would else wait for the version of the secret that was written to the old server.
        world.cache.get_informer(SECRET, namespaces=("default",))
        await world.cache.wait_for_cache_sync()
        await world.client.create(Unstructured.new(SECRET, "new", "default"))
        await world.client.create(Unstructured.new(CONFIG_MAP, "new", "default"))
        began = loop.time()
        assert [found.name for found in (await world.client.list(SECRET, namespace="default")).items] == ["new"]
        assert [found.name for found in (await world.client.list(CONFIG_MAP, namespace="default")).items] == ["new"]
        assert loop.time() - began < 1

    on_world(body)


def test_a_server_that_was_away_and_is_the_same_is_only_asked_for_its_version() -> None:
    async def body(world: World) -> None:
        await world.fill("a")
        informer = world.cache.get_informer(CONFIG_MAP, namespaces=("default",))
        await world.cache.wait_for_cache_sync()
        inner, world.address.down = world.address._inner, True
        world.address.replace(2)
        world.address._inner = inner
        await asyncio.sleep(5)
        world.address.down = False
        await world.fill("b")
        await asyncio.sleep(40)
        assert world.names(informer) == {"a", "b"}
        assert world.address.questions == 1
        assert informer.status().lists == 1

    on_world(body)
