"""What a reconciler is given and may answer, and what users' functions may name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from pyoperator.controller import Controller, EnqueueMapped, InformerSource, Request, Result, Watch
from pyoperator.objects import CustomResource, Metadata, Model, ObjectKey, Unstructured
from tests.controller.support import FakeInformer, entry
from tests.support import run_virtual


class Spec(Model):
    text: str = ""


class Thing(CustomResource, group="example.com", version="v1"):
    spec: Spec


@pytest.mark.parametrize(
    "found",
    [
        ObjectKey("ns", "a"),
        Request("ns", "a"),
        entry("a"),
        Metadata(name="a", namespace="ns"),
        Unstructured({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "namespace": "ns"}}),
        Thing.model_validate({"metadata": {"name": "a", "namespace": "ns"}, "spec": {}}),
    ],
    ids=lambda found: type(found).__name__,
)
def test_a_request_for_whatever_stands_for_an_object(found: Any) -> None:
    request = Request.of(found)
    assert type(request) is Request
    assert request == Request("ns", "a") == ("ns", "a")
    assert str(request) == "ns/a"


def test_what_stands_for_no_object_is_refused() -> None:
    with pytest.raises(TypeError, match="'ns/a' is no object: give"):
        Request.of("ns/a")


def test_a_result_takes_seconds_or_a_timedelta() -> None:
    assert Result(timedelta(minutes=5)) == Result(requeue_after=300.0)
    assert Result(requeue_after=0).requeue_after == 0
    assert replace(Result(backoff=True), priority=3) == Result(backoff=True, priority=3)
    assert repr(Result(5)) == "Result(requeue_after=5, backoff=False, priority=None)"
    assert hash(Result(5)) == hash(Result(5.0))
    with pytest.raises(AttributeError):
        Result().priority = 5  # type: ignore[misc]


@pytest.mark.parametrize("value", [True, False, "5s", [1]])
def test_a_time_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="give seconds or a timedelta"):
        Result(requeue_after=value)


@pytest.mark.parametrize("value", [timedelta(seconds=-1), -1, float("nan"), float("inf")])
def test_a_time_in_the_past_or_never_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="give seconds >= 0"):
        Result(requeue_after=value)


def test_a_mapping_function_names_keys_and_nothing_else() -> None:
    async def main() -> None:
        async def reconcile(request: Request) -> None: ...

        answers: dict[str, Any] = {
            "keys": [ObjectKey("ns", "x"), Request("ns", "y"), ObjectKey("ns", "x")],
            "lone": Request("ns", "z"),  # a tuple of two strings
            "names": ["ns/z"],
        }
        handler = EnqueueMapped(lambda found: answers[found.metadata.name])
        controller = Controller("test", reconcile, watches=[Watch(InformerSource(FakeInformer(*answers)), handler)])
        with capture_logs() as logs:
            await controller.warm_up()
        assert list(controller.queue._entries) == [("ns", "x"), ("ns", "y")]
        assert {type(item) for item in controller.queue._entries} == {Request}
        assert [line["name"] for line in logs] == ["lone", "names"]
        assert "return an iterable of Requests" in str(logs[0]["exc_info"])

    run_virtual(main)
