from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.cache import CacheOptions
from pyoperator.cache._intake import Intake
from pyoperator.cache._label_sets import LabelSets
from pyoperator.objects import Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyoperator.cache import Entry

FEW = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))


def document(name: str, **metadata: Mapping[str, str]) -> bytes:
    return msgspec.json.encode({"metadata": {"name": name, **metadata}})


def read(options: CacheOptions, *documents: bytes) -> list[Entry]:
    intake = Intake(Scheme(), options, lambda _key: None)
    return [intake.read(data) for data in documents]


def keeping(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("transform", [None, keeping], ids=["as they are", "transformed"])
def test_objects_with_equal_labels_share_one_mapping(transform: Callable[[bytes], bytes] | None) -> None:
    labels = {"app": "db", "tier": "gold"}
    options = CacheOptions(transform=transform)
    first, second, third = (
        found.metadata for found in read(options, *(document(name, labels=labels) for name in "abc"))
    )
    assert first.labels == second.labels == third.labels == labels
    assert second.labels is third.labels


@pytest.mark.parametrize("transform", [None, keeping], ids=["as they are", "transformed"])
def test_labels_that_only_one_object_has_are_kept_as_they_came(transform: Callable[[bytes], bytes] | None) -> None:
    (found,) = read(CacheOptions(transform=transform), document("a", labels={"app": "db"}))
    assert type(found.metadata.labels) is dict  # a mapping around it would only cost


def test_what_is_shared_cannot_be_changed_and_copies_can() -> None:
    found = read(CacheOptions(), *(document(name, labels={"app": "db"}) for name in "abc"))
    with pytest.raises(TypeError):
        found[1].metadata.labels["app"] = "changed"  # type: ignore[index]  # what a type checker refuses
    copy = found[1].copied()
    copy.metadata.labels["app"] = "changed"  # type: ignore[index]
    copy.metadata.annotations["note"] = "changed"  # type: ignore[index]
    assert [entry.metadata.labels for entry in found] == [{"app": "db"}] * 3
    assert [entry.metadata.annotations for entry in found] == [{}] * 3


def test_objects_without_labels_and_annotations_share_an_empty_mapping() -> None:
    first, second = (found.metadata for found in read(CacheOptions(), document("a"), document("b", labels={})))
    assert first.labels == first.annotations == {}
    assert first.labels is second.labels
    assert first.annotations is second.annotations
    with pytest.raises(TypeError):
        first.labels["app"] = "changed"  # type: ignore[index]


def test_sets_are_not_remembered_for_ever() -> None:
    sets = LabelSets()
    seen = [sets.share({"app": "db"}) for _ in range(3)]
    assert seen[1] is seen[2]
    for number in range(256):
        sets.share({"number": str(number)})
    again = {"app": "db"}
    assert sets.share(again) is again


@given(st.lists(FEW, max_size=20))
def test_what_is_shared_is_equal_to_what_came(sets_of_labels: list[dict[str, str]]) -> None:
    sets = LabelSets()
    for labels in sets_of_labels:
        assert sets.share(dict(labels)) == labels
