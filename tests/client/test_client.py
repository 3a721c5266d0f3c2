from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import Field

from pyoperator.client import (
    AlreadyExists,
    ApplyPatch,
    Client,
    Conflict,
    DryRunClient,
    Expired,
    FieldOwnerClient,
    FieldValidationClient,
    InternalError,
    JSONPatch,
    MergePatch,
    NamespacedClient,
    NoKindMatch,
    NotFound,
    OperationResult,
    RawPatch,
    RetryPolicy,
    ServiceUnavailable,
    StrategicMergePatch,
    TooManyRequests,
    TransportError,
    is_missing_kind,
)
from pyoperator.clock import Randomness
from pyoperator.objects import (
    Condition,
    CustomResource,
    GroupVersionKind,
    Model,
    ObjectKey,
    ObjectMeta,
    Unstructured,
    set_condition,
)
from tests.client.fake_transport import FakeTransport, answer, failure
from tests.support import run_virtual

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
KEY = ObjectKey("shop", "settings")


class WidgetSpec(Model):
    size: int = 1


class Widget(CustomResource, group="example.com", version="v1"):
    spec: WidgetSpec


class AppStatus(Model):
    conditions: list[Condition] = Field(default_factory=list)


class App(CustomResource, group="example.com", version="v1"):
    status: AppStatus | None = None


def config_map(version: str = "7", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop", "uid": "u1", "resourceVersion": version},
        "data": data,
    }


def widget(size: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "shop", "uid": "u2", "resourceVersion": "3"},
        "spec": {"size": size, **more},
    }


def client_of(*answers: Any, **options: Any) -> tuple[Client, FakeTransport]:
    transport = FakeTransport(list(answers))
    return Client(transport, random=Randomness(1), **options), transport


async def test_get_types_follow_the_kind() -> None:
    client, transport = client_of(answer(config_map(a="1")), answer(widget(2)))
    unstructured: Unstructured = await client.get(CONFIG_MAP, KEY)
    typed: Widget = await client.get(Widget, "shop/w")
    assert unstructured["data"] == {"a": "1"}
    assert typed.spec.size == 2
    assert [sent.path for sent in transport.sent] == [
        "/api/v1/namespaces/shop/configmaps/settings",
        "/apis/example.com/v1/namespaces/shop/widgets/w",
    ]


async def test_a_key_without_a_namespace_uses_the_clients() -> None:
    client, transport = client_of(answer(config_map()), namespace="shop")
    await client.get(CONFIG_MAP, "settings")
    assert transport.sent[0].path.startswith("/api/v1/namespaces/shop/")
    with pytest.raises(ValueError, match=r"Client\(namespace="):
        await Client(transport).get(CONFIG_MAP, "settings")


