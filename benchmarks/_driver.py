"""What drives an API server in the comparison of servers: creates, merge patches, and a fan-out to many watchers.

The same bytes over HTTPS (:mod:`benchmarks._wire`) or, in this process, into the core of the embedded server.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

import msgspec

from benchmarks._measurement import cpu_seconds
from benchmarks._wire import JSON, MERGE_PATCH, Endpoint, Wire, WireError
from benchmarks._workload import NAMESPACE, database, definition, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from pyoperator.testing import InProcessTransport

_WIDTH = 16
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_DATABASES = f"/apis/bench.example.com/v1/namespaces/{NAMESPACE}/databases"
_CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
_EVENT = b'"type":"MODIFIED"'
_PATIENCE = 60.0
_PACE = 1050.0  # a little above the thousand events a second that are asked for, because the run-out counts, too


class Connection(Protocol):
    async def ask(self, method: str, path: str, body: bytes, kind: str) -> None: ...
    def watch(self, path: str) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class HTTPS:
    """A connection of its own to a server elsewhere."""

    def __init__(self, endpoint: Endpoint, wire: Wire) -> None:
        self._endpoint = endpoint
        self._wire = wire

    @classmethod
    async def open(cls, endpoint: Endpoint) -> HTTPS:
        return cls(endpoint, await Wire.open(endpoint))

    async def ask(self, method: str, path: str, body: bytes, kind: str) -> None:
        await self._wire.send(self._endpoint.request(method, path, body, kind), 201 if method == "POST" else 200)

    def watch(self, path: str) -> AsyncIterator[bytes]:
        return self._wire.stream(self._endpoint.request("GET", path))

    async def aclose(self) -> None:
        await self._wire.aclose()


class InProcess:
    """The core of the embedded server, in this process."""

    def __init__(self, transport: InProcessTransport) -> None:
        self._transport = transport

    async def ask(self, method: str, path: str, body: bytes, kind: str) -> None:
        plain, query = _taken_apart(path)
        response = await self._transport.request(method, plain, query=query, body=body, headers={"content-type": kind})
        if response.status >= 300:
            raise WireError(f"{method} {path}: answered {response.status}")

    async def watch(self, path: str) -> AsyncGenerator[bytes]:
        plain, query = _taken_apart(path)
        async with self._transport.stream("GET", plain, query=query) as response:
            async for chunk in response.chunks():
                yield chunk

    async def aclose(self) -> None:
        """Nothing is held."""


def _taken_apart(path: str) -> tuple[str, list[tuple[str, str]]]:
    plain, _, query = path.partition("?")
    return plain, parse_qsl(query)


@dataclass(slots=True)
class Figures:
    """Of one server: objects and events a second; ``driver`` is the share of a core that this side needed meanwhile."""

    creates_s: float
    patches_s: float
    driver: float
    offered_s: float
    delivered_s: float
    watchers: int
    expected: int
    lost: int

    def text(self, peer: str, what: str) -> str:
        return (
            f"peer={peer} mode=server what={what} creates_s={self.creates_s:.0f} patches_s={self.patches_s:.0f} "
            f"driver={self.driver:.2f} watchers={self.watchers} offered_s={self.offered_s:.0f} "
            f"delivered_s={self.delivered_s:.0f} expected={self.expected} lost={self.lost}"
        )


async def over_https(kubeconfig: Path | str, writes: int, watchers: int, events: int) -> Figures:
    """Drive the server of a kubeconfig."""
    endpoint = Endpoint.load(kubeconfig)
    connections = [await HTTPS.open(endpoint) for _ in range(_WIDTH + watchers)]
    try:
        return await _drive(connections, writes, watchers, events)
    finally:
        for connection in connections:
            await connection.aclose()


async def in_process(writes: int, watchers: int, events: int) -> Figures:
    """Drive the embedded server's core in this process."""
    from pyoperator.apiserver import APIServer
    from pyoperator.testing import InProcessTransport

    server = APIServer()
    try:
        transport = InProcessTransport(server)
        return await _drive([InProcess(transport)] * (_WIDTH + watchers), writes, watchers, events)
    finally:
        server.close()


