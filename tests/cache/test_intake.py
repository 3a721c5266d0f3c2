from __future__ import annotations

import msgspec
import pytest

from pyoperator.cache import CacheOptions, SelectorError, Store
from pyoperator.cache._intake import Intake, Unreadable, only_metadata, strip_managed_fields
from pyoperator.objects import ObjectKey
from tests.cache.fake_server import WIDGET, scheme

OBJECT = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "x", "namespace": "a", "resourceVersion": "1", "managedFields": [{"manager": "kubectl"}]},
    "spec": {"size": 1.5, "text": 'quoted " managedFields'},
}


def intake(options: CacheOptions) -> Intake:
    return Intake(scheme(), options, Store().get)


def test_managed_fields_are_stripped_and_nothing_else_changes() -> None:
    stripped = msgspec.json.decode(strip_managed_fields(msgspec.json.encode(OBJECT)))
    metadata = {name: value for name, value in OBJECT["metadata"].items() if name != "managedFields"}  # type: ignore[attr-defined]
    assert stripped == {**OBJECT, "metadata": metadata}
    assert list(stripped) == list(OBJECT)


def test_bytes_without_managed_fields_stay_the_same_object() -> None:
    data = b'{"metadata":{"name":"x"},"spec":{"managedFields":1}}'
    assert strip_managed_fields(data) is data
    data = b'{"metadata":{"name":"x"}}'
    assert strip_managed_fields(data) is data


def test_only_metadata_is_left_and_the_kind_is_the_objects_own() -> None:
    assert msgspec.json.decode(only_metadata(msgspec.json.encode(OBJECT))) == {"metadata": OBJECT["metadata"]}
    entry = intake(CacheOptions(metadata_only=True)).read(msgspec.json.encode(OBJECT))
    assert b"size" not in entry.raw
    assert b"managedFields" not in entry.raw
    assert entry.decode(WIDGET).gvk == WIDGET


def test_a_known_version_is_not_copied_again() -> None:
    store = Store()
    reader = Intake(scheme(), CacheOptions(), store.get)
    entry = reader.read(msgspec.json.encode(OBJECT))
    store.put(entry)
    assert reader.read(msgspec.json.encode(OBJECT)) is entry


def test_a_transform_sees_bytes_and_gives_bytes() -> None:
    reader = intake(CacheOptions(transform=lambda data: data.replace(b'"size":1.5,', b"")))
    entry = reader.read(msgspec.json.encode(OBJECT))
    assert "size" not in entry.decode(WIDGET)["spec"]
    assert entry.key == ObjectKey("a", "x")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"metadata":{}}', b'{"metadata":{"name":1}}', b'{"metadata":{"name":"\xff"}}']
)
def test_what_cannot_be_read_is_refused_alone(data: bytes) -> None:
    with pytest.raises(Unreadable):
        intake(CacheOptions()).read(data)


def test_a_failing_transform_is_the_objects_own_failure() -> None:
    def fail(data: bytes) -> bytes:
        raise KeyError("oops")

    with pytest.raises(Unreadable, match=r"a/x.*oops"):
        intake(CacheOptions(transform=fail)).read(msgspec.json.encode(OBJECT))


def test_options_are_checked() -> None:
    with pytest.raises(SelectorError):
        CacheOptions(label_selector="a in b")
    with pytest.raises(ValueError, match="idle_timeout"):
        CacheOptions(idle_timeout=0)
    with pytest.raises(ValueError, match="resync_period"):
        CacheOptions(resync_period=-1)
    with pytest.raises(ValueError, match="page_size"):
        CacheOptions(page_size=-1)
    with pytest.raises(ValueError, match="ALL_NAMESPACES"):
        CacheOptions(namespaces=("", "a"))
    with pytest.raises(ValueError, match="twice"):
        CacheOptions(namespaces=("a", "a"))
