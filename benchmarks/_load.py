"""The load driver: make the kind, fill it, change it, empty it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from benchmarks._workload import CHURN_BASE, NAMESPACE, Database, database, definition, first_status, name_of
from pyoperator.client import (
    AiohttpTransport,
    AlreadyExists,
    ApiError,
    Client,
    Configuration,
    MergePatch,
    ServerTimeout,
    TransportError,
    ignore_not_found,
)
from pyoperator.objects import ObjectKey, Unstructured

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

_WIDTH = 24
_PATIENCE = 1800.0


@asynccontextmanager
async def open_client(kubeconfig: Path | str | None = None) -> AsyncGenerator[Client]:
    """Yield a client for the API server of a kubeconfig, or of the environment."""
    transport = AiohttpTransport(Configuration.load(kubeconfig=kubeconfig), max_requests=_WIDTH + 8)
    try:
        yield Client(transport, field_manager="benchmark-driver")
    finally:
        await transport.aclose()


async def define(client: Client) -> None:
    """Create the CustomResourceDefinition if there is none and wait until it is served."""
    with suppress(AlreadyExists):
        await client.create(Unstructured(definition()))
    async with asyncio.timeout(30):
        while not await _is_served(client):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.1)


async def _is_served(client: Client) -> bool:
    try:
        await client.list(Database, namespace=NAMESPACE, limit=1)
    except ApiError:
        return False
    return True


async def seed(client: Client, n: int, *, first: int = 0, bare: bool = False) -> None:
    """Create the objects from number ``first`` to before ``n`` and give each a status; those that exist are left alone.

    ``bare``: without a status, which spares half of the writes and the server a second revision of each.
    """

    async def one(number: int) -> None:
        try:
            await client.create(_made(number))
        except AlreadyExists:
            return
        if bare:
            return
        await client.status.patch(
            Database.options.resource.gvk,
            ObjectKey(NAMESPACE, name_of(number)),
            MergePatch({"status": first_status()}),
        )

    await _spread(range(first, n), one)


async def bump(client: Client, n: int, tag: str) -> None:
    """Change ``spec.version`` of the first ``n`` objects, so that their generation moves."""

    async def one(number: int) -> None:
        key = ObjectKey(NAMESPACE, name_of(number))
        await client.patch(Database.options.resource.gvk, key, MergePatch({"spec": {"version": tag}}))

    await _spread(range(n), one)


async def churn(client: Client, n: int, rate: float) -> None:
    """Create ``n`` objects, ``rate`` a second, each stamped with its time of creation."""
    begun = time.perf_counter()
    for number in range(n):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        await client.create(_made(CHURN_BASE + number))


async def wipe(client: Client) -> None:
    """Delete all objects of the kind and wait until they are gone."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            # A server ends a request after a minute, and with it a deletion of very many: it is asked again.
            with ignore_not_found(), suppress(ServerTimeout, TransportError):
                await client.delete_all_of(Database, namespace=NAMESPACE, timeout=90.0)
            if not (await client.list(Database, namespace=NAMESPACE, limit=1)).items:
                return
            await asyncio.sleep(0.2)


def _made(number: int) -> Unstructured:
    return Unstructured(database(number))


async def _spread(wanted: range, one: Callable[[int], Awaitable[Any]]) -> None:
    numbers = iter(wanted)

    async def work() -> None:
        for number in numbers:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(_WIDTH):
            group.create_task(work())
