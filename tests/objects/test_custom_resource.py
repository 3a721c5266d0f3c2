"""Typed resources keep what they don't know, and write only what was set."""

from __future__ import annotations

import json
from types import new_class
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field

from pyoperator.objects import (
    Condition,
    CustomResource,
    DecodeError,
    GroupVersionKind,
    Model,
    ObjectKey,
    ObjectMeta,
    Quantity,
    Scheme,
    UnknownKindError,
    Unstructured,
    metadata_of,
    partial_metadata,
    set_condition,
)
from pyoperator.schema import crd_manifest


class WidgetSpec(Model):
    replica_count: int = 1
    size: Quantity = Quantity("1Gi")
    names: list[str] = Field(default_factory=list)


class WidgetStatus(Model):
    conditions: list[Condition] = Field(default_factory=list)


class Widget(CustomResource, group="example.com", version="v1", short_names=("wd",)):
    spec: WidgetSpec
    status: WidgetStatus | None = None


WIRE = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {
        "name": "a",
        "namespace": "b",
        "uid": "u",
        "resourceVersion": "5",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x", "controller": True}],
    },
    "spec": {"replicaCount": 2, "future": {"deep": [1, None]}},
}


def test_round_trip_is_the_identity() -> None:
    codec = Scheme().codec(Widget)
    assert json.loads(codec.encode(codec.decode(json.dumps(WIRE).encode()))) == WIRE


def test_decoding_keeps_nothing_of_the_values() -> None:
    text = json.dumps({"metadata": {"name": "a"}, "spec": {"names": ["correct horse"]}}).encode()
    first, second = (Scheme().codec(Widget).decode(text).spec.names[0] for _ in range(2))
    assert first == second == "correct horse"
    # Equal and not the same: the parser has no memory of its own for values, which may be secrets.
    assert first is not second


def test_defaults_are_seen_and_not_written() -> None:
    codec = Scheme().codec(Widget)
    widget = codec.decode(json.dumps(WIRE).encode())
    assert widget.spec.size == Quantity("1024Mi")
    widget.spec.names = ["x"]
    widget.metadata.labels = {"k": "v"}
    written = json.loads(codec.encode(widget))
    assert written["spec"] == {**WIRE["spec"], "names": ["x"]}  # type: ignore[dict-item]
    assert written["metadata"]["labels"] == {"k": "v"}


def test_edits_in_place_are_written() -> None:
    codec = Scheme().codec(Widget)
    widget = codec.decode(json.dumps(WIRE).encode())
    widget.spec.names.append("x")
    widget.metadata.labels["k"] = "v"
    widget.status = WidgetStatus()
    set_condition(widget.status.conditions, Condition(type="Ready", status="True", reason="Up"), now=0.0)
    written = json.loads(codec.encode(widget))
    assert written["spec"]["names"] == ["x"]
    assert written["metadata"]["labels"] == {"k": "v"}
    assert [entry["type"] for entry in written["status"]["conditions"]] == ["Ready"]
    assert "finalizers" not in written["metadata"]


def test_a_new_object_carries_its_kind() -> None:
    widget = Widget(metadata=ObjectMeta(name="n", namespace="s"), spec=WidgetSpec(size=Quantity("2Gi")))
    assert json.loads(Scheme().codec(Widget).encode(widget)) == {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "n", "namespace": "s"},
        "spec": {"size": "2Gi"},
    }
    assert widget.gvk == GroupVersionKind("example.com", "v1", "Widget")
    assert widget.key == ObjectKey("s", "n")


def test_errors_name_the_field() -> None:
    with pytest.raises(DecodeError, match=r"spec\.replicaCount"):
        Scheme().codec(Widget).decode(b'{"spec": {"replicaCount": "many"}}')
    with pytest.raises(DecodeError, match="spec"):
        Scheme().codec(Widget).decode(b"{}")
    with pytest.raises(DecodeError):
        Scheme().codec(Widget).decode(b"<html>")


def test_a_resource_without_a_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="without a kind"):

        class Nameless(CustomResource):
            spec: WidgetSpec

    with pytest.raises(TypeError, match="both group"):

        class Groupless(CustomResource, version="v1"):
            spec: WidgetSpec


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("shortNames", r"did you mean short_names=\?"),
        ("shortnames", r"did you mean short_names=\?"),
        ("printerColumns", r"did you mean printer_columns=\?"),
        ("scope_namespaced", r"did you mean namespaced=\?"),
        ("foo", "it takes group, version, kind, plural"),
    ],
)
def test_an_unknown_option_of_the_class_line_is_refused(option: str, remedy: str) -> None:
    options: dict[str, Any] = {"group": "example.com", "version": "v1", option: "x"}
    with pytest.raises(
        TypeError, match=rf"class Wrong\(CustomResource, {option}=...\): there is no such option; {remedy}"
    ):
        new_class("Wrong", (CustomResource,), options)
    with pytest.raises(TypeError, match="no such option"):  # of a model that refines another, too
        new_class("Wrong", (Widget,), {option: "x"})


