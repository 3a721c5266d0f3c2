"""What goes wrong on a virtual day, every few minutes: networks, servers, leaders, whole processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from pyoperator.client import MergePatch, NotFound
from pyoperator.testing import LOCAL_NETWORK, Faults
from soak._operator import LEASE, LEASE_KEY
from soak._to_its_end import to_its_end

if TYPE_CHECKING:
    from pyoperator.apiserver import APIServer
    from pyoperator.client import Client
    from pyoperator.clock import Randomness

_EVERY: Final = (60.0, 240.0)
_LASTS: Final = (10.0, 60.0)

NETWORKS: Final = {
    name: replace(LOCAL_NETWORK, **faults)  # type: ignore[arg-type]  # fields of Faults
    for name, faults in {
        "slow": {"latency": (0.05, 2.0), "answer_latency": (0.05, 2.0)},
        "refused": {"refused": 0.5},
        "reset": {"broken": 0.3, "cut": 0.05},
        "half-open": {"half_open": 0.1},
        "lost answers": {"lost_answer": 0.3},
        "500": {"errors": 0.3},
        "429": {"throttled": 0.5},
        "503": {"unavailable": 0.5},
        "proxy": {"bad_gateway": 0.2, "html": 0.2, "garbage": 0.2},
        "410": {"gone": 0.3, "gone_event": 0.5},
        "dead watch": {"silent": 0.5},
        "empty stream": {"empty": 0.5},
        "repeated events": {"repeated": 0.05, "recut": 0.5},
        "stale lists": {"stale": 0.8, "gone_event": 0.3, "lag": (5, 300)},
    }.items()
}


class Stage(Protocol):
    """What the weather needs of the day. ``hand_over`` and ``crash``: another process leads for a while and ends so."""

    server: APIServer
    client: Client

    def set_network(self, faults: Faults) -> None: ...

    def partition(self, cut_off: bool) -> None: ...

    async def hand_over(self) -> None: ...

    async def crash(self) -> None: ...


class VirtualWeather:
    """Everything once, in an order of its own, then again; ``injected`` counts."""

    def __init__(self, stage: Stage, random: Randomness) -> None:
        self.injected: Counter[str] = Counter()
        self._stage = stage
        self._random = random
        self._coming: list[str] = []
        self._others = {
            "partition": self._partition,
            "watches closed": self._close_watches,
            "compaction": self._compact,
            "lease stolen": self._steal_lease,
            "hand-over": stage.hand_over,
            "crash": stage.crash,
        }

    async def rage(self) -> None:
        """Go on until cancelled; a fault that has begun ends first, so that calm is left behind."""
        while True:
            await asyncio.sleep(self._random.uniform(*_EVERY))
            await to_its_end(self._one(self._next()))

    def _next(self) -> str:
        if not self._coming:
            # Who takes over looks at every object: that is worth its time less often than a broken network is.
            self._coming = [*NETWORKS, *NETWORKS, *self._others]
            self._random.shuffle(self._coming)
        return self._coming.pop()

    async def _one(self, name: str) -> None:
        self.injected[name] += 1
        if name in self._others:
            await self._others[name]()
            return
        self._stage.set_network(NETWORKS[name])
        if NETWORKS[name].gone_event or NETWORKS[name].silent or NETWORKS[name].empty:
            self._stage.server.store.close_watchers()  # these befall a watch that is opened
        await asyncio.sleep(self._random.uniform(*_LASTS))
        self._stage.set_network(LOCAL_NETWORK)

    async def _partition(self) -> None:
        self._stage.partition(True)
        await asyncio.sleep(self._random.uniform(20.0, 200.0))
        self._stage.partition(False)

    async def _close_watches(self) -> None:
        self._stage.server.store.close_watchers()

    async def _compact(self) -> None:
        # What happens meanwhile is missed by the watches, and then forgotten by the server.
        await self._partition()
        self._stage.server.store.compact()
        self._stage.server.store.close_watchers()

    async def _steal_lease(self) -> None:
        terms = {"holderIdentity": "somebody else", "leaseDurationSeconds": 5}
        try:
            await self._stage.client.patch(LEASE, LEASE_KEY, MergePatch({"spec": terms}))
        except NotFound:
            return  # not yet elected for the first time
        await asyncio.sleep(self._random.uniform(*_LASTS))
