"""kubectl, in every version at hand, against ``pyoperator apiserver`` with the example operator running beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "config/samples/database_v1_postgres.yaml"
SMALL = ROOT / "config/samples/database_v1_postgres_small.yaml"
OPERATOR = "import sys; from postgres_operator.main import main; sys.exit(main())"
KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(KUBECTL is None, reason="MISSING TOOL: kubectl: the embedded server was not tested against it"),
]


def versions() -> list[str]:
    """Return kubectl and its other versions installed beside it (kubectl.1.27, ...)."""
    if KUBECTL is None:
        return ["kubectl"]
    beside = Path(os.path.realpath(KUBECTL)).parent
    return [KUBECTL, *sorted(str(path) for path in beside.glob("kubectl.1.*") if os.access(path, os.X_OK))]


class Kubectl:
    """Run kubectl with a home of its own, so that nothing of the user's is read or cached."""

    def __init__(self, kubeconfig: str, home: Path, program: str = "kubectl") -> None:
        self.kubeconfig = kubeconfig
        self.program = program
        self._environ = {**os.environ, "KUBECONFIG": kubeconfig, "HOME": str(home), "KUBECACHEDIR": str(home / "cache")}

    def __call__(self, *arguments: str, given: str = "", code: int = 0, **environ: str) -> str:
        done = subprocess.run(
            [self.program, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**self._environ, **environ},
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        first, second = (done.stdout, done.stderr) if code == 0 else (done.stderr, done.stdout)
        return first or second

    def json(self, *arguments: str) -> dict[str, object]:
        answer: dict[str, object] = json.loads(self(*arguments, "-o", "json"))
        return answer


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyoperator", "apiserver", "--simulate-workloads", f"--kubeconfig-out={folder}/kc"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("kubeconfig: "), (folder / "log").read_text()
            yield line.removeprefix("kubeconfig: ").strip()
        finally:
            stop(process)


@pytest.fixture(scope="module")
def kubectl(server: str, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    run = Kubectl(server, tmp_path_factory.mktemp("home"))
    assert "postgreses.database.example.com created" in run("apply", "-f", str(ROOT / "config/crd/bases"))
    run("wait", "--for=condition=Established", "crd/postgreses.database.example.com", "--timeout=60s")
    return run


@pytest.fixture(scope="module")
def orders(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """The operator at work, and the sample Ready."""
    folder = tmp_path_factory.mktemp("operator")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                OPERATOR,
                f"--kubeconfig={kubectl.kubeconfig}",
                "--metrics-bind-address=0",
                "--health-probe-bind-address=0",
            ],
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            assert kubectl("apply", "-f", str(SAMPLE)) == "postgres.database.example.com/orders created\n"
            ready = kubectl("wait", "--for=condition=Ready", "postgres/orders", "--timeout=60s")
            assert ready == "postgres.database.example.com/orders condition met\n", (folder / "log").read_text()
            yield kubectl
        finally:
            stop(process)


@pytest.mark.parametrize("program", versions(), ids=lambda path: Path(path).name)
def test_every_version_validates_applies_explains_and_deletes(kubectl: Kubectl, program: str, tmp_path: Path) -> None:
    run = Kubectl(kubectl.kubeconfig, tmp_path, program)
    name = Path(program).name.replace(".", "-")
    manifest = yaml.safe_load(SMALL.read_text()) | {"metadata": {"name": name, "namespace": "kube-public"}}
    text = json.dumps(manifest)
    assert run("apply", "-f", "-", given=text) == f"postgres.database.example.com/{name} created\n"
    changed = text.replace('"1Gi"', '"2Gi"')
    assert "+    size: 2Gi" in run("diff", "-f", "-", given=changed, code=1).replace("+      size", "+    size")
    assert run("apply", "-f", "-", given=changed) == f"postgres.database.example.com/{name} configured\n"
    assert run("apply", "-f", "-", given=changed) == f"postgres.database.example.com/{name} unchanged\n"
    misspelt = json.dumps({**manifest, "spec": {**manifest["spec"], "versoin": "17"}})
    assert 'unknown field "spec.versoin"' in run("apply", "-f", "-", given=misspelt, code=1)
    refused = run("apply", "-f", "-", given=json.dumps({**manifest, "spec": {"version": "17"}}), code=1)
    assert "spec.storage" in refused
    unknown = json.dumps({"apiVersion": "example.com/v1", "kind": "Nothing", "metadata": {"name": "x"}})
    assert 'no matches for kind "Nothing" in version "example.com/v1"' in run("apply", "-f", "-", given=unknown, code=1)
    assert re.search(r"size\s+<Object> -required-", run("explain", "postgres.spec.storage"))
    assert re.search(r"FIELD: image <string>", run("explain", "pod.spec.containers.image"))
    gone = run("delete", "postgres", name, "-n", "kube-public", "--wait=false")
    assert gone.startswith(f'postgres.database.example.com "{name}" deleted')


def test_get_and_describe(orders: Kubectl) -> None:
    table = orders("get", "postgres").splitlines()
    assert table[0].split() == ["NAME", "VERSION", "INSTANCES", "READY", "STATUS", "AGE"]
    assert table[1].split()[:5] == ["orders", "17", "3", "3", "InstancesReady"]
    assert "orders-rw.default.svc:5432" in orders("get", "pg", "orders", "-o", "wide")
    assert orders("get", "postgres", "-o", "jsonpath={.items[0].status.readyInstances}") == "3"
    everything = orders("get", "statefulsets,pods,services,pvc,pdb,secrets,configmaps,endpointslices", "-o", "name")
    for wanted in (
        "statefulset.apps/orders",
        "pod/orders-2",
        "service/orders-rw",
        "persistentvolumeclaim/data-orders-0",
    ):
        assert f"{wanted}\n" in everything
    assert re.search(r"orders-0 +1/1 +Running +0 ", orders("get", "pods", "-o", "wide"))
    # The operator writes the event after the status that made the object Ready.
    looks = (orders("describe", "postgres", "orders") for _ in range(300))
    described = next(
        (text for text in looks if "InstancesReady " in text.partition("Events:")[2]), "never such an event"
    )
    assert "Ready Instances:         3" in described
    assert re.search(r"Normal +InstancesReady ", described), described
    assert re.search(r"Replicas: +3 desired \| 3 total", orders("describe", "statefulset", "orders"))
    assert re.search(r"Status: +Running", orders("describe", "pod", "orders-0"))
    assert "ClusterIP" in orders("describe", "service", "orders-rw")
    assert "InstancesReady" in orders("events", "--for", "postgres/orders")
    assert "3 of 3 instances are ready" in orders("get", "events", "--field-selector", "involvedObject.name=orders")


def test_rollout_and_logs(orders: Kubectl) -> None:
    assert "roll out complete" in orders("rollout", "status", "statefulset/orders", "--timeout=60s")
    assert "statefulset.apps/orders" in orders("rollout", "history", "statefulset/orders")
    assert "pods do not run" in orders("logs", "orders-0", code=1)
    assert "pods do not run" in orders("exec", "orders-0", "--", "true", code=1)


def test_scale_patch_and_edit(orders: Kubectl, tmp_path: Path) -> None:
    assert orders("scale", "postgres/orders", "--replicas=2") == "postgres.database.example.com/orders scaled\n"
    orders("wait", "--for=jsonpath={.status.readyInstances}=2", "postgres/orders", "--timeout=60s")
    orders("wait", "--for=delete", "pod/orders-2", "--timeout=60s")
    patch = '{"spec": {"parameters": {"work_mem": "8MB"}}}'
    assert "patched" in orders("patch", "postgres", "orders", "--type=merge", "-p", patch)
    assert "patched" in orders("patch", "sts", "orders", "-p", '{"metadata": {"labels": {"by": "hand"}}}')
    jsonpatch = '[{"op": "replace", "path": "/spec/parameters/work_mem", "value": "9MB"}]'
    assert "patched" in orders("patch", "pg", "orders", "--type=json", "-p", jsonpatch)
    version = ("get", "pg", "orders", "-o", "jsonpath={.metadata.resourceVersion}")
    for _ in range(50):  # kubectl compares with what it read before: the operator may write a status in between
        before, said = orders(*version), orders("patch", "pg", "orders", "--type=json", "-p", jsonpatch)
        if orders(*version) == before:
            break
    assert "(no change)" in said
    refused = orders("patch", "pg", "orders", "--type=merge", "-p", '{"spec": {"instances": 0}}', code=1)
    assert "spec.instances in body should be greater than or equal to 1" in refused
    strategic = orders("patch", "pg", "orders", "--type=strategic", "-p", patch, code=1)
    assert "application/merge-patch+json" in strategic or "UnsupportedMediaType" in strategic
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/9MB/10MB/' \"$1\"\n")
    editor.chmod(0o755)
    assert "orders edited" in orders("edit", "postgres", "orders", KUBE_EDITOR=str(editor))
    assert orders("get", "pg", "orders", "-o", "jsonpath={.spec.parameters.work_mem}") == "10MB"
    editor.write_text("#!/bin/sh\ntrue\n")
    assert "no changes made" in orders("edit", "postgres", "orders", KUBE_EDITOR=str(editor))


def test_drain_evicts_through_the_budget(orders: Kubectl) -> None:
    # On its own feet: a parallel run may give this test a server that no other one has touched.
    orders("scale", "postgres/orders", "--replicas=2")
    orders("wait", "--for=jsonpath={.status.instances}=2", "postgres/orders", "--timeout=60s")
    orders("wait", "--for=condition=Ready", "postgres/orders", "--timeout=60s")
    node = orders("get", "pod", "orders-0", "-o", "jsonpath={.spec.nodeName}")
    drained = orders("drain", node, "--timeout=60s", "--delete-emptydir-data")
    assert f"node/{node} drained" in drained
    assert orders("get", "node", node).split()[6] == "Ready,SchedulingDisabled"
    # Of the pod, not of the operator's status, which may still tell of the time before the drain.
    placed = ("get", "pod", "orders-0", "--ignore-not-found", "-o", "jsonpath={.spec.nodeName}")
    anew = next((name for _ in range(300) if (name := orders(*placed))), "")
    assert anew not in {"", node}
    orders("wait", "--for=condition=Ready", "pod/orders-0", "--timeout=60s")
    assert orders("uncordon", node) == f"node/{node} uncordoned\n"


def test_labels_and_annotations(kubectl: Kubectl) -> None:
    assert kubectl("create", "configmap", "notes", "--from-literal=k=v") == "configmap/notes created\n"
    assert kubectl("label", "cm", "notes", "team=a") == "configmap/notes labeled\n"
    assert "already has a value" in kubectl("label", "cm", "notes", "team=b", code=1)
    assert kubectl("get", "cm", "-l", "team in (a, b)", "-o", "name") == "configmap/notes\n"
    assert kubectl("label", "cm", "notes", "team-") == "configmap/notes unlabeled\n"
    assert kubectl("annotate", "cm", "notes", "why=not") == "configmap/notes annotated\n"
    replaced = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"k": "w"}})
    assert kubectl("replace", "-f", "-", given=replaced) == "configmap/notes replaced\n"
    assert kubectl("delete", "cm", "notes").startswith('configmap "notes" deleted')
    assert 'configmaps "notes" not found' in kubectl("get", "cm", "notes", code=1)