async def test_list_leaves_out_and_names_what_does_not_fit() -> None:
    bad = widget()
    bad["spec"] = {"size": "large"}
    bad["metadata"]["name"] = "bad"
    client, transport = client_of(
        answer({"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [widget(5), bad]})
    )
    found = await client.list(Widget, namespace="shop", label_selector={"app": "x"}, limit=2)
    assert [item.spec.size for item in found] == [5]
    assert found.undecodable[0].key == ObjectKey("shop", "bad")
    assert (found.resource_version, found.continue_) == ("9", "more")
    assert transport.sent[0].query == {"labelSelector": "app=x", "limit": "2"}


async def test_pages_follow_the_continue_token() -> None:
    first = answer({"metadata": {"continue": "more"}, "items": [config_map()]})
    client, transport = client_of(first, answer({"metadata": {}, "items": None}))
    assert [len(page) async for page in client.pages(CONFIG_MAP, page_size=1)] == [1, 0]
    assert transport.sent[1].query["continue"] == "more"


async def test_write_options_become_a_query() -> None:
    client, transport = client_of(answer(config_map()), field_manager="me")
    await client.create(Unstructured(config_map()), dry_run=True, field_validation="Strict", timeout=5)
    assert transport.sent[0].query == {"dryRun": "All", "fieldManager": "me", "fieldValidation": "Strict"}
    assert 4 < (transport.sent[0].timeout or 0) <= 5


async def test_update_keeps_fields_that_the_model_does_not_know() -> None:
    client, transport = client_of(answer(widget(1, colour="red")), answer(widget(2, colour="red")))
    obj = await client.get(Widget, "shop/w")
    obj.spec.size = 2
    await client.update(obj)
    assert transport.sent[1].body["spec"] == {"size": 2, "colour": "red"}


@pytest.mark.parametrize(
    ("patch", "content_type"),
    [
        (MergePatch({"data": {"a": None}}), "application/merge-patch+json"),
        (StrategicMergePatch({"data": {}}), "application/strategic-merge-patch+json"),
        (JSONPatch([{"op": "remove", "path": "/data"}]), "application/json-patch+json"),
        (RawPatch("application/x", b"{}"), "application/x"),
        (ApplyPatch(Unstructured(config_map())), "application/apply-patch+yaml"),
    ],
)
async def test_patches(patch: Any, content_type: str) -> None:
    client, transport = client_of(answer(config_map()), field_manager="me")
    await client.patch(CONFIG_MAP, KEY, patch)
    assert transport.sent[0].headers["content-type"] == content_type


async def test_apply_needs_a_field_manager_and_drops_managed_fields() -> None:
    obj = Unstructured(config_map())
    obj.metadata["managedFields"] = [{}]
    client, transport = client_of(answer(config_map()))
    with pytest.raises(ValueError, match="field manager"):
        await client.apply(obj)
    await client.apply(obj, field_manager="me", force=True)
    assert transport.sent[0].query == {"fieldManager": "me", "force": "true"}
    assert "managedFields" not in transport.sent[0].body["metadata"]


async def test_delete_carries_preconditions() -> None:
    client, transport = client_of(answer({}), answer({}), answer({}))
    await client.delete(CONFIG_MAP, KEY, uid="u1", propagation_policy="Foreground", grace_period_seconds=0)
    assert transport.sent[0].body == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": "u1"},
        "propagationPolicy": "Foreground",
        "gracePeriodSeconds": 0,
    }
    await client.delete(Unstructured(config_map()))
    assert transport.sent[1].body["preconditions"] == {"uid": "u1"}
    await client.delete_all_of(CONFIG_MAP, namespace="shop", label_selector="a=b")
    assert (transport.sent[2].path, transport.sent[2].query) == (
        "/api/v1/namespaces/shop/configmaps",
        {"labelSelector": "a=b"},
    )


class TestCreateOrPatch:
    async def test_creates_what_is_missing(self) -> None:
        client, transport = client_of(failure(404, "NotFound"), answer(widget(4)))

        def mutate(obj: Widget) -> None:
            obj.spec = WidgetSpec(size=4)

        obj, result = await client.create_or_patch(Widget, "shop/w", mutate)
        assert (obj.spec.size, result) == (4, OperationResult.CREATED)
        assert transport.sent[1].body["spec"] == {"size": 4}
        assert transport.sent[1].body["metadata"] == {"name": "w", "namespace": "shop"}

    async def test_sends_only_the_difference_with_preconditions(self) -> None:
        client, transport = client_of(answer(config_map(a="1", b="2")), answer(config_map("8", a="1", b="3")))
        obj, result = await client.create_or_patch(
            Unstructured.new(CONFIG_MAP, "settings", "shop"), lambda obj: obj["data"].update(b="3")
        )
        assert result is OperationResult.UPDATED
        assert obj["data"]["b"] == "3"
        assert transport.sent[1].body == {"data": {"b": "3"}, "metadata": {"resourceVersion": "7", "uid": "u1"}}

    async def test_sends_nothing_when_nothing_differs(self) -> None:
        client, transport = client_of(answer(config_map(a="1")))
        _, result = await client.create_or_patch(CONFIG_MAP, KEY, lambda obj: obj["data"].update(a="1"))
        assert result is OperationResult.UNCHANGED
        assert len(transport.sent) == 1

    async def test_refuses_a_mutate_that_renames(self) -> None:
        client, _ = client_of(answer(config_map(a="1")))
        with pytest.raises(ValueError, match="key"):
            await client.create_or_patch(CONFIG_MAP, KEY, lambda obj: obj.metadata.update(name="other"))

    async def test_create_or_update_puts_the_whole_object(self) -> None:
        client, transport = client_of(answer(config_map(a="1")), answer(config_map("8", a="2")))
        wanted = Unstructured.new(CONFIG_MAP, "settings", "shop")
        _, result = await client.create_or_update(wanted, lambda obj: obj["data"].update(a="2"))
        assert result is OperationResult.UPDATED
        assert transport.sent[1].method == "PUT"
        assert transport.sent[1].body["metadata"]["resourceVersion"] == "7"


async def test_patch_status_sends_status_only() -> None:
    before = Unstructured({**config_map(), "status": {"phase": "A", "gone": 1}})
    after = Unstructured({**config_map(x="ignored"), "status": {"phase": "B"}})
    client, transport = client_of(answer(config_map()))
    await client.patch_status_from(before, after)
    assert transport.sent[0].path.endswith("/settings/status")
    assert transport.sent[0].body == {
        "status": {"phase": "B", "gone": None},
        "metadata": {"resourceVersion": "7", "uid": "u1"},
    }
    await client.patch_status_from(before, before)
    assert len(transport.sent) == 1


class TestPatchStatus:
    async def test_one_step_from_an_object_that_stays_as_it_was(self) -> None:
        read = Unstructured({**config_map(), "status": {"phase": "A"}})
        client, transport = client_of(answer({**config_map("8"), "status": {"phase": "B"}}))
        stored = await client.patch_status(read, lambda obj: obj["status"].update(phase="B"))
        assert stored.metadata["resourceVersion"] == "8"
        assert read["status"] == {"phase": "A"}
        assert transport.sent[0].path.endswith("/settings/status")
        assert transport.sent[0].body == {
            "status": {"phase": "B"},
            "metadata": {"resourceVersion": "7", "uid": "u1"},
        }

    async def test_one_step_from_a_key(self) -> None:
        client, transport = client_of(answer(config_map()), answer(config_map("8")))
        await client.patch_status(CONFIG_MAP, KEY, lambda obj: obj.update(status={"phase": "B"}), timeout=3)
        assert [f"{sent.method} {sent.path.rpartition('/')[2]}" for sent in transport.sent] == [
            "GET settings",
            "PATCH status",
        ]
        assert all(sent.timeout <= 3 for sent in transport.sent)

    async def test_nothing_is_sent_for_no_difference(self) -> None:
        read = Unstructured({**config_map(), "status": {"phase": "A"}})
        client, transport = client_of()
        same = await client.patch_status(read, lambda obj: obj["status"].update(phase="A"))
        assert same == read
        assert transport.sent == []

    async def test_conditions_set_in_a_copy_of_the_list_are_sent(self) -> None:
        app = App(metadata=ObjectMeta(name="settings", namespace="shop", uid="u1", resource_version="7"))
        app.status = AppStatus(conditions=[Condition(type="Ready", status="False", reason="NotYet")])
        conditions = list(app.status.conditions)
        set_condition(conditions, Condition(type="Ready", status="True", reason="Up"), now=0.0)

        def mutate(changed: App) -> None:
            changed.status = AppStatus(conditions=conditions)

        client, transport = client_of(answer(config_map("8")))
        await client.patch_status(app, mutate)
        assert transport.sent[0].body["status"]["conditions"][0]["status"] == "True"
        assert app.status.conditions[0].status == "False"

    async def test_an_async_mutate_is_refused(self) -> None:
        async def mutate(obj: Unstructured) -> None:
            obj["status"] = {}

        client, transport = client_of(answer(config_map()), answer(config_map()))
        for call in (
            client.patch_status(Unstructured(config_map()), mutate),  # type: ignore[arg-type]  # what a type checker refuses
            client.create_or_patch(CONFIG_MAP, KEY, mutate),  # type: ignore[arg-type]
            client.create_or_update(Unstructured(config_map()), mutate),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="mutate is an async function, and has changed nothing"):
                await call
        assert [sent.method for sent in transport.sent] == ["GET", "GET"]

    async def test_more_than_the_status_is_refused(self) -> None:
        client, _ = client_of()
        with pytest.raises(ValueError, match="more than the status"):
            await client.patch_status(Unstructured(config_map(a="1")), lambda obj: obj["data"].update(a="2"))


async def test_a_patch_that_changed_nothing_is_no_update() -> None:
    """A list without the server's defaults differs from what is stored, but not to the server."""
    client, _ = client_of(answer(config_map("7", a="1")), answer(config_map("7", a="1")))
    _, result = await client.create_or_patch(CONFIG_MAP, KEY, lambda obj: obj["data"].update(a="2"))
    assert result is OperationResult.UNCHANGED


async def test_misspelled_options_are_errors_at_run_time_too() -> None:
    """What is ignored would be no dry run, no timeout, no precondition."""
    client, transport = client_of()
    wrong: Any = {"dryrun": True}
    obj = Unstructured(config_map())
    for given in (client, DryRunClient(client), NamespacedClient(client, "shop")):
        attempts: list[Any] = [
            given.create(obj, **wrong),
            given.update(obj, **wrong),
            given.patch(CONFIG_MAP, KEY, MergePatch({}), **wrong),
            given.delete(CONFIG_MAP, KEY, **wrong),
            given.delete_all_of(CONFIG_MAP, namespace="shop", **wrong),
            given.get(CONFIG_MAP, KEY, **wrong),
        ]
        for attempt in attempts:
            with pytest.raises(TypeError, match="dryrun"):
                await attempt
        with pytest.raises(TypeError, match="dryrun"):
            await given.list(CONFIG_MAP, **wrong)
    assert transport.sent == []


async def test_subresources() -> None:
    scale = {
        "metadata": {"resourceVersion": "4"},
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "a=b"},
    }
    token = {"status": {"token": "secret-token", "expirationTimestamp": "2026-01-01T00:00:00Z"}}
    client, transport = client_of(answer(scale), answer(scale), answer({}), answer(token), answer(config_map()))
    assert (await client.scale.replicas(DEPLOYMENT, "shop/web")).replicas == 3
    assert (await client.scale.set_replicas(DEPLOYMENT, "shop/web", 3)).status_replicas == 2
    await client.pods.evict("shop/p", uid="u")
    issued = await client.pods.service_account_token("shop/sa", audiences=["x"])
    assert issued.token == "secret-token"
    assert "secret-token" not in repr(issued)
    await client.status.update(Unstructured(config_map()))
    assert [f"{sent.method} {sent.path.rpartition('/')[2]}" for sent in transport.sent] == [
        "GET scale",
        "PATCH scale",
        "POST eviction",
        "POST token",
        "PUT status",
    ]


