from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.requests import (
    CONFIG_MAPS,
    CRDS,
    LEASES,
    PODS,
    WIDGETS,
    Asker,
    config_map,
    definition,
    lease,
    pod,
    widget,
)


@pytest.fixture
def ask() -> Asker:
    return Asker()


def test_create_sets_what_the_server_owns(ask: Asker) -> None:
    made = ask("POST", CONFIG_MAPS, config_map(uid="mine", creationTimestamp="2001-01-01T00:00:00Z"), status=201)
    metadata = made["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert metadata["resourceVersion"] == str(ask.server.store.revision)
    assert "generation" not in metadata
    assert ask("GET", f"{CONFIG_MAPS}/a", status=200) == made


def test_create_twice_conflicts_with_the_real_servers_words(ask: Asker) -> None:
    ask("POST", CONFIG_MAPS, config_map(), status=201)
    assert ask("POST", CONFIG_MAPS, config_map(), status=409) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 409,
    }


def test_a_version_in_a_creation_is_a_fault_of_the_store_alone(ask: Asker) -> None:
    answer = ask("POST", CONFIG_MAPS, config_map(resourceVersion="5"), status=500)
    assert answer["message"] == "resourceVersion should not be set on objects to be created"
    tried = ask("POST", CONFIG_MAPS, config_map(resourceVersion="5"), status=201, query={"dryRun": "All"})
    assert "resourceVersion" not in tried["metadata"]
    made = ask("POST", CONFIG_MAPS, config_map(resourceVersion="0"), status=201)
    assert made["metadata"]["resourceVersion"] == str(ask.server.store.revision)


def test_generate_name(ask: Asker) -> None:
    body = {**config_map(), "metadata": {"generateName": "x-"}}
    names = {ask("POST", CONFIG_MAPS, body, status=201)["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


def test_a_namespace_must_exist(ask: Asker) -> None:
    answer = ask("POST", "/api/v1/namespaces/nope/configmaps", config_map(), status=404)
    assert answer["message"] == 'namespaces "nope" not found'
    assert answer["details"] == {"name": "nope", "kind": "namespaces"}


def test_nothing_is_created_in_a_terminating_namespace(ask: Asker) -> None:
    ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}}, status=201)
    gone = ask("DELETE", "/api/v1/namespaces/n", status=200)
    assert gone["status"]["phase"] == "Terminating"
    answer = ask("POST", "/api/v1/namespaces/n/configmaps", config_map(), status=403)
    assert answer["message"] == (
        'configmaps "a" is forbidden: unable to create new content in namespace n because it is being terminated'
    )
    assert answer["details"]["causes"] == [
        {"reason": "NamespaceTerminating", "message": "namespace n is being terminated", "field": "metadata.namespace"}
    ]


def test_finalize_removes_a_terminating_namespace(ask: Asker) -> None:
    ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}}, status=201)
    terminating = ask("DELETE", "/api/v1/namespaces/n", status=200)
    terminating["spec"]["finalizers"] = []
    ask("PUT", "/api/v1/namespaces/n/finalize", terminating, status=200)
    ask("GET", "/api/v1/namespaces/n", status=404)


