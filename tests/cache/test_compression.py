from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.cache import Cache, CacheOptions, _options, _packing
from pyoperator.cache._packing import SAMPLES, Packing
from pyoperator.cache._zstd import MAGIC, StandardLibrary, ZstandardPackage, implementation
from pyoperator.objects import ObjectKey
from tests.cache.fake_server import WIDGET, FakeServer, Recorder, contents, run_cache, settle, truth

if TYPE_CHECKING:
    from pyoperator.cache import Informer

NEEDED = pytest.mark.skipif(implementation() is None, reason="needs Python 3.14 or the extra `compression`")
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "box",
    "with",
    "a",
    "very",
    "big",
    "liquor",
    "jug",
]


def body_of(number: int) -> dict[str, Any]:
    words = [WORDS[number * step % len(WORDS)] for step in range(1, 40)]
    return {"text": " ".join(words), "number": number, "conditions": [{"type": "Ready", "status": "True"}] * 3}


def filled(count: int) -> FakeServer:
    server = FakeServer(chunk=4096)
    for number in range(count):
        server.put(f"w{number}", spec=body_of(number), metadata={"labels": {"odd": str(number % 2)}})
    return server


def packed(informer: Informer) -> int:
    return sum(entry.held.startswith(MAGIC) for entry in informer.store.entries())


def check(cache: Cache, server: FakeServer) -> None:
    """Every object reads as the server has it, and the sums are those of what is held."""
    informer = cache.find_informer(WIDGET)
    assert informer is not None
    assert contents(cache) == truth(server)
    for key, obj in server.objects.items():
        assert cache.get(WIDGET, key) == obj
    entries = list(informer.store.entries())
    statistics = informer.store.statistics()
    assert statistics.bytes == sum(len(entry.raw) for entry in entries)
    assert statistics.held_bytes == sum(len(entry.held) for entry in entries)
    status = informer.status()
    assert (status.bytes, status.held_bytes) == (statistics.bytes, statistics.held_bytes)


@NEEDED
def test_everything_is_held_compressed_and_read_as_it_was() -> None:
    server = filled(SAMPLES + 50)

    async def body(cache: Cache) -> None:
        cache.add_index(WIDGET, "spec.number", lambda found: [str(found["spec"]["number"])])
        informer = cache.get_informer(WIDGET)
        heard = Recorder()  # checks that each change's old state is the one told before
        informer.add_handler(heard)
        await cache.wait_for_cache_sync()
        await settle()
        assert packed(informer) == len(informer.store) == SAMPLES + 50
        check(cache, server)
        status = informer.status()
        assert status.held_bytes < status.bytes / 3
        # What comes later, goes, or changes.
        server.put("new", spec=body_of(7))
        server.put("w3", spec=body_of(8))
        server.put("w4", fresh=True, spec=body_of(9))
        server.delete("w5")
        await settle()
        assert packed(informer) == len(informer.store)
        check(cache, server)
        assert [found.name for found in cache.list(WIDGET, field_selector="spec.number=8")] == ["w3", "w8"][::-1]
        # A list after a gap compares with what is held.
        server.mute()
        server.delete("w6")
        server.put("w7", spec=body_of(10))
        server.compact()
        await settle(300)
        assert packed(informer) == len(informer.store)
        check(cache, server)
        assert heard.state.keys() == contents(cache).keys()
        assert repr(cache.get_entry(WIDGET, "a/w3")).endswith(f"{len(cache.get_entry(WIDGET, 'a/w3').raw)} bytes>")

    run_cache(server, body, default_options=CacheOptions(compression="zstd"))


@NEEDED
def test_few_objects_are_not_worth_a_dictionary_until_they_are_many() -> None:
    server = filled(SAMPLES - 1)

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, compression="zstd")
        await cache.wait_for_cache_sync()
        for _ in range(3):  # many states of few objects are few
            server.put("w0", spec=body_of(1))
        await settle()
        assert packed(informer) == 0
        check(cache, server)
        server.put("another", spec=body_of(1))
        await settle()
        assert packed(informer) == len(informer.store) == SAMPLES
        check(cache, server)

    run_cache(server, body)


@NEEDED
def test_objects_that_teach_nothing_stay_as_they_are() -> None:
    server = FakeServer()
    for number in range(SAMPLES + 1):
        server.put(f"{number}")

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, compression="zstd", transform=lambda data: data[:-1] + b" " * 3 + b"}")
        await cache.wait_for_cache_sync()
        await settle()
        assert packed(informer) == 0
        assert informer.synced

    class Refuses:
        def __init__(self, samples: list[bytes]) -> None:
            raise ValueError("too small")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_packing, "implementation", lambda: Refuses)
        logs = run_cache(server, body)
    assert [call["reason"] for call in logs if "no dictionary" in call["event"]] == ["ValueError('too small')"]


@NEEDED
def test_training_may_be_cancelled_and_goes_on_in_the_next_run() -> None:
    server = filled(SAMPLES + 5)

    async def body(cache: Cache) -> None:
        informer = cache.get_informer(WIDGET, compression="zstd")
        for steps in range(0, 60, 3):
            task = asyncio.create_task(informer.run())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await informer.wait_synced()
        await settle()
        assert packed(informer) == len(informer.store)
        check(cache, server)

    run_cache(server, body)


@pytest.mark.parametrize("chosen", [ZstandardPackage, StandardLibrary])
def test_frames_of_each_implementation_are_read_from_any_thread(
    chosen: type[ZstandardPackage | StandardLibrary],
) -> None:
    pytest.importorskip("zstandard" if chosen is ZstandardPackage else "compression.zstd")
    texts = [str(body_of(number)).encode() * (1 + number % 3) for number in range(SAMPLES)]
    zstd = chosen(texts)
    frames = [zstd.compress(text) for text in texts]
    assert all(frame.startswith(MAGIC) for frame in frames)
    assert [zstd.size(frame) for frame in frames] == [len(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: [zstd.decompress(frame) for frame in frames], range(8)):
            assert found == texts


@NEEDED
async def test_what_does_not_shrink_is_kept_as_json() -> None:
    packing = Packing(None)  # type: ignore[arg-type]  # logs nothing here
    for number in range(SAMPLES):
        text = str(body_of(number)).encode()
        assert packing.pack(ObjectKey("", str(number)), text) is text
    assert await packing.train()
    assert await packing.train()
    assert packing.pack(ObjectKey("", "x"), b"{}") == b"{}"
    assert packing.unpack(b"{}") == b"{}"
    assert packing.size(b"{}") == 2
    held = packing.pack(ObjectKey("", "x"), text)
    assert (packing.unpack(held), packing.size(held), packing.is_packed(held)) == (text, len(text), True)


def test_missing_compression_is_told_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="give 'zstd' or None"):
        CacheOptions(compression="gzip")  # type: ignore[arg-type]  # what a type checker refuses
    monkeypatch.setattr(_options, "implementation", lambda: None)
    with pytest.raises(ImportError, match=r"pip install zstandard"):
        CacheOptions(compression="zstd")
    assert CacheOptions().compression is None