def test_options_of_pydantic_and_of_bases_in_between_are_taken() -> None:
    class Marked(CustomResource, group="example.com", version="v1"):
        @classmethod
        def __pydantic_init_subclass__(cls, *, mark: str = "", **options: Any) -> None:
            super().__pydantic_init_subclass__(**options)
            cls.mark = mark

        mark: ClassVar[str] = ""

    class Kept(Marked, mark="m", title="A title", str_strip_whitespace=True):
        spec: WidgetSpec

    assert Kept.mark == "m"
    assert Kept.model_config["title"] == "A title"


@pytest.mark.parametrize(
    "status", [WidgetStatus, WidgetStatus | None, Annotated[WidgetStatus, Field(description="What was seen.")]]
)
def test_a_status_without_a_default_is_refused(status: Any) -> None:
    fields: dict[str, Any] = {"__module__": __name__, "__annotations__": {"status": status}}
    with pytest.raises(TypeError, match=r"Wrong.status must have a default.*write status: ... \| None = None"):
        new_class(
            "Wrong", (CustomResource,), {"group": "example.com", "version": "v1"}, lambda body: body.update(fields)
        )


def test_a_status_with_a_default_is_never_required() -> None:
    class Fine(CustomResource, group="example.com", version="v1"):
        status: WidgetStatus = Field(default_factory=WidgetStatus)

    assert "required" not in crd_manifest(Fine)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert Scheme().codec(Fine).decode(b"{}").status == WidgetStatus()


def test_reprs_show_no_contents() -> None:
    secret = Unstructured.new(GroupVersionKind("", "v1", "Secret"), "s", "n", data={"password": "aHVudGVyMg=="})
    widget = Scheme().codec(Widget).decode(json.dumps(WIRE).encode())
    assert "aHVudGVyMg" not in repr(secret)
    assert "replica" not in repr(widget)
    assert str(widget) == "<Widget b/a rv=5>"


def test_metadata_reads_the_same_from_every_shape() -> None:
    data = json.dumps(WIRE).encode()
    scheme = Scheme()
    scheme.add_resource(scheme.resource(Widget))
    typed = scheme.codec(Widget).decode(data)
    untyped = scheme.codec(GroupVersionKind("example.com", "v1", "Widget")).decode(data)
    assert partial_metadata(data) == metadata_of(typed) == metadata_of(untyped)
    owner = metadata_of(typed).controller
    assert owner is not None
    assert owner.kind == "Pod"


def test_items_of_lists_get_their_kind_back() -> None:
    pod = Scheme().codec(GroupVersionKind("", "v1", "Pod")).decode(b'{"metadata": {"name": "p"}}')
    assert pod.gvk == GroupVersionKind("", "v1", "Pod")


def test_unknown_kinds_teach() -> None:
    with pytest.raises(UnknownKindError, match="add_resource"):
        Scheme().codec(GroupVersionKind("nowhere", "v1", "Nothing"))
    with pytest.raises(UnknownKindError, match="stands for no kind"):
        Scheme().codec(int)


@pytest.mark.parametrize(
    ("gvk", "namespace", "name", "sub", "path"),
    [
        (GroupVersionKind("", "v1", "Pod"), "n", "p", "status", "/api/v1/namespaces/n/pods/p/status"),
        (GroupVersionKind("", "v1", "Pod"), "", "", "", "/api/v1/pods"),
        (GroupVersionKind("apps", "v1", "StatefulSet"), "n", "", "", "/apis/apps/v1/namespaces/n/statefulsets"),
        (GroupVersionKind("", "v1", "Node"), "ignored", "x", "", "/api/v1/nodes/x"),
    ],
)
def test_paths(gvk: GroupVersionKind, namespace: str, name: str, sub: str, path: str) -> None:
    assert Scheme().resource(gvk).path(namespace, name, sub) == path


def test_a_namespaced_object_needs_its_namespace() -> None:
    with pytest.raises(ValueError, match="is namespaced"):
        Scheme().resource(GroupVersionKind("", "v1", "Pod")).path("", "p")