def test_standing_namespaces_stay(ask: Asker) -> None:
    answer = ask("DELETE", "/api/v1/namespaces/default", status=403)
    assert answer["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'


def test_update_with_a_stale_version_conflicts(ask: Asker) -> None:
    first = ask("POST", LEASES, lease(), status=201)
    second = ask("PUT", f"{LEASES}/l", {**first, "spec": {"holderIdentity": "you"}}, status=200)
    assert int(second["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 1
    answer = ask("PUT", f"{LEASES}/l", {**first, "spec": {"holderIdentity": "him"}}, status=409)
    assert answer["reason"] == "Conflict"
    assert answer["message"] == (
        'Operation cannot be fulfilled on leases.coordination.k8s.io "l": the object has been modified; please apply '
        "your changes to the latest version and try again"
    )
    assert answer["details"] == {"name": "l", "group": "coordination.k8s.io", "kind": "leases"}


def test_a_lease_is_not_updated_without_a_version_but_created_by_put(ask: Asker) -> None:
    ask("PUT", f"{LEASES}/l", lease(), status=201)
    answer = ask("PUT", f"{LEASES}/l", lease(), status=422)
    assert answer["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: 0: must be specified for an update",
            "field": "metadata.resourceVersion",
        }
    ]


def test_a_config_map_is_updated_without_a_version_but_not_created_by_put(ask: Asker) -> None:
    ask("PUT", f"{CONFIG_MAPS}/a", config_map(), status=404)
    ask("POST", CONFIG_MAPS, config_map(), status=201)
    changed = ask("PUT", f"{CONFIG_MAPS}/a", {**config_map(), "data": {"k": "w"}}, status=200)
    assert changed["data"] == {"k": "w"}


def test_an_update_that_changes_nothing_keeps_the_version(ask: Asker) -> None:
    made = ask("POST", CONFIG_MAPS, config_map(), status=201)
    revision = ask.server.store.revision
    same = ask("PUT", f"{CONFIG_MAPS}/a", made, status=200)
    assert same == made
    assert ask.server.store.revision == revision


def test_a_uid_is_a_precondition(ask: Asker) -> None:
    made = ask("POST", CONFIG_MAPS, config_map(), status=201)
    made["metadata"]["uid"] = "another"
    answer = ask("PUT", f"{CONFIG_MAPS}/a", made, status=409)
    assert "Precondition failed: UID in precondition: another, UID in object meta: " in answer["message"]


def test_dry_run_changes_nothing(ask: Asker) -> None:
    revision = ask.server.store.revision
    made = ask("POST", CONFIG_MAPS, config_map(), query={"dryRun": "All"}, status=201)
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    ask("GET", f"{CONFIG_MAPS}/a", status=404)
    ask("POST", CONFIG_MAPS, config_map(), status=201)
    ask("DELETE", f"{CONFIG_MAPS}/a", query={"dryRun": "All"}, status=200)
    ask("GET", f"{CONFIG_MAPS}/a", status=200)
    assert ask.server.store.revision == revision + 1
    ask("POST", CONFIG_MAPS, config_map("b"), query={"dryRun": "Some"}, status=422)


@pytest.mark.parametrize(
    ("metadata", "field", "says"),
    [
        ({"name": "Foo"}, "metadata.name", "a lowercase RFC 1123 subdomain must consist of"),
        ({"name": "a" * 254}, "metadata.name", "must be no more than 253 characters"),
        ({}, "metadata.name", "Required value: name or generateName is required"),
        ({"name": "a", "labels": {"-": "x"}}, "metadata.labels", "name part must consist of alphanumeric"),
        ({"name": "a", "labels": {"x": "y z"}}, "metadata.labels", "a valid label must be an empty string or"),
        ({"name": "a", "annotations": {"x": "y" * 300_000}}, "metadata.annotations", "may not be more than 262144"),
        ({"name": "a", "finalizers": ["x y"]}, "metadata.finalizers", "name part must consist of alphanumeric"),
        (
            {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": ""}]},
            "metadata.ownerReferences.uid",
            "must not be empty",
        ),
    ],
)
def test_invalid_metadata(ask: Asker, metadata: dict[str, Any], field: str, says: str) -> None:
    answer = ask("POST", CONFIG_MAPS, {**config_map(), "metadata": metadata}, status=422)
    assert answer["reason"] == "Invalid"
    assert any(cause["field"] == field and says in cause["message"] for cause in answer["details"]["causes"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"x"', 400),
        (b"\xff\xfe", 400),
        (b'{"kind":"Pod","apiVersion":"v1"}', 400),
        (b'{"kind":"ConfigMap","apiVersion":"v2"}', 400),
        (b'{"metadata":5}', 400),
        (b'{"metadata":{"name":5}}', 400),
        (b'{"metadata":{"name":"a","labels":[]}}', 400),
        (b'{"metadata":{"name":"a","namespace":"other"}}', 400),
        (b"[" * 100_000, 400),
        (b'{"data":' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b" " * (3 * 1024 * 1024 + 1), 413),
    ],
)
def test_malformed_bodies_get_a_status(ask: Asker, body: bytes, code: int) -> None:
    answer = ask("POST", CONFIG_MAPS, body, status=code)
    assert answer["kind"] == "Status"
    assert answer["message"]


def test_unknown_media_types_are_refused(ask: Asker) -> None:
    body = b"a=b"
    assert ask("POST", CONFIG_MAPS, body, headers={"content-type": "application/x-www-form-urlencoded"}, status=415)
    assert ask("GET", CONFIG_MAPS, headers={"accept": "application/vnd.kubernetes.protobuf"}, status=406)


def test_yaml_in_and_out(ask: Asker) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  when: '2026-01-01'\n  other: 'yes'\n"
    headers = {"content-type": "application/yaml", "accept": "application/yaml"}
    response = ask.raw("POST", CONFIG_MAPS, text, headers=headers)
    assert response.status == 201
    assert response.headers["content-type"] == "application/yaml"
    assert b"\nkind: ConfigMap\n" in b"\n" + response.body
    assert ask("GET", f"{CONFIG_MAPS}/a")["data"] == {"when": "2026-01-01", "other": "yes"}
    ask("POST", CONFIG_MAPS, b"a: &x [1]\nb: *x\n", headers={"content-type": "application/yaml"}, status=400)
    ask("POST", CONFIG_MAPS, b"a: [", headers={"content-type": "application/yaml"}, status=400)


def test_field_validation(ask: Asker) -> None:
    body = {**config_map(), "foo": 1}
    warned = ask.raw("POST", CONFIG_MAPS, body)
    assert warned.status == 201
    assert warned.warnings == ('unknown field "foo"',)
    assert (
        ask.raw("POST", CONFIG_MAPS, {**body, "metadata": {"name": "b"}}, query={"fieldValidation": "Ignore"}).warnings
        == ()
    )
    answer = ask("POST", CONFIG_MAPS, body, query={"fieldValidation": "Strict"}, status=400)
    assert 'strict decoding error: unknown field "foo"' in answer["message"]
    ask("POST", CONFIG_MAPS, body, query={"fieldValidation": "Loud"}, status=422)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/api/v1/nothings", False),
        ("/api/v1/namespaces/default/configmaps/a/status", False),
        ("/apis/nope/v1/x", True),
        ("/x", True),
    ],
)
def test_paths_that_do_not_exist(ask: Asker, path: str, text: bool) -> None:
    response = ask.raw("GET", path)
    assert response.status == 404
    # A version that is served answers with a Status.
    assert (response.body == b"404 page not found\n") is text
    assert text or b"the server could not find the requested resource" in response.body


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/namespaces/../secrets",
        "//api/v1",
        "/api/v1//",
        "/api/v1/namespaces/default/configmaps/a\0b",
        "/api/v1/namespaces/default/configmaps/%2e%2e",
        "",
        "/../../etc/passwd",
    ],
)
def test_path_tricks_are_answered(ask: Asker, path: str) -> None:
    assert ask.raw("GET", path).status in {200, 404}


