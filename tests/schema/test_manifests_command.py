from __future__ import annotations

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
