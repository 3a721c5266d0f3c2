"""When a failed request may be sent again: the policy, apart from the transport that sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyoperator.client._errors import ApiError, TransportError, error_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pyoperator.client._transport import Query, Response, Transport
    from pyoperator.clock import Randomness

_ASKED_TO_WAIT = frozenset({429, 503})
_PASSING = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bound what is sent again.

    429 and 503 with ``Retry-After`` mean that the server did nothing: repeated for every verb. Broken connections and
    other 5xx leave open whether it did: repeated only if ``repeatable`` (a read, or a write with a precondition that
    would make its second delivery lose). Everything happens within the request's own timeout.

    ``retries`` is the number of sendings after the first (0: none). ``first_delay`` and ``longest_delay`` are seconds;
    delays double, with up to half as much again of jitter, so that many clients don't come back at once.
    """

    retries: int = 4
    first_delay: float = 0.05
    longest_delay: float = 2.0

    async def send(
        self,
        transport: Transport,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float,
        repeatable: bool,
        random: Randomness,
    ) -> Response:
        """Send until there is a success or a final failure; raises ApiError, TransportError, LeadershipLost."""

        def attempt(left: float) -> Awaitable[Response]:
            return transport.request(method, path, query=query, body=body, headers=headers, timeout=left)

        return await self.run(attempt, method=method, path=path, timeout=timeout, repeatable=repeatable, random=random)

    async def run(
        self,
        attempt: Callable[[float], Awaitable[Response]],
        *,
        method: str,
        path: str,
        timeout: float,
        repeatable: bool,
        random: Randomness,
    ) -> Response:
        """Repeat ``attempt(seconds left)`` as ``send`` does; for what is not one plain request."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        sendings = 0
        failure: ApiError | TransportError | None = None
        try:
            while True:
                sendings += 1
                asked = 0.0
                try:
                    response = await attempt(deadline - loop.time())
                except TransportError as error:
                    if not repeatable:
                        raise
                    failure = error
                else:
                    if response.status < 400:
                        return response
                    failure = error_for(
                        response.status,
                        response.body,
                        method=method,
                        path=path,
                        retry_after=response.headers.get("retry-after"),
                    )
                    if response.status in _ASKED_TO_WAIT and failure.retry_after is not None:
                        asked = failure.retry_after
                    elif not (repeatable and response.status in _PASSING):
                        raise failure
                delay = random.jitter(min(self.first_delay * 2 ** (sendings - 1), self.longest_delay), 0.5)
                delay = max(delay, asked)
                if sendings > self.retries or loop.time() + delay >= deadline:
                    raise failure
                await asyncio.sleep(delay)
        finally:
            # The frame that raises an error and keeps it is a cycle: only the collector would free what both hold.
            del failure
