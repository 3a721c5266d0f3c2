from __future__ import annotations

from pyoperator.objects import GroupVersionKind
from tests.apiserver.controllers.support import NAMESPACE, Object, cluster, owner
from tests.support import run_virtual

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
NAMESPACES = GroupVersionKind("", "v1", "Namespace")
CLUSTER_ROLE = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole")
DEFINITION = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
WIDGET = GroupVersionKind("example.com", "v1", "Widget")


def owned_by(*owners: Object) -> Object:
    return {"ownerReferences": list(owners)}


def test_background_deletion_takes_the_whole_tree() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            root = made.make(CONFIG_MAP, "root")
            child = made.make(CONFIG_MAP, "child", metadata=owned_by(owner(root)))
            made.make(CONFIG_MAP, "grandchild", metadata=owned_by(owner(child)))
            made.make(CONFIG_MAP, "stranger")
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == ["child", "grandchild", "root", "stranger"]
            made.client.delete(CONFIG_MAP, NAMESPACE, "root")
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == ["stranger"]

    run_virtual(main)


def test_foreground_deletion_waits_for_blocking_dependents() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            root = made.make(CONFIG_MAP, "root")
            held = {**owned_by(owner(root, block=True)), "finalizers": ["example.com/hold"]}
            made.make(CONFIG_MAP, "held", metadata=held)
            made.make(CONFIG_MAP, "free", metadata=owned_by(owner(root)))
            made.client.delete(CONFIG_MAP, NAMESPACE, "root", propagation="Foreground")
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == ["held", "root"]
            assert made.get(CONFIG_MAP, "held")["metadata"]["deletionTimestamp"]
            made.change(CONFIG_MAP, "held", lambda obj: obj["metadata"].pop("finalizers"))
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == []

    run_virtual(main)


def test_orphans_lose_the_reference_and_live() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            root = made.make(CONFIG_MAP, "root")
            made.make(CONFIG_MAP, "child", metadata=owned_by(owner(root)))
            made.client.delete(CONFIG_MAP, NAMESPACE, "root", propagation="Orphan")
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == ["child"]
            assert "ownerReferences" not in made.get(CONFIG_MAP, "child")["metadata"]

    run_virtual(main)


def test_one_living_owner_is_enough() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            one, two = made.make(CONFIG_MAP, "one"), made.make(CONFIG_MAP, "two")
            made.make(CONFIG_MAP, "child", metadata=owned_by(owner(one), owner(two)))
            made.client.delete(CONFIG_MAP, NAMESPACE, "one")
            await made.settle()
            references = made.get(CONFIG_MAP, "child")["metadata"]["ownerReferences"]
            assert [reference["name"] for reference in references] == ["two"]

    run_virtual(main)


def test_an_owner_of_another_uid_or_namespace_is_absent() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            made.make(NAMESPACES, "other", "")
            far = made.make(CONFIG_MAP, "far", "other")
            near = made.make(CONFIG_MAP, "near")
            made.make(CONFIG_MAP, "wrong-uid", metadata=owned_by({**owner(near), "uid": "someone-else"}))
            made.make(CONFIG_MAP, "wrong-namespace", metadata=owned_by(owner(far)))
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == ["near"]

    run_virtual(main)


def test_cluster_scoped_owners() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            role = made.make(CLUSTER_ROLE, "r", "", rules=[])
            made.make(CONFIG_MAP, "child", metadata=owned_by(owner(role)))
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == ["child"]
            made.client.delete(CLUSTER_ROLE, "", "r")
            await made.settle()
            assert made.names(CONFIG_MAP, NAMESPACE) == []

    run_virtual(main)


def test_an_owner_of_a_kind_that_is_not_served_is_unknown_not_absent() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            gone = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u"}
            made.make(CONFIG_MAP, "child", metadata=owned_by(gone))
            await made.settle(60)
            assert made.names(CONFIG_MAP, NAMESPACE) == ["child"]

    run_virtual(main)


def test_a_namespace_is_emptied_and_goes() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            made.make(NAMESPACES, "x", "")
            made.make(CONFIG_MAP, "free", "x")
            made.make(CONFIG_MAP, "held", "x", metadata={"finalizers": ["example.com/hold"]})
            made.client.delete(NAMESPACES, "", "x")
            await made.settle()
            assert made.names(CONFIG_MAP, "x") == ["held"]
            status = made.get(NAMESPACES, "x", "")["status"]
            assert status["phase"] == "Terminating"
            held = {entry["type"]: entry["message"] for entry in status["conditions"]}
            assert "example.com/hold in 1 resource instances" in held["NamespaceFinalizersRemaining"]
            made.change(CONFIG_MAP, "held", lambda obj: obj["metadata"].pop("finalizers"), "x")
            await made.settle()
            assert made.client.get(NAMESPACES, "", "x") is None

    run_virtual(main)


def definition() -> Object:
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def test_a_definition_takes_its_objects_along() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            made.client.create(definition())
            widget = made.make(WIDGET, "w", metadata={"finalizers": ["example.com/hold"]})
            made.make(CONFIG_MAP, "child", metadata=owned_by(owner(widget)))
            made.make(WIDGET, "free")
            await made.settle()
            made.client.delete(DEFINITION, "", "widgets.example.com")
            await made.settle()
            assert made.names(WIDGET) == ["w"]
            made.change(WIDGET, "w", lambda obj: obj["metadata"].pop("finalizers"))
            await made.settle()
            assert made.client.get(DEFINITION, "", "widgets.example.com") is None
            assert made.names(CONFIG_MAP, NAMESPACE) == []

    run_virtual(main)


def test_cluster_roles_are_aggregated_into_objects() -> None:
    async def main() -> None:
        async with cluster(simulate=False) as made:
            label = {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}
            rule = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]}
            made.make(CLUSTER_ROLE, "widgets", "", metadata=label, rules=[rule])
            await made.settle()
            for name in ("view", "edit", "admin"):
                assert rule in made.get(CLUSTER_ROLE, name, "")["rules"]

    run_virtual(main)