class TestWatch:
    def lines(self, *events: tuple[str, Any]) -> bytes:
        return b"".join(msgspec.json.encode({"type": kind, "object": obj}) + b"\n" for kind, obj in events)

    async def test_events_are_found_wherever_the_stream_is_cut(self) -> None:
        data = self.lines(("ADDED", widget(1)), ("BOOKMARK", {"metadata": {}}), ("MODIFIED", widget(2)))
        transport = FakeTransport(chunks=[data[i : i + 7] for i in range(0, len(data), 7)])
        events = [event async for event in Client(transport).watch(Widget, resource_version="1")]
        assert [(event.type, event.object.spec.size) for event in events] == [("ADDED", 1), ("MODIFIED", 2)]
        assert transport.sent[0].query == {"watch": "true", "resourceVersion": "1"}

    async def test_an_error_event_is_raised(self) -> None:
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        transport = FakeTransport(chunks=[self.lines(("ERROR", gone))])
        with pytest.raises(Expired):
            await anext(Client(transport).watch(Widget))
        assert transport.open_streams == 0

    async def test_leaving_early_closes_the_connection(self) -> None:
        transport = FakeTransport(chunks=[self.lines(("ADDED", widget())), self.lines(("ADDED", widget()))])
        async with Client(transport).watch(Widget) as events:
            await anext(events)
            assert transport.open_streams == 1
        assert transport.open_streams == 0


