"""A transport that misbehaves as networks and servers do, by a seed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from pyoperator.client import Response, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from pyoperator.client import Query, StreamResponse, Transport
    from pyoperator.clock import Randomness


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong; probabilities in [0, 1] per request, per stream or (``cut``) per chunk.

    ``latency``: (least, most) seconds before a request reaches the server. ``answer_latency``: the same for its answer.
    ``refused``: the connection is refused, nothing is sent. ``broken``: it breaks before the server sees the request.
    ``lost_answer``: the server carries the request out and the answer is lost. ``half_open``: the request vanishes;
    nothing comes until the timeout. ``errors``: the server answers 500; ``throttled``: 429 with Retry-After 1.
    ``cut``: a stream breaks in the middle of a chunk. ``silent``: a stream opens and then never brings anything.
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
        self.faults = faults if faults is not None else Faults()
        self.partitioned = False
        self.injected: dict[str, int] = {}
        self._random = random
        self.applies_to = applies_to
        self._once: list[str] = []

    def inject_next(self, *names: str) -> None:
        """Make the next requests fail in these ways, one each, before chance decides again.

        Names are the fields of Faults: ``refused``, ``broken``, ``lost_answer``, ``half_open``, ``errors``,
        ``throttled``; for the next stream ``cut`` and ``silent``.
        """
        known = set(Faults.__dataclass_fields__) - {"latency", "answer_latency"}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
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
        fault = self._choose(method, path, ("refused", "broken", "half_open", "errors", "throttled", "lost_answer"))
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
                if fault == "errors":
                    return _failure(500, "InternalError", {})
                if fault == "throttled":
                    return _failure(429, "TooManyRequests", {"retry-after": "1"})
                response = await self.inner.request(
                    method, path, query=query, body=body, headers=headers, timeout=deadline - loop.time()
                )
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
        fault = self._choose(method, path, ("refused", "broken", "half_open", "silent", "cut"))
        try:
            async with asyncio.timeout(connect_timeout):
                if self._applies(method, path):
                    await self._wait(self.faults.latency)
                if fault == "half_open" or self.partitioned:
                    await loop.create_future()
                if fault in {"refused", "broken"}:
                    raise TransportError(f"{method} {path}: connection {fault} (injected)", sent=fault != "refused")
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: no answer within {connect_timeout:g} s (injected)") from error
        async with self.inner.stream(
            method, path, query=query, headers=headers, connect_timeout=connect_timeout, idle_timeout=idle_timeout
        ) as response:
            yield _FaultyStream(self, response, method, path, fault, idle_timeout)

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self.inner.aclose()

    def change(self, **faults: float | tuple[float, float]) -> None:
        """Exchange some of the faults: ``transport.change(errors=0.2, latency=(0.0, 0.5))``."""
        self.faults = replace(self.faults, **faults)  # type: ignore[arg-type]  # checked by the dataclass at run time

    def _applies(self, method: str, path: str) -> bool:
        return self.applies_to is None or self.applies_to(method, path)

    def _choose(self, method: str, path: str, names: tuple[str, ...]) -> str:
        if not self._applies(method, path):
            return ""
        if self._once and self._once[0] in names:
            return self._count(self._once.pop(0))
        for name in names:
            # A draw for every name, hit or not: switching one fault on does not shift the others' sequence.
            chance = getattr(self.faults, name)
            if self._random.random() < chance and name != "cut":
                return self._count(name)
        return ""

    def _count(self, name: str) -> str:
        self.injected[name] = self.injected.get(name, 0) + 1
        return name

    async def _wait(self, span: tuple[float, float]) -> None:
        if span[1] > 0:
            await asyncio.sleep(self._random.uniform(*span))

    def __repr__(self) -> str:
        return f"FaultyTransport({self.inner!r}, injected={sum(self.injected.values())})"


class _FaultyStream:
    def __init__(
        self,
        owner: FaultyTransport,
        inner: StreamResponse,
        method: str,
        path: str,
        fault: str,
        idle_timeout: float | None,
    ) -> None:
        self._owner = owner
        self._inner = inner
        self._what = f"{method} {path}"
        self._fault = fault
        self._idle_timeout = idle_timeout

    @property
    def status(self) -> int:
        return self._inner.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._inner.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks until the fault strikes."""
        if self._fault == "silent":
            await self._silence()
        async for chunk in self._inner.chunks():
            if self._owner.partitioned:
                await self._silence()
            chance = self._owner.faults.cut
            if self._fault == "cut" or (chance and self._owner._random.random() < chance):
                if self._fault != "cut":
                    self._owner._count("cut")
                if len(chunk) > 1:
                    yield chunk[: self._owner._random.randrange(1, len(chunk))]
                raise TransportError(f"{self._what}: the stream was cut (injected)")
            yield chunk

    async def _silence(self) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout):
                await asyncio.get_running_loop().create_future()
        except TimeoutError as error:
            raise TransportError(f"{self._what}: nothing came for {self._idle_timeout:g} s (injected)") from error


def _failure(code: int, reason: str, headers: Mapping[str, str]) -> Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": f"{reason} (injected)",
    }
    return Response(code, msgspec.json.encode(status), {"content-type": "application/json", **headers})
