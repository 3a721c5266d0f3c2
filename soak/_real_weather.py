"""What goes wrong every few seconds of the real part: the link, the server's answers, its history, its life, the Lease."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pyoperator.client import ApiError, MergePatch, TransportError
from soak._operator import LEASE, LEASE_KEY
from soak._to_its_end import to_its_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chaos._links import Link, Mode
    from chaos._servers import Embedded
    from pyoperator.client import Client
    from pyoperator.clock import Randomness

_PAUSE: Final = (1.0, 4.0)


class RealWeather:
    """All faults in an order of their own, then again in another; ``injected`` counts."""

    def __init__(self, link: Link, server: Embedded, client: Client, random: Randomness) -> None:
        self.injected: Counter[str] = Counter()
        self._link = link
        self._server = server
        self._client = client
        self._random = random
        self._faults: dict[str, Callable[[], Awaitable[None]]] = {
            "connections reset": lambda: self._link_is("refuse", 0.0, 0.2),
            "unreachable": lambda: self._link_is("refuse", 1.0, 3.0),
            "partition": lambda: self._link_is("freeze", 1.0, 10.0),
            "dead connections": self._mute,
            "slow": self._slow,
            "500, 503, 504": lambda: self._answers(errors=0.3),
            "lost answers": lambda: self._answers(late_errors=0.3),
            "429": lambda: self._answers(throttled=0.3),
            "410": self._compact,
            "server restarted": lambda: server.restart(crash=False, pause=random.uniform(0.0, 2.0)),
            "server killed": lambda: server.restart(crash=True, pause=random.uniform(0.0, 2.0)),
            "lease stolen": self._steal_lease,
        }

    async def rage(self) -> None:
        """Go on until cancelled; a fault that has begun ends first, so that calm is left behind."""
        coming: list[str] = []
        while True:
            await asyncio.sleep(self._random.uniform(*_PAUSE))
            if not coming:
                coming = list(self._faults)
                self._random.shuffle(coming)
            name = coming.pop()
            self.injected[name] += 1
            await to_its_end(self._faults[name]())

    async def _link_is(self, mode: Mode, least: float, most: float) -> None:
        self._link.mode = mode
        await asyncio.sleep(self._random.uniform(least, most))
        self._link.mode = "pass"

    async def _mute(self) -> None:
        self._link.mute()

    async def _slow(self) -> None:
        self._link.delay = self._random.uniform(0.05, 0.2)
        await asyncio.sleep(self._random.uniform(2.0, 5.0))
        self._link.delay = 0.0

    async def _answers(self, **faults: float) -> None:
        await self._server.fail(**faults)
        await asyncio.sleep(self._random.uniform(2.0, 5.0))
        await self._server.fail()

    async def _compact(self) -> None:
        # While the link is down the watches miss something, which is then forgotten.
        self._link.mode = "refuse"
        await asyncio.sleep(1.0)
        await self._server.compact()
        self._link.mode = "pass"

    async def _steal_lease(self) -> None:
        terms = {"holderIdentity": "somebody else", "leaseDurationSeconds": 2}
        with suppress(ApiError, TransportError):  # not there yet
            await self._client.patch(LEASE, LEASE_KEY, MergePatch({"spec": terms}))