class TestRetries:
    def run(self, *answers: Any, method: str = "GET", **options: Any) -> int:
        transport = FakeTransport(list(answers))

        async def main() -> int:
            client = Client(transport, random=Randomness(1), **options)
            if method == "GET":
                await client.get(CONFIG_MAP, KEY)
            elif method == "PUT":
                await client.update(Unstructured(config_map()))
            else:
                await client.create(Unstructured(config_map()))
            return len(transport.sent)

        return run_virtual(main)

    def test_retry_after_is_honoured_for_every_verb(self) -> None:
        assert self.run(failure(429, retry_after="1"), answer(config_map()), method="POST") == 2

    def test_reads_and_conditional_writes_survive_passing_failures(self) -> None:
        for method in ("GET", "PUT"):
            assert self.run(TransportError("cut"), failure(500), answer(config_map()), method=method) == 3

    def test_an_unconditional_write_is_not_repeated(self) -> None:
        with pytest.raises(TransportError):
            self.run(TransportError("cut"), answer(config_map()), method="POST")
        with pytest.raises(InternalError):
            self.run(failure(500), answer(config_map()), method="POST")

    def test_retries_are_bounded_by_number_and_by_time(self) -> None:
        with pytest.raises(InternalError):
            self.run(*[failure(500) for _ in range(5)])
        with pytest.raises(ServiceUnavailable):
            self.run(failure(503, retry_after="60"), answer(config_map()))
        with pytest.raises(TooManyRequests):
            self.run(failure(429, retry_after="1"), answer({}), retry_policy=RetryPolicy(retries=0))

    def test_a_refusal_is_final(self) -> None:
        for code, kind in ((404, NotFound), (409, Conflict)):
            with pytest.raises(kind):
                self.run(failure(code))
        with pytest.raises(AlreadyExists):
            self.run(failure(409, "AlreadyExists"), method="POST")


