"""What can't work says so in one line, with exit code 2, and leaves nothing running."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from pyoperator.cli import main
from tests.e2e.support import PROJECT, SHORT_LEASE, processes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the lab a temporary directory of its own, and look at the end whether anything is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    if Path("/proc").exists():
        assert processes_of(folder) == []


def changed(folder: Path, **changes: Any) -> Path:
    """Write the example's project with other values, and with full paths."""
    document = yaml.safe_load(PROJECT.read_text())
    for what in ("crds", "rbac", "manager", "samples"):
        document[what] = [str(PROJECT.parent / pattern) for pattern in document[what]]
    path = folder / "lab.yaml"
    path.write_text(yaml.safe_dump({**document, **changes}))
    return path


@pytest.mark.parametrize("command", ["run", "demo"])
@pytest.mark.parametrize(
    ("arguments", "teaches"),
    [
        (["--project=/nowhere/lab.yaml"], "no project file /nowhere/lab.yaml: give --project FILE"),
        ([f"--project={PROJECT}", "--lease-duration=soon"], "'soon' is not a duration: write it as"),
        ([f"--project={PROJECT}", "--lease-duration=10"], "must be greater than renew deadline"),
        ([f"--project={PROJECT}", "--replicas=0"], "at least 1"),
    ],
)
def test_wrong_arguments(command: str, arguments: list[str], teaches: str) -> None:
    result = CliRunner().invoke(main, ["lab", command, *arguments])
    assert result.exit_code == 2
    assert teaches in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "teaches"),
    [
        ({"command": ["no-such-operator"]}, "no-such-operator is not installed"),
        ({"crds": ["*.crd"]}, "no file matches"),
        # These two start the server: what is wrong shows only then.
        ({"command": ["postgres-operator", "--bogus"]}, "refused to run (exit code 2): Error: No such option"),
        (
            {"samples": ["sample.yaml"]},
            "Postgres default/broken can't be created: ",
        ),
    ],
)
def test_wrong_projects(tmp_path: Path, changes: dict[str, Any], teaches: str) -> None:
    (tmp_path / "sample.yaml").write_text(
        "apiVersion: database.example.com/v1\nkind: Postgres\nmetadata: {name: broken}\nspec: {version: '3'}\n"
    )
    project = changed(tmp_path, **changes)
    result = CliRunner().invoke(main, ["lab", "run", f"--project={project}", "--replicas=1", *SHORT_LEASE])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("pyoperator lab run: ")
    assert teaches in line
