from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.client import LineSplitter, ListSplitter, MalformedStream

texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ['"},{"metadata":{', '\\"', '"items":[', "]}"]
)
objects = st.dictionaries(
    texts, st.none() | st.integers() | texts | st.lists(st.dictionaries(texts, texts)), max_size=4
)


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    marks = sorted({min(position, len(data)) for position in positions} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 400)))
def test_any_chunking_gives_the_same_lines(lines: list[bytes], positions: list[int]) -> None:
    clean = [line.replace(b"\n", b"") for line in lines]
    data = b"".join(line + b"\n" for line in clean) + b"tail"
    splitter = LineSplitter()
    found = [line for chunk in cut(data, positions) for line in splitter.feed(chunk)]
    assert found == [line for line in clean if line.strip()]
    assert splitter.pending == 4


def test_a_huge_line_arrives_in_small_chunks() -> None:
    # Joining at each chunk would copy 64 GiB here, and never come back.
    splitter = LineSplitter()
    chunk = b"x" * 32_768
    for _ in range(2047):
        assert splitter.feed(chunk) == []
    (line,) = splitter.feed(b"\n")
    assert len(line) == 2047 * 32_768
    assert splitter.pending == 0


def test_a_line_beyond_the_limit_is_refused() -> None:
    splitter = LineSplitter(limit=10)
    splitter.feed(b"12345")
    with pytest.raises(MalformedStream, match="exceeds 10 bytes"):
        splitter.feed(b"678901\n")


def split(data: bytes, positions: list[int], batch: int) -> tuple[list[Any], ListSplitter]:
    splitter = ListSplitter(batch)
    found: list[Any] = []
    for chunk in cut(data, positions):
        found += [msgspec.json.decode(item) for item in splitter.feed(chunk)]
    found += [msgspec.json.decode(item) for item in splitter.finish()]
    return found, splitter


@given(
    st.lists(objects, max_size=12),
    st.lists(st.integers(0, 3000), max_size=20),
    st.integers(1, 300),
    st.booleans(),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_any_chunking_gives_the_same_items(
    specs: list[dict[str, Any]], positions: list[int], batch: int, metadata_last: bool, indent: int | None, typed: bool
) -> None:
    head = {"apiVersion": "v1", "kind": "X"} if typed else {}
    items = [{**head, "metadata": {"name": str(number)}, "spec": spec} for number, spec in enumerate(specs)]
    metadata = {"metadata": {"resourceVersion": "7", "continue": "abc"}}
    envelope = {
        "kind": "XList",
        **({} if metadata_last else metadata),
        "items": items,
        **(metadata if metadata_last else {}),
    }
    separators = (",", ":") if indent is None else None
    data = json.dumps(envelope, indent=indent, separators=separators, ensure_ascii=False).encode()
    found, splitter = split(data, positions, batch)
    assert found == items
    assert (splitter.resource_version, splitter.continue_) == ("7", "abc")


def test_a_list_is_split_while_it_streams() -> None:
    items = [
        {"metadata": {"name": str(n)}, "spec": {"pad": "x" * 500, "nested": [{"metadata": {}}, {"metadata": {}}]}}
        for n in range(1000)
    ]
    data = msgspec.json.encode({"metadata": {"resourceVersion": "1"}, "items": items})
    splitter = ListSplitter(batch=16_384)
    counts = [len(splitter.feed(data[start : start + 4096])) for start in range(0, len(data), 4096)]
    rest = len(splitter.finish())
    assert sum(counts) + rest == 1000
    assert rest < 100
    assert max(counts) < 100


@pytest.mark.parametrize("items", ["null", "[]"])
def test_a_list_without_items(items: str) -> None:
    found, _ = split(b'{"metadata":{"resourceVersion":"1"},"items":%s}' % items.encode(), [5], 1)
    assert found == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>Bad gateway</html>",
        b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}}',
        b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}},]}',
        b'{"kind":"Status"}',
        b'{"metadata":[],"items":[{}]}',
        b"[1]",
        b'{"metadata":{"resourceVersion":"\xff"},"items":[]}',
    ],
)
def test_what_is_no_complete_list_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedStream, match="list"):
        split(data, [3, 20], 1)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes, positions: list[int]) -> None:
    with pytest.raises(MalformedStream):
        split(data, positions, 1)


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 400)))
def test_blocks_hold_the_same_lines(lines: list[bytes], positions: list[int]) -> None:
    data = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines) + b"tail"
    splitter = LineSplitter()
    blocks = [splitter.feed_block(chunk) for chunk in cut(data, positions)]
    found = [line for block in blocks for line in block.split(b"\n") if line]
    assert found == [line for line in data.split(b"\n")[:-1] if line]
    assert splitter.pending == 4