class TestDiscovery:
    async def test_unknown_kinds_are_discovered_once(self) -> None:
        gizmo = GroupVersionKind("example.com", "v1", "Gizmo")
        resources = {
            "resources": [
                {"name": "gizmos", "kind": "Gizmo", "namespaced": True},
                {"name": "gizmos/status", "kind": "Gizmo"},
            ]
        }
        client, transport = client_of(answer(resources), answer(config_map()), answer(config_map()))
        await client.get(gizmo, KEY)
        await client.get(gizmo, KEY)
        assert transport.sent[0].path == "/apis/example.com/v1"
        assert transport.sent[2].path == "/apis/example.com/v1/namespaces/shop/gizmos/settings"

    async def test_a_missing_kind_is_asked_for_again_only_after_a_while(self) -> None:
        client, transport = client_of(failure(404))
        gizmo = GroupVersionKind("example.com", "v1", "Gizmo")
        for _ in range(3):
            with pytest.raises(NoKindMatch, match="CustomResourceDefinition") as caught:
                await client.get(gizmo, KEY)
            assert is_missing_kind(caught.value)
        assert len(transport.sent) == 1


class TestWrappers:
    async def test_they_compose(self) -> None:
        inner, transport = client_of(answer(config_map()), answer({}), answer(config_map()))
        client = DryRunClient(FieldOwnerClient(FieldValidationClient(inner, "Strict"), "me"))
        await client.create(Unstructured(config_map()))
        await client.delete(CONFIG_MAP, KEY)
        await client.status.patch(CONFIG_MAP, KEY, MergePatch({"status": {}}), field_manager="other")
        assert transport.sent[0].query == {"dryRun": "All", "fieldManager": "me", "fieldValidation": "Strict"}
        assert transport.sent[1].body["dryRun"] == ["All"]
        assert transport.sent[2].query["fieldManager"] == "other"

    async def test_a_namespaced_client_stays_inside(self) -> None:
        inner, transport = client_of(answer(config_map()), answer(config_map()), answer({"items": []}))
        client = NamespacedClient(inner, "shop")
        await client.get(CONFIG_MAP, "settings")
        await client.create(Unstructured.new(CONFIG_MAP, "settings"))
        await client.list(CONFIG_MAP)
        assert all(sent.path.startswith("/api/v1/namespaces/shop/configmaps") for sent in transport.sent)
        with pytest.raises(ValueError, match="confined"):
            await client.get(CONFIG_MAP, ObjectKey("other", "x"))
        with pytest.raises(ValueError, match="confined"):
            await client.create(Unstructured.new(CONFIG_MAP, "x", "other"))
        with pytest.raises(ValueError, match="confined"):
            await client.list(CONFIG_MAP, namespace="other")


async def test_create_of_a_typed_object_writes_what_was_set() -> None:
    client, transport = client_of(answer(widget(1)))
    await client.create(Widget(metadata=ObjectMeta(name="w"), spec=WidgetSpec()), namespace="shop")
    assert transport.sent[0].body == {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {},
    }
