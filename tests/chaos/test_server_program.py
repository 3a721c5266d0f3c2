"""The embedded server's faults, as its replicas meet them."""

from __future__ import annotations

from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from chaos._server_program import FaultyFace, HTTPFaults

REPLICA = {"Authorization": "Bearer head.body.signature"}


class Carried:
    """A handler that counts what it carries out."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.count += 1
        return web.Response(status=200)


async def status(faults: HTTPFaults, path: str = "/api", headers: dict[str, str] = REPLICA) -> tuple[int, int]:
    carried = Carried()
    face = FaultyFace(Random(1))
    face.faults = faults
    answer = await face.wrap(carried)(make_mocked_request("GET", path, headers=headers))
    return answer.status, carried.count


@pytest.mark.parametrize(
    ("faults", "codes", "carried"),
    [
        (HTTPFaults(), {200}, 1),
        (HTTPFaults(errors=1.0), {500, 503, 504}, 0),
        (HTTPFaults(throttled=1.0), {429}, 0),
        (HTTPFaults(late_errors=1.0), {500, 503, 504}, 1),
    ],
)
async def test_replicas_meet_what_is_set(faults: HTTPFaults, codes: set[int], carried: int) -> None:
    code, count = await status(faults)
    assert code in codes
    assert count == carried


async def test_the_harness_is_spared() -> None:
    assert await status(HTTPFaults(errors=1.0), headers={"Authorization": "Bearer plain"}) == (200, 1)


async def test_a_watch_is_not_carried_out_to_fail_afterwards() -> None:
    assert await status(HTTPFaults(late_errors=1.0), "/api?watch=true") == (200, 1)
