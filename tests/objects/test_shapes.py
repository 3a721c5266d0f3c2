"""Owners, finalizers and metadata in every shape that an object can have, and what helpers must not touch."""

from __future__ import annotations

import copy
import datetime
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic import Field

from pyoperator.objects import (
    AlreadyOwnedError,
    Condition,
    CustomResource,
    GroupVersionKind,
    Metadata,
    Model,
    ObjectKey,
    ObjectMeta,
    Unstructured,
    add_finalizer,
    controller_of,
    has_finalizer,
    is_owned_by,
    metadata_of,
    remove_finalizer,
    set_condition,
    set_controller_reference,
    set_owner_reference,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


class ThingStatus(Model):
    conditions: list[Condition] = Field(default_factory=list)


class Thing(CustomResource, group="example.com", version="v1"):
    status: ThingStatus | None = None


@dataclass
class Owner:
    apiVersion: str  # noqa: N815  # as on the wire
    kind: str
    name: str
    uid: str
    controller: bool = False
    blockOwnerDeletion: bool = False  # noqa: N815


@dataclass
class Meta:
    name: str = ""
    namespace: str = ""
    uid: str = ""
    finalizers: list[str] = field(default_factory=list)
    ownerReferences: list[Owner] | None = None  # noqa: N815


@dataclass
class Plain:
    apiVersion: str = "v1"  # noqa: N815
    kind: str = "ConfigMap"
    metadata: Meta = field(default_factory=Meta)


class StructOwner(msgspec.Struct):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class StructMeta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    finalizers: list[str] | None = None
    owner_references: list[StructOwner] | None = None


class StructThing(msgspec.Struct):
    api_version: str = "v1"
    kind: str = "ConfigMap"
    metadata: StructMeta | None = None


def _unstructured(**metadata: Any) -> Any:
    return Unstructured({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def _plain_dict(**metadata: Any) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _custom(**metadata: Any) -> Any:
    return Thing(metadata=ObjectMeta(**metadata))


def _generated(**metadata: Any) -> Any:
    from kubernetes_asyncio.client import V1ConfigMap, V1ObjectMeta

    return V1ConfigMap(api_version="v1", kind="ConfigMap", metadata=V1ObjectMeta(**metadata))


def _dataclass(**metadata: Any) -> Any:
    return Plain(metadata=Meta(**metadata))


def _struct(**metadata: Any) -> Any:
    return StructThing(metadata=StructMeta(**metadata))


SHAPES = [_unstructured, _plain_dict, _custom, _generated, _dataclass, _struct]
shapes = pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
owners = pytest.mark.parametrize("make_owner", SHAPES, ids=lambda make: f"owner{make.__name__}")


@shapes
def test_metadata_is_read(make: Callable[..., Any]) -> None:
    found = metadata_of(make(name="a", namespace="n", uid="1"))
    assert found == Metadata(name="a", namespace="n", uid="1")
    assert found.key == ObjectKey("n", "a")


@shapes
def test_finalizers_come_and_go(make: Callable[..., Any]) -> None:
    obj = make(name="a", namespace="n")
    assert not has_finalizer(obj, "x/y")
    assert not remove_finalizer(obj, "x/y")
    assert add_finalizer(obj, "x/y")
    assert not add_finalizer(obj, "x/y")
    assert has_finalizer(obj, "x/y")
    assert metadata_of(obj).finalizers == ("x/y",)
    assert remove_finalizer(obj, "x/y")
    assert metadata_of(obj).finalizers == ()


@owners
@shapes
def test_an_owner_of_any_shape_controls_an_object_of_any(
    make: Callable[..., Any], make_owner: Callable[..., Any]
) -> None:
    owner, other = make_owner(name="o", namespace="n", uid="1"), make_owner(name="p", namespace="n", uid="2")
    obj = make(name="a", namespace="n")
    set_owner_reference(other, obj)
    set_controller_reference(owner, obj)
    set_controller_reference(owner, obj)
    references = metadata_of(obj).owner_references
    assert [(found.name, found.uid, found.controller, found.block_owner_deletion) for found in references] == [
        ("p", "2", False, False),
        ("o", "1", True, True),
    ]
    assert controller_of(obj) == references[1]
    assert is_owned_by(obj, owner)
    with pytest.raises(AlreadyOwnedError, match="'o'"):
        set_controller_reference(other, obj)


@shapes
def test_what_was_copied_before_stays_as_it_was(make: Callable[..., Any]) -> None:
    """A shallow copy shares its metadata: to edit that in place would change the "before" of a patch, which then is none."""
    before = make(name="a", namespace="n")
    after = before.model_copy() if isinstance(before, Thing) else copy.copy(before)
    add_finalizer(after, "x/y")
    set_controller_reference(make(name="o", namespace="n", uid="1"), after)
    assert metadata_of(before) == Metadata(name="a", namespace="n")
    assert has_finalizer(after, "x/y")
    assert controller_of(after) is not None


def test_other_owners_stay_as_they_are_and_where_they_are() -> None:
    """What a helper spells differently would be sent at every turn, and taken back by whoever wrote it."""
    theirs = {"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "9", "controller": False, "future": "field"}
    last = {"apiVersion": "v1", "kind": "Node", "name": "y", "uid": "8"}
    obj = _unstructured(name="a", namespace="n")
    owner = _custom(name="o", namespace="n", uid="1")
    obj.metadata["ownerReferences"] = [theirs]
    set_controller_reference(owner, obj)
    obj.metadata["ownerReferences"].append(last)
    before = copy.deepcopy(obj)
    set_controller_reference(owner, obj)
    assert obj == before
    assert obj.metadata["ownerReferences"][0] == theirs
    set_owner_reference(owner, obj)
    assert [entry["uid"] for entry in obj.metadata["ownerReferences"]] == ["9", "1", "8"]
    assert "controller" not in obj.metadata["ownerReferences"][1]


def test_what_a_generated_model_gets_is_of_its_own_library() -> None:
    from kubernetes_asyncio.client import V1ConfigMap, V1OwnerReference

    obj = V1ConfigMap()
    set_controller_reference(_custom(name="o", uid="1"), obj)
    (reference,) = obj.metadata.owner_references
    assert isinstance(reference, V1OwnerReference)
    assert reference.api_version == "example.com/v1"
    obj.metadata.creation_timestamp = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert metadata_of(obj).creation_timestamp == "2026-01-01T00:00:00Z"


def test_an_owner_that_does_not_say_its_kind_is_refused() -> None:
    from kubernetes_asyncio.client import V1ConfigMap, V1ObjectMeta

    with pytest.raises(
        ValueError, match=r"V1ConfigMap does not say its apiVersion and kind \(items of a list do not\)"
    ):
        set_controller_reference(V1ConfigMap(metadata=V1ObjectMeta(uid="1")), _unstructured(name="a"))


@pytest.mark.parametrize("wrong", ["n/a", 5, None, Thing, object()])
def test_what_is_no_object_is_told_apart(wrong: Any) -> None:
    for use in (metadata_of, controller_of, lambda obj: add_finalizer(obj, "x/y")):
        with pytest.raises(TypeError, match="is no Kubernetes object: an object is a dict"):
            use(wrong)


def test_metadata_alone_is_only_read() -> None:
    assert metadata_of(Metadata(name="a")).name == "a"
    with pytest.raises(TypeError):
        add_finalizer(Metadata(name="a"), "x/y")


def test_conditions_that_were_copied_stay_as_they_were() -> None:
    thing = Thing(status=ThingStatus())
    assert thing.status is not None
    set_condition(thing.status.conditions, Condition(type="Ready", status="False", reason="NotYet"), now=0.0)
    conditions = list(thing.status.conditions)
    assert set_condition(conditions, Condition(type="Ready", status="True", reason="Up"), now=60.0)
    assert [(found.status, found.reason) for found in thing.status.conditions] == [("False", "NotYet")]
    assert [(found.status, found.last_transition_time) for found in conditions] == [("True", "1970-01-01T00:01:00Z")]
