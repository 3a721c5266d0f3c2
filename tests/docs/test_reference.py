"""The configuration reference says what the code says."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(name="script", scope="module")
def _script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("reference", str(ROOT / "scripts/reference"))
    spec = importlib.util.spec_from_loader("reference", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(script: ModuleType) -> None:
    written = (ROOT / "docs/reference/configuration.md").read_text("utf-8")
    assert written == script.render(), "run: .venv/bin/python scripts/reference"


def test_every_option_and_flag_is_there(script: ModuleType) -> None:
    text = script.render()
    for name in ("`drain_delay`", "`stuck_after`", "`--leader-elect`", "`POSTGRES_OPERATOR_LEASE_DURATION`"):
        assert name in text
    for heading in ("### pyoperator apiserver", "### pyoperator lab demo", "### pyoperator manifests"):
        assert heading in text
    assert "| 3 | leadership lost |" in text
    assert "`controller_runtime_reconcile_total`" in text
