"""Collections read object by object."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pyoperator.client import Client, DryRunClient, Expired, NamespacedClient, Response, RetryPolicy, TransportError
from pyoperator.clock import Randomness
from pyoperator.objects import CustomResource, GroupVersionKind, Model, ObjectKey
from tests.client.fake_transport import failure
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from pyoperator.client import Query, StreamResponse

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


class WidgetSpec(Model):
    size: int = 1


class Widget(CustomResource, group="example.com", version="v1"):
    spec: WidgetSpec


def config_map(number: int, size: int = 10) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"c{number:06d}", "namespace": "shop", "uid": f"u{number}", "resourceVersion": "5"},
        "data": {"text": "x" * size},
    }


def page(items: list[Any], continue_: str = "") -> bytes:
    return msgspec.json.encode(
        {
            "kind": "List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "9", "continue": continue_},
            "items": items,
        }
    )


@dataclass
class Pieces:
    """A transport whose streams give canned answers in pieces; None in one of them breaks it, a number waits so long."""

    in_process = True

    answers: list[tuple[int, list[bytes | float | None]]]
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    given: int = 0
    open: int = 0

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
        raise AssertionError("a stream is not a request")

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
        self.asked.append(dict(query))
        self.paths.append(path)
        self.open += 1
        status, pieces = self.answers.pop(0)
        try:
            yield _Answer(self, status, pieces)
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        self.answers.clear()


@dataclass
class _Answer:
    transport: Pieces
    status: int
    pieces: list[bytes | float | None]
    headers: Mapping[str, str] = field(default_factory=dict)

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)
            if piece is None:
                raise TransportError("the stream broke")
            if isinstance(piece, float):
                await asyncio.sleep(piece)
                continue
            self.transport.given += len(piece)
            yield piece


def cut(data: bytes, size: int) -> list[bytes | float | None]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def client_of(*answers: tuple[int, list[bytes | float | None]], **options: Any) -> tuple[Client, Pieces]:
    transport = Pieces(list(answers))
    return Client(transport, random=Randomness(1), **options), transport


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_pages_become_one_row_of_objects(size: int) -> None:
    first = page([config_map(0), config_map(1)], "more")
    client, transport = client_of((200, cut(first, size)), (200, cut(page([config_map(2)]), size)))
    stream = client.stream(CONFIG_MAP, namespace="shop", label_selector={"a": "b"}, page_size=2)
    assert [obj.name async for obj in stream] == ["c000000", "c000001", "c000002"]
    assert stream.resource_version == "9"
    assert transport.asked == [
        {"labelSelector": "a=b", "limit": "2"},
        {"labelSelector": "a=b", "limit": "2", "continue": "more"},
    ]
    assert transport.paths[0] == "/api/v1/namespaces/shop/configmaps"
    assert transport.open == 0


async def test_an_empty_collection() -> None:
    client, _ = client_of((200, [page([])]))
    assert [obj async for obj in client.stream(CONFIG_MAP)] == []


async def test_what_does_not_fit_is_left_out_and_named() -> None:
    good = {**config_map(1), "apiVersion": "example.com/v1", "kind": "Widget", "spec": {"size": 4}}
    client, _ = client_of((200, [page([{**good, "spec": {"size": "large"}}, good])]))
    stream = client.stream(Widget)
    assert [obj.spec.size async for obj in stream] == [4]
    assert [bad.key for bad in stream.undecodable] == [ObjectKey("shop", "c000001")]


async def test_a_slow_reader_of_a_page_holds_no_connection() -> None:
    client, transport = client_of((200, [page([config_map(n) for n in range(5)])]))
    async with client.stream(CONFIG_MAP, page_size=5) as objects:
        await anext(objects)
        assert transport.open == 0


async def test_a_server_without_pages_is_read_at_the_readers_pace() -> None:
    """Fails if the whole answer were read before the first object is given."""
    data = page([config_map(number, 1000) for number in range(5000)])
    client, transport = client_of((200, cut(data, 65536)))
    seen = 0
    most = 0
    async for _ in client.stream(CONFIG_MAP, page_size=100):
        most = max(most, transport.given - seen * len(data) // 5000)
        seen += 1
    assert seen == 5000
    assert most < 1_000_000 < len(data) // 5


async def test_leaving_early_closes_the_connection() -> None:
    data = page([config_map(number, 1000) for number in range(2000)])
    client, transport = client_of((200, cut(data, 65536)))
    async with client.stream(CONFIG_MAP, page_size=10) as objects:
        await anext(objects)
        assert transport.open == 1
    assert transport.open == 0
    assert transport.given < len(data)


def test_a_page_that_breaks_is_asked_for_again() -> None:
    async def main() -> None:
        data = page([config_map(number) for number in range(4)])
        client, transport = client_of(
            (500, [failure(500).body]), (200, [data[:100], None]), (200, [data[:150]]), (200, cut(data, 50))
        )
        assert [obj.name async for obj in client.stream(CONFIG_MAP)] == [f"c{number:06d}" for number in range(4)]
        assert len(transport.asked) == 4

    run_virtual(main)


def test_each_page_has_a_timeout() -> None:
    async def main() -> None:
        data = page([config_map(0)])
        client, transport = client_of((200, [data[:50], 100.0, data[50:]]), retry_policy=RetryPolicy(retries=0))
        with pytest.raises(TransportError, match="did not come within 5 s"):
            await anext(client.stream(CONFIG_MAP, timeout=5))
        assert transport.open == 0

    run_virtual(main)


async def test_a_large_page_that_breaks_is_an_error_not_an_end() -> None:
    data = page([config_map(number, 1000) for number in range(1000)])
    for ending in ([None], []):
        client, transport = client_of((200, [*cut(data[:-3000], 65536), *ending]))
        with pytest.raises(TransportError):
            _ = [obj async for obj in client.stream(CONFIG_MAP, page_size=10)]
        assert transport.open == 0


async def test_a_continue_token_that_is_too_old_is_told() -> None:
    client, _ = client_of((200, [page([config_map(0)], "more")]), (410, [failure(410, "Expired", "too old").body]))
    objects = client.stream(CONFIG_MAP, page_size=1)
    await anext(objects)
    with pytest.raises(Expired):
        await anext(objects)


async def test_wrappers_pass_it_on() -> None:
    inner, transport = client_of((200, [page([config_map(0)])]))
    client = DryRunClient(NamespacedClient(inner, "shop"))
    assert [obj.name async for obj in client.stream(CONFIG_MAP)] == ["c000000"]
    assert transport.paths == ["/api/v1/namespaces/shop/configmaps"]