def test_methods_that_a_resource_does_not_have(ask: Asker) -> None:
    assert ask("PUT", CONFIG_MAPS, config_map(), status=405)["reason"] == "MethodNotAllowed"
    assert ask("POST", f"{CONFIG_MAPS}/a", config_map(), status=405)["kind"] == "Status"
    assert ask("DELETE", "/api/v1/namespaces", status=405)["kind"] == "Status"


# Deletion


def test_delete_answers_success_with_details(ask: Asker) -> None:
    made = ask("POST", CONFIG_MAPS, config_map(), status=201)
    assert ask("DELETE", f"{CONFIG_MAPS}/a", status=200) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    }
    assert ask("DELETE", f"{CONFIG_MAPS}/a", status=404)["message"] == 'configmaps "a" not found'


def test_delete_preconditions(ask: Asker) -> None:
    made = ask("POST", CONFIG_MAPS, config_map(), status=201)
    answer = ask("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "x"}}, status=409)
    assert "the UID in the precondition (x) does not match the UID in record" in answer["message"]
    answer = ask("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"resourceVersion": "1"}}, status=409)
    assert "the ResourceVersion in the precondition (1) does not match" in answer["message"]
    good = {"preconditions": {key: made["metadata"][key] for key in ("uid", "resourceVersion")}}
    ask("DELETE", f"{CONFIG_MAPS}/a", good, status=200)


def test_finalizers_hold_an_object(ask: Asker) -> None:
    ask("POST", CONFIG_MAPS, config_map(finalizers=["example.com/hold"]), status=201)
    held = ask("DELETE", f"{CONFIG_MAPS}/a", status=200)
    assert held["kind"] == "ConfigMap"
    assert held["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:00Z"
    ask("DELETE", f"{CONFIG_MAPS}/a", status=200)
    more = {**held, "metadata": {**held["metadata"], "finalizers": ["example.com/hold", "example.com/more"]}}
    answer = ask("PUT", f"{CONFIG_MAPS}/a", more, status=422)
    assert "no new finalizers can be added if the object is being deleted" in answer["message"]
    held["metadata"].pop("finalizers")
    ask("PUT", f"{CONFIG_MAPS}/a", held, status=200)
    ask("GET", f"{CONFIG_MAPS}/a", status=404)


@pytest.mark.parametrize(("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")])
def test_propagation_policies_leave_their_finalizer(ask: Asker, policy: str, finalizer: str) -> None:
    ask("POST", CONFIG_MAPS, config_map(), status=201)
    held = ask("DELETE", f"{CONFIG_MAPS}/a", {"propagationPolicy": policy}, status=200)
    assert held["metadata"]["finalizers"] == [finalizer]
    ask("DELETE", f"{CONFIG_MAPS}/a", {"propagationPolicy": "Sideways"}, status=422)


def test_a_pod_on_a_node_is_deleted_gracefully(ask: Asker) -> None:
    ask("POST", PODS, pod(nodeName="n", terminationGracePeriodSeconds=20), status=201)
    going = ask("DELETE", f"{PODS}/p", status=200)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 20
    assert going["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:20Z"
    shorter = ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5}, status=200)
    assert shorter["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:05Z"
    longer = ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 50}, status=200)
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 5
    ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0}, status=200)
    ask("GET", f"{PODS}/p", status=404)


