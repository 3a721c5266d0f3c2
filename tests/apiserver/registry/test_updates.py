"""What an update may change, what it keeps, and when it counts as a new generation; verified on kube-apiserver 1.36."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.apiserver.registry import Registry, WriteContext
from pyoperator.clock import Randomness
from tests.apiserver.registry.support import CONTEXT, create, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

APPS = "/apis/apps/v1/namespaces/default/"
CORE = "/api/v1/namespaces/default/"
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
WORKLOAD_SPEC: dict[str, Any] = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
WORKLOAD = {"metadata": {"name": "w"}, "spec": WORKLOAD_SPEC}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
STATEFUL = {"metadata": {"name": "w"}, "spec": {**WORKLOAD_SPEC, "serviceName": "s", "volumeClaimTemplates": [CLAIM]}}
SERVICE = {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}


def change(
    path: str, obj: dict[str, Any], edit: Callable[[dict[str, Any]], Any]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Create ``obj``, edit it, and return the old object, the new one and the faults."""
    kind = kind_of(Registry(), path)
    status, old = create(kind, obj)
    assert status == 201, old
    new = copy.deepcopy(old)
    edit(new)
    new = kind.prepare_update(new, old, CONTEXT)
    return old, new, [str(fault) for fault in kind.validate(new, old)]


def test_stateful_set_replicas_count_as_a_generation() -> None:
    _, new, faults = change(APPS + "statefulsets", STATEFUL, lambda obj: obj["spec"].update(replicas=3))
    assert faults == []
    assert new["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: spec.update(serviceName="zz"),
        lambda spec: spec.update(podManagementPolicy="Parallel"),
        lambda spec: spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"].update(storage="2Gi"),
    ],
)
def test_stateful_set_fixed_fields(edit: Callable[[dict[str, Any]], Any]) -> None:
    _, _, faults = change(APPS + "statefulsets", STATEFUL, lambda obj: edit(obj["spec"]))
    assert faults == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    ]


def test_labels_are_no_generation() -> None:
    _, new, _ = change(APPS + "statefulsets", STATEFUL, lambda obj: obj["metadata"].update(labels={"q": "r"}))
    assert new["metadata"]["generation"] == 1


def test_annotations_of_a_deployment_are() -> None:
    _, new, _ = change(APPS + "deployments", WORKLOAD, lambda obj: obj["metadata"].update(annotations={"q": "r"}))
    assert new["metadata"]["generation"] == 2


def test_the_client_does_not_set_generation_or_status() -> None:
    def edit(obj: dict[str, Any]) -> None:
        obj["metadata"]["generation"] = 55
        obj["status"] = {"replicas": 9}

    old, new, _ = change(APPS + "deployments", WORKLOAD, edit)
    assert new["metadata"]["generation"] == 1
    assert new["status"] == old["status"] == {}


def test_selector_is_immutable() -> None:
    _, _, faults = change(
        APPS + "deployments",
        WORKLOAD,
        lambda obj: obj["spec"].update(selector={"matchLabels": {"a": "b", "x": "y"}}),
    )
    assert faults == [
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
        'spec.selector: Invalid value: {"matchLabels":{"a":"b","x":"y"}}: field is immutable',
    ]


def test_service_keeps_its_address() -> None:
    def edit(obj: dict[str, Any]) -> None:
        del obj["spec"]["clusterIP"]
        del obj["spec"]["clusterIPs"]

    old, new, faults = change(CORE + "services", SERVICE, edit)
    assert new == old
    assert faults == []


def test_service_address_is_immutable() -> None:
    _, _, faults = change(CORE + "services", SERVICE, lambda obj: obj["spec"].update(clusterIP="10.96.0.9"))
    assert faults == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set']