def test_access(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "postgreses") == "yes\n"
    assert kubectl("auth", "can-i", "get", "secrets", "--as=eve", code=1) == "no\n"
    assert "Username" in kubectl("auth", "whoami")
    forbidden = kubectl("get", "secrets", "--as=eve", code=1)
    assert 'User "eve" cannot list resource "secrets" in API group "" in the namespace "default"' in forbidden
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=secrets")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--user=eve")
    assert kubectl("auth", "can-i", "get", "secrets", "--as=eve") == "yes\n"
    assert re.search(r"secrets +\[\] +\[\] +\[get list\]", kubectl("auth", "can-i", "--list", "--as=eve"))
    kubectl("create", "serviceaccount", "robot")
    assert kubectl("create", "token", "robot").count(".") == 2


def test_discovery(kubectl: Kubectl) -> None:
    resources = kubectl("api-resources")
    assert re.search(r"postgreses +pg +database.example.com/v1 +true +Postgres", resources)
    assert re.search(r"statefulsets +sts +apps/v1 +true +StatefulSet", resources)
    assert "database.example.com/v1\n" in kubectl("api-versions")
    assert "is running at" in kubectl("cluster-info")
    assert "+pyoperator" in kubectl("version")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "the server doesn't have a resource type" in kubectl("get", "nothing", code=1)


