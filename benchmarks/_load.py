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
    ignore_not_found,
)
from pyoperator.objects import ObjectKey, Unstructured

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

_WIDTH = 24
_PATIENCE = 300.0


@asynccontextmanager
async def open_client() -> AsyncGenerator[Client]:
    """Yield a client for the API server of the environment."""
    transport = AiohttpTransport(Configuration.load(), max_requests=_WIDTH + 8)
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


async def seed(client: Client, n: int) -> None:
    """Create the first ``n`` objects and give each a status; those that exist are left alone."""

    async def one(number: int) -> None:
        try:
            await client.create(_made(number))
        except AlreadyExists:
            return
        await client.status.patch(
            Database.options.resource.gvk,
            ObjectKey(NAMESPACE, name_of(number)),
            MergePatch({"status": first_status()}),
        )

    await _spread(n, one)


async def bump(client: Client, n: int, tag: str) -> None:
    """Change ``spec.version`` of the first ``n`` objects, so that their generation moves."""

    async def one(number: int) -> None:
        key = ObjectKey(NAMESPACE, name_of(number))
        await client.patch(Database.options.resource.gvk, key, MergePatch({"spec": {"version": tag}}))

    await _spread(n, one)


async def churn(client: Client, n: int, rate: float) -> None:
    """Create ``n`` objects, ``rate`` a second, each stamped with its time of creation."""
    begun = time.perf_counter()
    for number in range(n):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        await client.create(_made(CHURN_BASE + number))


async def wipe(client: Client) -> None:
    """Delete all objects of the kind and wait until they are gone."""
    with ignore_not_found():
        await client.delete_all_of(Database, namespace=NAMESPACE, timeout=_PATIENCE)
    async with asyncio.timeout(_PATIENCE):
        while (await client.list(Database, namespace=NAMESPACE, limit=1)).items:  # noqa: ASYNC110 - polled on purpose
            await asyncio.sleep(0.2)


def _made(number: int) -> Unstructured:
    return Unstructured(database(number))


async def _spread(n: int, one: Callable[[int], Awaitable[Any]]) -> None:
    numbers = iter(range(n))

    async def work() -> None:
        for number in numbers:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(_WIDTH):
            group.create_task(work())
