"""A request that failed is freed at once, with all that the frames on its way hold: nothing waits for the collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import (
    AiohttpTransport,
    ApiError,
    Configuration,
    Response,
    RetryPolicy,
    TransportError,
)
from pyoperator.client._loose_frames import drop_locals
from pyoperator.clock import Randomness
from pyoperator.testing.lab._ports import ReservedPort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Body:
    """Stands for what a reconcile holds in a variable while its request fails."""


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def freed(request: Callable[[], Awaitable[Response]], kind: type[Exception]) -> bool:
    """Tell whether what the caller of a failing request held is gone, a turn of the loop after its error."""

    async def reconcile(seen: list[weakref.ref[Body]]) -> None:
        body = Body()
        seen.append(weakref.ref(body))
        await request()

    seen: list[weakref.ref[Body]] = []
    try:
        await reconcile(seen)
    except kind:
        pass
    else:
        pytest.fail("the request did not fail")
    await asyncio.sleep(0)  # the loop's running handle holds the future that failed, and since Python 3.13 its callers
    return seen[0]() is None


async def test_a_refused_connection_leaves_nothing_behind() -> None:
    port = ReservedPort()
    transport = AiohttpTransport(Configuration(server=f"http://{port.address}"))
    try:
        assert await freed(lambda: transport.request("GET", "/version"), TransportError)
        assert left_to_the_collector() == []
    finally:
        await transport.aclose()
        port.close()


def left_to_the_collector() -> list[BaseException]:
    """Return the errors that only the collector would have freed."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [found for found in gc.garbage if isinstance(found, BaseException)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize("repeatable", [False, True])
async def test_an_error_that_retries_end_with_leaves_nothing_behind(repeatable: bool) -> None:
    async def attempt(_left: float) -> Response:
        return Response(503, b"", {})

    policy = RetryPolicy(retries=1, first_delay=0.0, longest_delay=0.0)

    def send() -> Awaitable[Response]:
        return policy.run(attempt, method="GET", path="/x", timeout=60.0, repeatable=repeatable, random=Randomness(1))

    assert await freed(send, ApiError)
    assert left_to_the_collector() == []


def test_variables_of_all_that_led_to_an_error_are_dropped() -> None:
    seen: list[weakref.ref[Body]] = []

    def lowest() -> None:
        body = Body()
        seen.append(weakref.ref(body))
        raise OSError("lowest")

    def group() -> None:
        body = Body()
        seen.append(weakref.ref(body))
        try:
            lowest()
        except OSError as error:
            raise ExceptionGroup("several", [error]) from None

    def top() -> None:
        try:
            group()
        except ExceptionGroup as error:
            raise ConnectionError("top") from error

    def cycle() -> ConnectionError:
        try:
            top()
        except ConnectionError as error:
            return error
        raise AssertionError

    error = cycle()
    error.__context__ = error  # no chain is followed twice
    assert len(seen) == 2
    assert all(ref() is not None for ref in seen)
    drop_locals(error)
    assert all(ref() is None for ref in seen)
    assert error.__traceback__ is not None
