"""An embedded server whose watches lag: what is between an own write and the cache that shall see it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.cache import Cache, CachedClient
from pyoperator.client import Client, TransportError, is_in_process
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import GroupVersionKind, Scheme, Unstructured
from pyoperator.testing import FaultyTransport, InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from pyoperator.client import Query, Response, StreamResponse, Transport

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
NAMESPACES = ("default", "kube-system")


class SlowWatch:
    """A transport whose streams bring each chunk ``lag()`` seconds late; while ``held``, nothing at all."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.lag: Callable[[], float] = lambda: 0.0
        self.gets: list[str] = []
        self._open = asyncio.Event()
        self._cut = False
        self._open.set()

    @property
    def in_process(self) -> bool:
        return is_in_process(self.inner)

    @property
    def held(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """Break what is held: its bytes are lost."""
        self._cut = True
        self._open.set()

    async def request(self, method: str, path: str, **options: Any) -> Response:
        if method == "GET":
            self.gets.append(path)
        return await self.inner.request(method, path, **options)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AsyncIterator[StreamResponse]:
        async with self.inner.stream(
            method, path, query=query, headers=headers, connect_timeout=connect_timeout, idle_timeout=idle_timeout
        ) as response:
            yield _SlowAnswer(response, self)

    async def pass_on(self) -> None:
        """Wait until a chunk may go on."""
        await asyncio.sleep(self.lag())
        await self._open.wait()
        if self._cut:
            self._cut = False
            raise TransportError("cut off")

    async def aclose(self) -> None:
        await self.inner.aclose()


class _SlowAnswer:
    def __init__(self, answer: StreamResponse, network: SlowWatch) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._network = network

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.chunks():
            await self._network.pass_on()
            yield chunk


class Place:
    """A running cache of an embedded server behind a slow watch."""

    def __init__(self, *, seed: int = 1, **options: Any) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        self.server = APIServer(clock=clock, random=Randomness(seed), options=ServerOptions())
        self.faults = FaultyTransport(InProcessTransport(self.server), random=Randomness(seed + 3))
        self.network = SlowWatch(self.faults)
        self.logs = structlog.testing.CapturingLogger()
        self.cache = Cache(
            self.network,
            Scheme(),
            clock=clock,
            random=Randomness(seed + 1),
            logger=structlog.wrap_logger(self.logs, processors=[lambda _, __, event: ((), dict(event))]),
            **options,
        )
        self.live = Client(
            self.network, scheme=self.cache.scheme, clock=clock, random=Randomness(seed + 2), namespace="default"
        )

    def client(self, **options: Any) -> CachedClient:
        return CachedClient(self.live, self.cache, **options)

    def warnings(self) -> list[dict[str, Any]]:
        return [call.kwargs for call in self.logs.calls if call.method_name == "warning"]


def on_slow_watch(body: Callable[[Place], Coroutine[object, object, None]], *, seed: int = 1, **options: Any) -> None:
    """Run ``body`` beside a running cache, on virtual time."""

    async def main() -> None:
        place = Place(seed=seed, **options)
        running = asyncio.create_task(place.cache.run())
        try:
            await body(place)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_virtual(main)


def config_map(
    name: str, namespace: str = "default", *, labels: Mapping[str, str] | None = None, **data: str
) -> Unstructured:
    found = Unstructured.new(CONFIG_MAP, name, namespace, data=data)
    found.metadata["labels"] = dict(labels or {})
    return found
