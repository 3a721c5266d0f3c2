"""Reading lab.yaml."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyoperator.objects import Scheme
from pyoperator.testing._judge import Child
from pyoperator.testing.lab import LabError, Project
from pyoperator.testing.lab._install import binding_of, in_namespace
from pyoperator.testing.lab._verdict import child_finder

EXAMPLE = Path(__file__).parents[3] / "examples" / "postgres-operator" / "lab.yaml"
MINIMAL: dict[str, Any] = {
    "name": "web-operator",
    "command": ["web-operator"],
    "lease": {"namespace": "web-system", "name": "web.example.com"},
    "resource": {"apiVersion": "example.com/v1", "kind": "Web", "plural": "webs"},
    "load": {
        "object": {"apiVersion": "example.com/v1", "kind": "Web", "metadata": {"name": "web-{number}"}},
        "change": {"spec": {"texts": ["number {number}"], "replicas": 2}},
    },
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "lab.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


def test_the_example_names_files_that_exist() -> None:
    project = Project.read(EXAMPLE)
    assert [crd.name for crd in project.manifests("crds")] == ["postgreses.database.example.com"]
    assert {role.gvk.kind for role in project.manifests("rbac")} == {"Role", "ClusterRole"}
    assert len(project.manifests("samples")) >= 2


def test_the_load_counts_up() -> None:
    load = Project.model_validate(MINIMAL).load
    assert load.make(3).name == "web-3"
    assert load.change_to(7) == {"spec": {"texts": ["number 7"], "replicas": 2}}


def test_objects_of_the_kind_get_a_namespace() -> None:
    project = Project.model_validate(MINIMAL)
    assert in_namespace(project.load.make(1), project).namespace == "default"
    named = project.load.make(1)
    named.metadata["namespace"] = "other"
    assert in_namespace(named, project).namespace == "other"


def test_each_role_is_bound_to_all_replicas(tmp_path: Path) -> None:
    (tmp_path / "role.yaml").write_text(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: leases, namespace: web-system}\n---\n"
    )
    (role,) = Project.read(write(tmp_path, rbac=["role.yaml"])).manifests("rbac")
    binding = binding_of(role)
    assert (binding.gvk.kind, binding.namespace, binding["roleRef"]["name"]) == ("RoleBinding", "web-system", "leases")
    assert binding["subjects"][0]["name"] == "lab:replicas"


def test_a_child_is_known_by_its_name() -> None:
    find = child_finder(Project.read(EXAMPLE), Scheme())
    assert find("services", "default", "orders-rw") == Child("postgreses/default/orders", "services/rw")
    assert find("statefulsets", "default", "orders") == Child("postgreses/default/orders", "statefulsets/instances")
    assert find("configmaps", "default", "kube-root-ca.crt") is None
    assert find("pods", "default", "orders-0") is None


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no project file .*give --project FILE"):
        Project.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "teaches"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must be a mapping"),
        ("\xff", "must be a mapping"),
        (yaml.safe_dump({**MINIMAL, "resorce": {}}), "resorce: Extra inputs"),
        (yaml.safe_dump({**MINIMAL, "command": []}), "command: Tuple should have at least 1 item"),
        (yaml.safe_dump({key: value for key, value in MINIMAL.items() if key != "lease"}), "lease: Field required"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, teaches: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    with pytest.raises(LabError, match=teaches) as caught:
        Project.read(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_wrong_are_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"crds: no file matches .*make manifests"):
        Project.read(write(tmp_path, crds=["*.crd"])).manifests("crds")
    (tmp_path / "sample").write_text("just: text")
    with pytest.raises(LabError, match="needs apiVersion and kind"):
        Project.read(write(tmp_path, samples=["sample"])).manifests("samples")


def test_a_kustomization_beside_the_manifests_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n")
    (tmp_path / "web.yaml").write_text("apiVersion: example.com/v1\nkind: Web\nmetadata: {name: one}\n---\n---\n")
    project = Project.read(write(tmp_path, samples=["*web.yaml", "kust*.yaml"]))
    assert [sample.name for sample in project.manifests("samples")] == ["one"]


def test_the_program_is_found_beside_python_then_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path(sys.executable).name
    beside = Project.model_validate({**MINIMAL, "command": [python, "-V"]})
    assert beside.program() == [str(Path(sys.executable).parent / python), "-V"]
    tool = tmp_path / "web-operator"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert Project.model_validate(MINIMAL).program() == [str(tool)]


def test_a_program_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match=r"web-operator is not installed.*pip install"):
        Project.model_validate(MINIMAL).program()
