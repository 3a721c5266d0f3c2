"""Whether a pattern is taken, in which words it is refused, and what it matches: all as Go's ``regexp`` answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyoperator.schema.patterns import PatternError, compile_pattern
from tests.schema.patterns.rows import ROWS

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "go_answers.json").read_text())


@pytest.mark.parametrize(("pattern", "texts", "said"), RECORDED["rows"])
def test_a_pattern_means_what_it_means_to_go(pattern: str, texts: int, said: str | list[int]) -> None:
    if isinstance(said, str):
        with pytest.raises(PatternError) as caught:
            compile_pattern(pattern)
        assert str(caught.value) == said
        return
    compiled = compile_pattern(pattern)
    found = {text: compiled.matches(text) for text in RECORDED["texts"][texts]}
    assert found == {text: bool(match) for text, match in zip(RECORDED["texts"][texts], said, strict=True)}


def test_the_table_is_the_one_that_go_was_asked() -> None:
    recorded = [(pattern, RECORDED["texts"][texts]) for pattern, texts, _ in RECORDED["rows"]]
    assert recorded == ROWS, "run scripts/pattern-answers"
    assert len({pattern for pattern, _ in ROWS}) > 800
