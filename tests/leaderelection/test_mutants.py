"""The table of mutants stays one of this code: each still finds the line that it breaks."""

from __future__ import annotations

import pytest

from tests.leaderelection.mutants import MUTANTS, ROOT, Mutant

MUTANTS_FILE = "tests/leaderelection/mutants.py"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"rule {mutant.rule}: {mutant.broken}")
def test_the_line_is_there_once(mutant: Mutant) -> None:
    source = (ROOT / "pyoperator" / mutant.file).read_text("utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.file} has changed: adapt this mutant in {MUTANTS_FILE}"
    assert mutant.old != mutant.new
    assert mutant.tests


def test_every_rule_is_broken() -> None:
    assert {mutant.rule for mutant in MUTANTS} == {"lock", *"123456789"}