async def _drive(connections: Sequence[Connection], writes: int, watchers: int, events: int) -> Figures:
    first = connections[0]
    with suppress(WireError):  # there already: see the part "servers", which waits until the server has digested it
        await first.ask("POST", _DEFINITIONS, msgspec.json.encode(definition()), JSON)
    await _served(first)
    creates = [("POST", _DATABASES, msgspec.json.encode(database(number)), JSON) for number in range(writes)]
    patch = b'{"spec":{"version":"17.0"}}'
    patches = [("PATCH", f"{_DATABASES}/{name_of(number)}", patch, MERGE_PATCH) for number in range(writes)]
    begun = time.perf_counter(), cpu_seconds()
    create = await _all(connections[:_WIDTH], creates)
    patched = await _all(connections[:_WIDTH], patches)
    share = (cpu_seconds() - begun[1]) / (time.perf_counter() - begun[0])
    offered, delivered, lost = await _fan_out(connections[:_WIDTH], connections[_WIDTH:], events)
    return Figures(writes / create, writes / patched, share, offered, delivered, watchers, watchers * events, lost)


async def _served(connection: Connection) -> None:
    """Wait until the kind can be listed: a real server takes a moment."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                await connection.ask("GET", f"{_DATABASES}?limit=1", b"", JSON)
            except WireError:
                await asyncio.sleep(0.1)
            else:
                return


async def _all(connections: Iterable[Connection], requests: list[tuple[str, str, bytes, str]]) -> float:
    """Send all requests, as many at a time as there are connections; return the seconds."""
    left = iter(requests)

    async def work(connection: Connection) -> None:
        for request in left:
            await connection.ask(*request)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    return time.perf_counter() - begun


async def _fan_out(
    writers: Sequence[Connection], readers: Sequence[Connection], events: int
) -> tuple[float, float, int]:
    """Change objects ``events`` times, at a pace that the server may not keep, each writer an object of its own.

    Return writes a second, deliveries a second until the last reader has all, and how many never came.
    """
    for number, writer in enumerate(writers):
        begin = {"metadata": {"name": f"fan-out-{number}", "labels": {"fan-out": "yes"}}, "data": {"number": "-1"}}
        await writer.ask("POST", _CONFIG_MAPS, msgspec.json.encode(begin), JSON)
    got = [0] * len(readers)
    ready = asyncio.Semaphore(0)
    watching = [
        asyncio.create_task(_count(reader, got, number, events, ready.release)) for number, reader in enumerate(readers)
    ]
    left = iter(range(events))

    async def write(number: int, writer: Connection) -> None:
        for event in left:
            await asyncio.sleep(max(0.0, begun + event / _PACE - time.perf_counter()))
            body = b'{"data":{"number":"%d"}}' % event
            await writer.ask("PATCH", f"{_CONFIG_MAPS}/fan-out-{number}", body, MERGE_PATCH)

    try:
        async with asyncio.timeout(_PATIENCE):
            for _ in watching:
                await ready.acquire()
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, writer in enumerate(writers):
                group.create_task(write(number, writer))
        wrote = time.perf_counter() - begun
        await asyncio.wait(watching, timeout=_PATIENCE)
        took = time.perf_counter() - begun
    except TimeoutError:  # some watch was never opened: what was measured before is worth keeping
        return 0.0, 0.0, len(got) * events
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return events / wrote, sum(got) / took, len(got) * events - sum(got)


async def _count(reader: Connection, got: list[int], number: int, events: int, ready: Callable[[], None]) -> None:
    """Count the changes that one watcher is told, until it has them all; an event may come in several pieces."""
    tail = b""
    began = False
    async for chunk in reader.watch(f"{_CONFIG_MAPS}?watch=true&resourceVersion=0&labelSelector=fan-out%3Dyes"):
        if not began:  # an object as it is: the watch is open
            began = True
            ready()
        text = tail + chunk
        got[number] += text.count(_EVENT)
        tail = text[-(len(_EVENT) - 1) :]
        if got[number] >= events:
            return
