"""A transport that misbehaves as networks, proxies and servers do, by a seed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pyoperator.client import Response, TransportError, is_in_process
from pyoperator.testing._faulty_answers import ANSWERS, answer
from pyoperator.testing._faulty_stream import AnsweredStream, FaultyStream, PrecededStream
from pyoperator.testing._stale_reads import NOT_STALE, StaleRead, stale_read

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from pyoperator.client import Query, StreamResponse, Transport
    from pyoperator.clock import Randomness

_CONNECTION: Final = ("refused", "broken", "half_open")
_STALE: Final = ("stale", "lying")
_REQUEST: Final = (*_CONNECTION, "lost_answer", *ANSWERS, *_STALE)
_STREAM: Final = (*_CONNECTION, "silent", *ANSWERS, *_STALE, "empty", "recut", "gone_event")
# Drawn for each chunk, because they strike in the middle of a stream.
_CHUNK: Final = ("cut", "repeated", "long_line")
_WATCHES_ONLY: Final = frozenset({"gone_event", "repeated", "long_line"})
_READS_ONLY: Final = frozenset({"gone", *_STALE})


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong; probabilities in [0, 1], all 0 unless given.

    Of the way, in seconds: ``latency``: (least, most) before a request reaches the server; ``answer_latency``: the same
    for its answer (not of streams).

    Of the connection, per request or stream: ``refused``: nothing is sent. ``broken``: it breaks before the server sees
    the request. ``half_open``: the request vanishes; nothing comes until the timeout. ``lost_answer`` (requests only):
    the server carries the request out and the answer is lost.

    Of the answer, per request or stream; the server does not see the request: ``errors``: 500. ``throttled``: 429 with
    Retry-After 1. ``unauthorized``: 401. ``unavailable``: 503. ``bad_gateway``: a proxy's 502 in HTML. ``html``: a
    proxy's login page with status 200. ``garbage``: status 200 and bytes that are no JSON. ``gone`` (GET only): 410, as
    for a version that is compacted.

    Of a stream, per stream: ``silent``: it opens and never brings anything. ``empty``: it ends at once, cleanly.
    ``recut``: its chunks come in random pieces, so that lines are cut anywhere. ``gone_event`` (watches only): its first
    and only event is the ERROR of code 410.

    Of a stream, per chunk: ``cut``: it breaks in the middle of the chunk. ``repeated`` (watches only): the last lines,
    up to 20, come again after it. ``long_line`` (watches only): white space stretches its first line by
    ``long_line_bytes``.

    Of reads that name a resourceVersion and may be answered "not older than" it (gets, lists, WatchLists):
    ``stale``: the state that the server had ``lag`` (least, most) versions ago, as a watch cache that lags answers, but
    never older than asked for. ``lying``: the same, and older than asked for, which no server may do. A read at "0"
    allows any age; one without a version is consistent and never stale. The server is asked for the old state
    (``resourceVersionMatch=Exact``); where it has compacted it the read passes unchanged.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    answer_latency: tuple[float, float] = (0.0, 0.0)
    refused: float = 0.0
    broken: float = 0.0
    lost_answer: float = 0.0
    half_open: float = 0.0
    errors: float = 0.0
    throttled: float = 0.0
    cut: float = 0.0
    silent: float = 0.0
    unauthorized: float = 0.0
    unavailable: float = 0.0
    bad_gateway: float = 0.0
    html: float = 0.0
    garbage: float = 0.0
    gone: float = 0.0
    gone_event: float = 0.0
    empty: float = 0.0
    recut: float = 0.0
    repeated: float = 0.0
    long_line: float = 0.0
    long_line_bytes: int = 10 * 1024 * 1024
    stale: float = 0.0
    lying: float = 0.0
    lag: tuple[int, int] = (1, 100)


_KNOWN: Final = frozenset({*_REQUEST, *_STREAM, *_CHUNK})


class FaultyTransport:
    """Pass requests on to another transport, with faults.

    ``faults`` and ``applies_to(method, path)``, which limits them (None: everything), may be exchanged at any time.
    ``partitioned = True`` makes everything vanish, as behind a dead link, until it is set back. What happened is
    counted in ``injected``, by name. Same seed, same order of requests: same faults.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        random: Randomness,
        faults: Faults | None = None,
        applies_to: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.inner = inner
        self.faults: Faults = faults if faults is not None else Faults()
        self.partitioned = False
        self.injected: dict[str, int] = {}
        self._random = random
        self.applies_to = applies_to
        self._once: list[str] = []

    @property
    def in_process(self) -> bool:
        """What the transport inside says: faults do not move it to another process."""
        return is_in_process(self.inner)

    def inject_next(self, *names: str) -> None:
        """Make the next requests fail in these ways, one each, before chance decides again.

        Names are those of the probabilities in Faults. A name waits for the next request or stream that it can befall:
        ``silent`` for a stream, ``gone_event`` for a watch, ``stale`` for a read that may be stale; those behind it wait
        too. ``cut``, ``repeated`` and ``long_line`` strike at the first chunk of the next stream.
        """
        unknown = [name for name in names if name not in _KNOWN]
        if unknown:
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(_KNOWN))}")
        self._once.extend(names)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        """See Transport.request."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        read = stale_read(method, path, query, headers)
        fault = self._choose(method, path, _possible(_REQUEST, method, read, watch=False))
        applies = self._applies(method, path)
        try:
            async with asyncio.timeout_at(deadline):
                if applies:
                    await self._wait(self.faults.latency)
                if fault == "half_open" or self.partitioned:
                    await loop.create_future()
                if fault == "refused":
                    raise TransportError(f"{method} {path}: connection refused (injected)", sent=False)
                if fault == "broken":
                    raise TransportError(f"{method} {path}: connection reset (injected)")
                if fault in ANSWERS:
                    return answer(fault, self._random)
                asked = await self._grow_old(read, fault)
                if asked is not None:
                    self.count(fault)
                response = await self.inner.request(
                    method,
                    path if asked is None else asked.path,
                    query=query if asked is None else asked.query,
                    body=body,
                    headers=headers,
                    timeout=deadline - loop.time(),
                )
                if asked is not None:
                    response = asked.answer(response)
                if fault == "lost_answer":
                    raise TransportError(f"{method} {path}: the answer was lost (injected)")
                if applies:
                    await self._wait(self.faults.answer_latency)
                if self.partitioned:
                    await loop.create_future()
                return response
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: no answer within {timeout:g} s (injected)") from error

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
    ) -> AsyncGenerator[StreamResponse]:
        """See Transport.stream."""
        loop = asyncio.get_running_loop()
        read = stale_read(method, path, query, headers)
        watch = any(name == "watch" and value in {"1", "true"} for name, value in query)
        fault = self._choose(method, path, _possible(_STREAM, method, read, watch=watch), _possible_of_chunks(watch))
        first: list[bytes] | None = None
        try:
            async with asyncio.timeout(connect_timeout):
                if self._applies(method, path):
                    await self._wait(self.faults.latency)
                if fault == "half_open" or self.partitioned:
                    await loop.create_future()
                if fault in {"refused", "broken"}:
                    raise TransportError(f"{method} {path}: connection {fault} (injected)", sent=fault != "refused")
                asked = await self._grow_old(read, fault)
                if asked is not None and asked.watch:
                    first = await asked.initial_events(self.inner, headers)
                if asked is not None and (first is not None or not asked.watch):
                    self.count(fault)
                    query = asked.watch or asked.query
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: no answer within {connect_timeout:g} s (injected)") from error
        if fault in ANSWERS:
            yield AnsweredStream(answer(fault, self._random))
            return
        async with self.inner.stream(
            method,
            path,
            query=query,
            headers=headers,
            connect_timeout=connect_timeout,
            idle_timeout=idle_timeout,
        ) as response:
            yield FaultyStream(
                self,
                PrecededStream(b"".join(first), response) if first is not None else response,
                self._random,
                what=f"{method} {path}",
                fault=fault,
                of_chunks=_possible_of_chunks(watch) if self._applies(method, path) else (),
                idle_timeout=idle_timeout,
            )

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self.inner.aclose()

    def change(self, **faults: float | tuple[float, float]) -> None:
        """Exchange some of the faults: ``transport.change(errors=0.2, latency=(0.0, 0.5))``."""
        self.faults = replace(self.faults, **faults)  # type: ignore[arg-type]  # checked by the dataclass at run time

    @property
    def long_line_bytes(self) -> int:
        return self.faults.long_line_bytes

    def strikes(self, names: Iterable[str]) -> str:
        """Draw for each name whether that fault happens now; return the first that does, counted, or ""."""
        for name in names:
            chance = getattr(self.faults, name)
            # A name that is switched off costs no draw here: there is one for every chunk of every stream.
            if chance and self._random.random() < chance:
                return self.count(name)
        return ""

    def count(self, name: str) -> str:
        """Note that a fault happened."""
        self.injected[name] = self.injected.get(name, 0) + 1
        return name

    def _applies(self, method: str, path: str) -> bool:
        return self.applies_to is None or self.applies_to(method, path)

    def _choose(self, method: str, path: str, names: tuple[str, ...], more_once: tuple[str, ...] = ()) -> str:
        if not self._applies(method, path):
            return ""
        if self._once and self._once[0] in (*names, *more_once):
            return self._counted(self._once.pop(0))
        for name in names:
            # A draw for every name, hit or not: switching one fault on does not shift the others' sequence.
            chance = getattr(self.faults, name)
            if self._random.random() < chance:
                return self._counted(name)
        return ""

    def _counted(self, name: str) -> str:
        # Whether the server still has the old state, and a stream a chunk to strike at, is known later.
        return name if name in _STALE or name in _CHUNK else self.count(name)

    async def _grow_old(self, read: StaleRead, fault: str) -> StaleRead | None:
        if fault not in _STALE:
            return None
        lag = self._random.randint(*self.faults.lag)
        return await read.at_lag(self.inner, lag, lying=fault == "lying")

    async def _wait(self, span: tuple[float, float]) -> None:
        if span[1] > 0:
            await asyncio.sleep(self._random.uniform(*span))

    def __repr__(self) -> str:
        return f"FaultyTransport({self.inner!r}, injected={sum(self.injected.values())})"


def _possible(names: tuple[str, ...], method: str, read: StaleRead, *, watch: bool) -> tuple[str, ...]:
    impossible: set[str] = set()
    if method != "GET":
        impossible |= _READS_ONLY
    if read is NOT_STALE:
        impossible.update(_STALE)
    if not watch:
        impossible |= _WATCHES_ONLY
    return tuple(name for name in names if name not in impossible) if impossible else names


def _possible_of_chunks(watch: bool) -> tuple[str, ...]:
    return _CHUNK if watch else tuple(name for name in _CHUNK if name not in _WATCHES_ONLY)