def test_a_pod_without_a_node_goes_at_once(ask: Asker) -> None:
    ask("POST", PODS, pod(), status=201)
    ask("DELETE", f"{PODS}/p", status=200)
    ask("GET", f"{PODS}/p", status=404)


def test_delete_collection_by_label(ask: Asker) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        ask("POST", CONFIG_MAPS, config_map(name, labels={"color": color}), status=201)
    gone = ask("DELETE", CONFIG_MAPS, query={"labelSelector": "color=red"}, status=200)
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
    assert [item["metadata"]["name"] for item in ask("GET", CONFIG_MAPS)["items"]] == ["b"]


# Custom resources


def test_a_definition_is_served_from_its_creation(ask: Asker) -> None:
    assert ask.raw("GET", WIDGETS).status == 404
    made = ask("POST", CRDS, definition(), status=201)
    assert {c["type"]: c["status"] for c in made["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    first = ask("POST", WIDGETS, {**widget(), "status": {"size": 9}}, status=201)
    assert first["spec"] == {"size": 2}
    assert "status" not in first
    assert first["metadata"]["generation"] == 1
    listed = ask("GET", WIDGETS, status=200)
    assert listed["kind"] == "WidgetList"
    assert listed["items"] == [first]
    ask("PUT", f"{WIDGETS}/w", widget(), status=422)


def test_status_and_spec_are_isolated(ask: Asker) -> None:
    ask("POST", CRDS, definition(), status=201)
    first = ask("POST", WIDGETS, widget(color="red"), status=201)
    both = {**first, "spec": {"size": 5}, "status": {"size": 1}}
    second = ask("PUT", f"{WIDGETS}/w/status", both, status=200)
    assert (second["spec"], second["status"]) == ({"size": 2, "color": "red"}, {"size": 1})
    assert second["metadata"]["generation"] == 1
    third = ask("PUT", f"{WIDGETS}/w", {**second, "spec": {"size": 5}, "status": {"size": 7}}, status=200)
    assert (third["spec"], third["status"]) == ({"size": 5}, {"size": 1})
    assert third["metadata"]["generation"] == 2


def test_scale(ask: Asker) -> None:
    ask("POST", CRDS, definition(), status=201)
    ask("POST", WIDGETS, widget(), status=201)
    scale = ask("GET", f"{WIDGETS}/w/scale", status=200)
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    scale["spec"]["replicas"] = 4
    assert ask("PUT", f"{WIDGETS}/w/scale", scale, status=200)["spec"] == {"replicas": 4}
    assert ask("GET", f"{WIDGETS}/w")["spec"]["size"] == 4
    scale["spec"]["replicas"] = -1
    ask("PUT", f"{WIDGETS}/w/scale", scale, status=422)


def test_schema_faults_are_422_with_causes(ask: Asker) -> None:
    ask("POST", CRDS, definition(), status=201)
    answer = ask("POST", WIDGETS, widget(size=0), status=422)
    assert answer["details"]["causes"][0]["field"] == "spec.size"
    assert "should be greater than or equal to 1" in answer["message"]


def test_deleting_a_definition_deletes_its_objects(ask: Asker) -> None:
    ask("POST", CRDS, definition(), status=201)
    held = ask("POST", WIDGETS, {**widget(), "metadata": {"name": "w", "finalizers": ["example.com/x"]}}, status=201)
    ask("POST", WIDGETS, widget("v"), status=201)
    ask("DELETE", f"{CRDS}/widgets.example.com", status=200)
    left = ask("GET", WIDGETS, status=200)["items"]
    assert [item["metadata"]["name"] for item in left] == ["w"]
    assert left[0]["metadata"]["deletionTimestamp"]
    assert ask("GET", f"{CRDS}/widgets.example.com", status=200)["metadata"]["finalizers"]
    left[0]["metadata"]["finalizers"] = []
    ask("PUT", f"{WIDGETS}/w", left[0], status=200)
    assert ask.raw("GET", WIDGETS).status == 404
    ask("GET", f"{CRDS}/widgets.example.com", status=404)
    assert held["metadata"]["uid"] == left[0]["metadata"]["uid"]


# Access


def test_who_asks_matters(ask: Asker) -> None:
    from pyoperator.apiserver import Credential, User

    nobody = Credential(user=User("eve"))
    answer = ask("GET", f"{CONFIG_MAPS}/a", credential=nobody, status=403)
    assert answer["message"] == (
        'configmaps "a" is forbidden: User "eve" cannot get resource "configmaps" in API group "" in the namespace "default"'
    )
    assert ask("GET", CONFIG_MAPS, credential=Credential(bearer_token="wrong"), status=401)["reason"] == "Unauthorized"
    assert ask.raw("GET", "/healthz", credential=Credential()).body == b"ok"


def test_an_internal_fault_is_a_status_and_no_exception(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(ask.server.operations, "create", broken)
    answer = ask("POST", CONFIG_MAPS, config_map(), status=500)
    assert answer["reason"] == "InternalError"
    assert "secret" not in answer["message"]


def test_version_and_health(ask: Asker) -> None:
    assert ask("GET", "/version")["gitVersion"].startswith("v1.36.")
    assert ask("GET", "/version")["gitVersion"].endswith("+pyoperator")
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        assert ask.raw("GET", path).body == b"ok"
    assert ask.raw("GET", "/readyz", query={"verbose": ""}).body.endswith(b"readyz check passed\n")
    ask("POST", "/version", status=405)


def test_a_patch_that_is_refused_halfway_leaves_nothing_behind(ask: Asker) -> None:
    before = ask("POST", CONFIG_MAPS, config_map(labels={"tier": "web"}) | {"data": {"a": "1"}}, status=201)
    operations = [
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "remove", "path": "/metadata/labels/tier"},
        {"op": "test", "path": "/data/a", "value": "1"},
    ]
    media = {"content-type": "application/json-patch+json"}
    ask("PATCH", f"{CONFIG_MAPS}/a", operations, headers=media, status=422)
    assert ask("GET", f"{CONFIG_MAPS}/a", status=200) == before