def test_watch(kubectl: Kubectl) -> None:
    process = subprocess.Popen(
        [
            "kubectl",
            "get",
            "configmaps",
            "-w",
            "--no-headers",
            "--output-watch-events",
            "--field-selector=metadata.name=seen",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KUBECONFIG": kubectl.kubeconfig},
    )
    try:
        assert process.stdout is not None
        kubectl("create", "configmap", "seen")
        assert process.stdout.readline().split()[:3] == ["ADDED", "seen", "0"]
        kubectl("patch", "cm", "seen", "--type=merge", "-p", '{"data": {"k": "v"}}')
        assert process.stdout.readline().split()[:3] == ["MODIFIED", "seen", "1"]
        kubectl("delete", "cm", "seen")
        assert process.stdout.readline().split()[:2] == ["DELETED", "seen"]
    finally:
        stop(process)


def test_deleting_a_namespace_deletes_what_is_in_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "passing")
    kubectl("create", "configmap", "inside", "-n", "passing")
    assert kubectl("delete", "namespace", "passing", "--timeout=60s").startswith('namespace "passing" deleted')
    assert 'namespaces "passing" not found' in kubectl("get", "namespace", "passing", code=1)


def test_zz_deleting_the_sample_waits_for_its_finalizer(orders: Kubectl) -> None:
    deleted = orders("delete", "-f", str(SAMPLE), "--timeout=60s")
    assert deleted.startswith('postgres.database.example.com "orders" deleted')
    orders("wait", "--for=delete", "statefulset/orders", "--timeout=60s")
    assert 'postgreses.database.example.com "orders" not found' in orders("get", "postgres", "orders", code=1)
