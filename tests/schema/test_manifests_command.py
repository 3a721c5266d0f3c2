from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from pyoperator.cli._manifests import manifests
from pyoperator.schema import crd_manifest
from tests.schema.test_structural_schema import Thing, ThingBeta

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "tests.schema.test_structural_schema"


def test_written_and_checked(tmp_path: Path) -> None:
    run = CliRunner().invoke(manifests, [MODULE, "--output-dir", str(tmp_path)])
    assert run.exit_code == 0, run.output
    file = tmp_path / "example.com_things.yaml"
    text = file.read_text()
    assert yaml.safe_load(text) == crd_manifest(Thing, ThingBeta)
    assert "&id" not in text
    assert CliRunner().invoke(manifests, [MODULE, "--output-dir", str(tmp_path), "--check"]).exit_code == 0
    assert "unchanged" in CliRunner().invoke(manifests, [MODULE, "--output-dir", str(tmp_path)]).output


def test_drift(tmp_path: Path) -> None:
    arguments = [f"{MODULE}:Thing", "--output-dir", str(tmp_path), "--check"]
    run = CliRunner().invoke(manifests, arguments)
    assert run.exit_code == 1
    assert "is out of date: run pyoperator manifests" in run.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no.such.module", "can't be imported"),
        (f"{MODULE}:Storage", "is not a CustomResource class"),
        (f"{MODULE}:Nope", "is not a CustomResource class"),
        ("tests.support", "has no CustomResource classes"),
        (f"{MODULE}:ThingBeta", "exactly one version"),
    ],
)
def test_bad_sources(source: str, message: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(manifests, [source, "--output-dir", str(tmp_path)])
    assert run.exit_code == 2
    assert message in run.output


def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """Write a module of a name that no other test has, below the current directory."""
    name = f"module_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    (tmp_path / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\nraise ValueError('no')\n", "raised ValueError while it was imported ({file}, line 2): no"),
        ("import json\njson.loads('x')\n", "raised JSONDecodeError while it was imported ({file}, line 2): "),
        ("import sys\nsys.exit(1)\n", "raised SystemExit while it was imported ({file}, line 2): 1"),
        (
            "import no_such_module_at_all\n",
            "raised ModuleNotFoundError while it was imported ({file}, line 1): No module",
        ),
        ("from json import nope\n", "raised ImportError while it was imported ({file}, line 1): cannot import"),
        ("x = (\n", "raised SyntaxError while it was imported ({file}, line 1): "),
        ("raise KeyboardInterrupt\n", None),
    ],
)
def test_a_module_that_raises_is_no_difference(
    text: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _module(tmp_path, monkeypatch, text)
    run = CliRunner().invoke(manifests, [name, "--check"])
    if told is None:
        assert run.exit_code not in (0, 2)  # Ctrl-C is not the module's
        return
    assert run.exit_code == 2
    assert f"{name} {told.format(file=tmp_path / f'{name}.py')}" in run.output


@pytest.mark.parametrize(
    ("path", "module"),
    [("./x.py", "x"), ("x.py", "x"), ("api/v1.py", "api.v1"), ("/tmp/x.py", "x"), ("./api/v1", "api.v1")],
)
def test_a_path_is_told_as_a_module(path: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(manifests, [path])
    assert run.exit_code == 2
    assert f"(pyoperator manifests {module})" in run.output


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ('group="acme", version="v1"', 'spec.group: Invalid value: "acme": should be a domain with at least one dot'),
        ('group="example.com", version="1.0"', 'spec.versions[0].name: Invalid value: "1.0"'),
        ('group="example.com", version="v1", plural="Things"', 'spec.names.plural: Invalid value: "Things"'),
        ('group="example.com", version="v1", short_names=("T",)', 'spec.names.shortNames[0]: Invalid value: "T"'),
        ('group="x.k8s.io", version="v1"', "protected groups must have approval annotation"),
        ('group="example.com", version="v1", selectable_fields=(".spec.x",)', "does not refer to a valid field"),
        (
            'group="example.com", version="v1", scale_paths=("spec.x", ".status.y", "")',
            "should be a json path under .spec",
        ),
        (
            'group="example.com", version="v1", printer_columns=(PrinterColumn("X", "integer", ".spec.x", format="int9"),)',
            'spec.additionalPrinterColumns[0].format: Invalid value: "int9"',
        ),
    ],
)
def test_what_no_server_would_take_is_not_written(
    options: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = "from pyoperator.objects import CustomResource, PrinterColumn\n"
    name = _module(tmp_path, monkeypatch, f"{imports}class Thing(CustomResource, {options}):\n    pass\n")
    run = CliRunner().invoke(manifests, [name, "--output-dir", "out"])
    assert run.exit_code == 2, run.output
    assert f"no API server would take the CRD of {name}.Thing:" in run.output
    assert fault in run.output
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = CliRunner().invoke(manifests, [MODULE, "--output-dir", str(tmp_path / "file" / "below")])
    assert run.exit_code == 2
    assert "can't be written" in run.output
    assert "--output-dir" in run.output