def test_service_types_bring_and_take_node_ports() -> None:
    _, port, faults = change(CORE + "services", SERVICE, lambda obj: obj["spec"].update(type="NodePort"))
    assert faults == []
    assert port["spec"]["ports"][0]["nodePort"] in range(30000, 32768)
    assert port["spec"]["externalTrafficPolicy"] == "Cluster"
    kind = kind_of(Registry(), CORE + "services")
    back = copy.deepcopy(port)
    back["spec"]["type"] = "ClusterIP"
    back = kind.prepare_update(back, port, CONTEXT)
    assert "nodePort" not in back["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in back["spec"]
    assert kind.validate(back, port) == []


def test_addresses_are_repeatable_and_not_given_twice() -> None:
    kind = kind_of(Registry(), CORE + "services")
    taken: set[str] = set()
    context = WriteContext(now=0, random=Randomness(1), taken=lambda address: address in taken)
    first = kind.prepare_create(copy.deepcopy(SERVICE), context)["spec"]["clusterIP"]
    assert kind.prepare_create(copy.deepcopy(SERVICE), context)["spec"]["clusterIP"] == first
    taken.add(first)
    assert kind.prepare_create(copy.deepcopy(SERVICE), context)["spec"]["clusterIP"] != first


def test_claims_grow_only_when_bound() -> None:
    grow = {"storage": "2Gi"}
    path = CORE + "persistentvolumeclaims"
    _, _, faults = change(path, CLAIM, lambda obj: obj["spec"]["resources"]["requests"].update(grow))
    assert faults[0].startswith("spec: Forbidden: spec is immutable after creation except resources.requests")
    kind = kind_of(Registry(), path)
    _, old = create(kind, CLAIM)
    old["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    for size, wanted in (("2Gi", []), ("500Mi", ["spec.resources.requests.storage"])):
        new = copy.deepcopy(old)
        new["spec"]["resources"]["requests"]["storage"] = size
        new = kind.prepare_update(new, old, CONTEXT)
        assert [fault.field for fault in kind.validate(new, old)] == wanted


@pytest.mark.parametrize(
    ("path", "obj", "edit", "wanted"),
    [
        (CORE + "secrets", {"metadata": {"name": "s"}}, {"type": "x"}, ['type: Invalid value: "x": field is immutable']),
        (CORE + "secrets", {"metadata": {"name": "s"}, "immutable": True}, {"data": {"a": "eQ=="}}, ["data: Forbidden: field is immutable when `immutable` is set"]),
        (CORE + "configmaps", {"metadata": {"name": "s"}, "immutable": True}, {"immutable": False}, ["immutable: Forbidden: field is immutable when `immutable` is set"]),
        ("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {"metadata": {"name": "s"}, "roleRef": {"kind": "Role", "name": "r"}}, {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "zz"}}, ['roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"zz"}: cannot change roleRef']),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "s"}, "value": 1}, {"value": 5}, ["value: Forbidden: may not be changed in an update."]),
    ],
)  # fmt: skip
def test_fixed_fields(path: str, obj: dict[str, Any], edit: dict[str, Any], wanted: list[str]) -> None:
    assert change(path, obj, lambda new: new.update(edit))[2] == wanted


def test_namespace_finalizers_and_name_label_are_the_servers() -> None:
    def edit(obj: dict[str, Any]) -> None:
        obj["spec"]["finalizers"] = ["a/b"]
        obj["metadata"]["labels"] = {}

    old, new, _ = change("/api/v1/namespaces", {"metadata": {"name": "n"}}, edit)
    assert new == old
    assert new["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}


def test_pods_change_only_images_and_a_little_more() -> None:
    pod = {"metadata": {"name": "p"}, "spec": TEMPLATE["spec"]}
    container = "containers"
    _, new, faults = change(CORE + "pods", pod, lambda obj: obj["spec"][container][0].update(image="y"))
    assert (faults, new["metadata"]["generation"]) == ([], 2)
    _, _, faults = change(CORE + "pods", pod, lambda obj: obj["spec"][container][0].update(command=["y"]))
    assert faults[0].startswith("spec: Forbidden: pod updates may not change fields other than")
    _, _, faults = change(CORE + "pods", pod, lambda obj: obj["spec"][container].append({"name": "d", "image": "x"}))
    assert faults == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


def test_status_writes_touch_nothing_else() -> None:
    kind = kind_of(Registry(), APPS + "statefulsets")
    _, old = create(kind, STATEFUL)
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 7
    new["metadata"]["annotations"] = {"q": "r"}
    new["status"] = {"observedGeneration": 1, "replicas": 2, "readyReplicas": 1}
    result = kind.prepare_status_update(new, old, CONTEXT)
    assert result["spec"] == old["spec"]
    assert result["metadata"]["generation"] == 1
    assert result["metadata"]["annotations"] == {"q": "r"}
    assert result["status"] == {"observedGeneration": 1, "replicas": 2, "readyReplicas": 1, "availableReplicas": 0}
    new["status"]["readyReplicas"] = 5
    bad = kind.prepare_status_update(new, old, CONTEXT)
    assert [str(fault) for fault in kind.validate(bad, old)] == [
        "status.readyReplicas: Invalid value: 5: cannot be greater than status.replicas"
    ]
