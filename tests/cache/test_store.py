from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyoperator.cache import Entry, LabelSelector, NoIndex, Store, owner_uids
from pyoperator.cache._store import is_older
from pyoperator.objects import Metadata, ObjectKey, OwnerReference
from tests.cache.fake_server import scheme

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEME = scheme()


def entry(name: str, version: int, namespace: str = "a", uid: str = "", **labels: str) -> Entry:
    owners = (OwnerReference("v1", "X", "owner", f"owner-of-{name}"),)
    metadata = Metadata(
        name=name,
        namespace=namespace,
        uid=uid or name,
        resource_version=str(version),
        labels=labels,
        owner_references=owners,
    )
    return Entry(metadata, b"x" * version, SCHEME)


def told(store: Store, new: Entry) -> list[str]:
    return [event.type for event in store.put(new)]


def test_what_each_change_was() -> None:
    store = Store()
    assert told(store, entry("x", 5)) == ["ADDED"]
    assert told(store, entry("x", 5)) == []
    assert told(store, entry("x", 4)) == []
    assert told(store, entry("x", 10)) == ["MODIFIED"]
    assert store.delete(ObjectKey("a", "x"), entry("x", 9)) == []
    (gone,) = store.delete(ObjectKey("a", "x"), entry("x", 11))
    assert gone.type == "DELETED"
    assert not gone.final_state_unknown
    assert gone.entry.metadata.resource_version == "11"
    assert store.delete(ObjectKey("a", "x")) == []
    assert len(store) == 0


def test_another_uid_is_another_object() -> None:
    store = Store()
    store.put(entry("x", 5, uid="one"))
    assert told(store, entry("x", 4, uid="zero")) == []
    assert told(store, entry("x", 6, uid="two")) == ["DELETED", "ADDED"]
    found = store.get(ObjectKey("a", "x"))
    assert found is not None
    assert found.metadata.uid == "two"


def test_overwrite_goes_back_with_the_server() -> None:
    store = Store()
    store.put(entry("x", 50))
    assert [event.type for event in store.overwrite(entry("x", 5))] == ["MODIFIED"]
    assert [event.type for event in store.overwrite(entry("x", 5))] == []
    assert [event.type for event in store.overwrite(entry("y", 5))] == ["ADDED"]
    assert [event.type for event in store.overwrite(entry("x", 4, uid="other"))] == ["DELETED", "ADDED"]
    assert store.statistics().bytes == 9


def test_counts_and_namespaces() -> None:
    store = Store()
    for name, version, namespace in (("x", 1, "a"), ("y", 2, "b"), ("z", 3, "b")):
        store.put(entry(name, version, namespace))
    assert (store.statistics().objects, store.statistics().bytes) == (3, 6)
    assert [found.key.name for found in store.entries("b")] == ["y", "z"]
    assert [found.key.name for found in store.entries()] == ["x", "y", "z"]
    store.put(entry("z", 10, "b"))
    store.delete(ObjectKey("b", "y"))
    assert (store.statistics().objects, store.statistics().bytes) == (2, 11)
    assert list(store.entries("c")) == []
    assert "2 objects" in repr(store)


def test_indexes_follow_every_change() -> None:
    store = Store()
    store.put(entry("x", 1, color="red"))
    store.add_index("owner", owner_uids)

    def colors(found: Entry) -> Iterable[str]:
        return found.metadata.labels.get("color", "").split(".")

    store.add_index("color", colors)
    store.add_index("color", colors)
    store.put(entry("y", 2, color="red.blue"))

    def by(color: str) -> list[str]:
        return [found.key.name for found in store.select(indexed={"color": color})]

    assert by("red") == ["x", "y"]
    assert by("blue") == ["y"]
    store.put(entry("x", 3, color="blue"))
    assert by("red") == ["y"]
    assert by("blue") == ["y", "x"]
    assert [e.key.name for e in store.select(indexed={"color": "blue", "owner": "owner-of-x"})] == ["x"]
    assert store.select(indexed={"color": "red", "owner": "owner-of-x"}) == []
    assert store.select(namespace="b", indexed={"color": "blue"}) == []
    assert len(store.select(selector=LabelSelector.parse("color=blue"))) == 1
    store.delete(ObjectKey("a", "y"))
    assert by("red") == []
    with pytest.raises(NoIndex, match=r"known: color, owner.*cache.add_index"):
        store.select(indexed={"size": "1"})
    with pytest.raises(ValueError, match="another name"):
        store.add_index("color", owner_uids)


def test_a_failing_index_function_leaves_its_object_out() -> None:
    errors: list[str] = []
    store = Store(lambda name, key, error: errors.append(f"{name} {key} {error}"))

    def fussy(found: Entry) -> list[str]:
        if found.metadata.name == "bad":
            raise ValueError("no")
        return ["all"]

    store.add_index("fussy", fussy)
    store.put(entry("bad", 1))
    store.put(entry("good", 2))
    assert [found.key.name for found in store.select(indexed={"fussy": "all"})] == ["good"]
    assert errors == ["fussy a/bad no"]


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("abc", "abd", False),
        ("", "5", False),
        ("5", "x", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older
