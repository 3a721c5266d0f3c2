from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.schema.patterns import Pattern, PatternError, PatternTooCostlyError, _automaton, compile_pattern
from tests.schema.patterns.random_rows import BROKEN, random_row


def test_an_error_says_what_and_where() -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern("^(?!kube-)")
    assert str(caught.value) == "error parsing regexp: invalid or unsupported Perl syntax: `(?!`"
    assert caught.value.reason == "invalid or unsupported Perl syntax"
    assert caught.value.expression == "(?!"


def read(pattern: str) -> Pattern | PatternError:
    try:
        return Pattern(pattern)
    except PatternError as error:
        return error


@given(st.text(st.sampled_from("a(){}[]|*+?^$\\.-:,0123i<>P&!Qpxé\n\ud800")), st.text(max_size=20))
def test_any_text_is_a_pattern_or_an_error(pattern: str, text: str) -> None:
    compiled = read(pattern)
    if isinstance(compiled, PatternError):
        assert str(compiled).startswith("error parsing regexp: ")
    else:
        assert compiled.matches(text) in (True, False)


@given(st.lists(st.sampled_from(BROKEN), max_size=8).map("".join))
def test_fragments_of_grammar_are_a_pattern_or_an_error_in_them(pattern: str) -> None:
    compiled = read(pattern)
    if isinstance(compiled, PatternError):
        assert compiled.expression in pattern
    else:
        assert compiled.matches(pattern) in (True, False)


@given(st.text(max_size=30), st.text(max_size=5), st.text(max_size=5))
def test_what_is_quoted_matches_itself(text: str, before: str, after: str) -> None:
    quoted = Pattern("".join(f"\\{char}" if char.isascii() and not char.isalnum() else char for char in text))
    assert quoted.matches(before + text + after)


@pytest.mark.parametrize("seed", range(200))
def test_what_is_remembered_changes_no_answer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, texts = random_row(random.Random(seed))
    compiled = read(pattern)
    if isinstance(compiled, PatternError):
        return
    texts.append("".join(texts))
    fresh = [Pattern(pattern).matches(text) for text in texts]
    assert [compiled.matches(text) for text in texts] == fresh
    assert [compiled.matches(text) for text in texts] == fresh
    monkeypatch.setattr(_automaton, "_MOST_KEPT", 3)
    forgetful = Pattern(pattern)
    assert [forgetful.matches(text) for text in texts] == fresh


def test_a_lone_surrogate_is_the_replacement_character() -> None:
    assert Pattern("^\ufffd$").matches("\ud800")
    assert Pattern("^\ud800$").matches("\ufffd")
    assert not Pattern(r"[\x{D800}-\x{DFFF}]").matches("\ud800")


def test_patterns_nest_as_deeply_as_go_lets_them() -> None:
    assert Pattern("(" * 999 + "a" + ")" * 999).matches("a")
    with pytest.raises(PatternError, match="expression nests too deeply"):
        Pattern("(" * 1000 + "a" + ")" * 1000)
    assert Pattern("(?:" * 5000 + "a" + ")" * 5000).matches("a")


def test_patterns_are_as_large_as_go_lets_them() -> None:
    with pytest.raises(PatternError, match="expression too large"):
        Pattern(f"(?:{'x' * 3400}){{1000}}")


def test_repetitions_are_not_written_out_in_advance() -> None:
    pattern = Pattern(f"^(?:{'x' * 100}){{0,1000}}$")
    assert pattern.matches("x" * 300)
    assert not pattern.matches("x" * 301)


def test_steps_grow_with_the_text_and_not_with_the_ways_through_it() -> None:
    # Some thousand ways to cut the text into pieces, all of them in vain: steps are counted, no clock is read.
    pattern = Pattern("^(a|aa)*$")
    assert not pattern.matches("a" * 16 + "b")
    assert pattern._automaton is not None
    assert pattern._automaton._steps < 200


def test_a_text_that_would_keep_a_server_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_automaton, "_MOST_STEPS", 1000)
    with pytest.raises(PatternTooCostlyError, match="write fewer repetitions inside repetitions"):
        Pattern("^(a?b?c?){100}$").matches("abc" * 50)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_automaton, "_MOST_KEPT", 500)
    pattern = Pattern("(a|b)*a(a|b){10}$")
    source = random.Random(7)
    for _ in range(20):
        pattern.matches("".join(source.choice("ab") for _ in range(200)))
    assert pattern._automaton is not None
    assert len(pattern._automaton._states) < 100
    letters = Pattern(".")
    for code in range(0x4E00, 0x4E00 + 2000):
        assert letters.matches(chr(code))
    assert letters._automaton is not None
    assert letters._automaton._kept < 2000


def test_most_patterns_need_no_unicode_tables() -> None:
    code = (
        "from pyoperator.schema.patterns import _code_points, compile_pattern\n"
        "assert compile_pattern(r'(?i)^[a-z]\\w*\\d$').matches('Ab1')\n"
        "print(_code_points._tables.cache_info().currsize)\n"
        "assert compile_pattern(r'\\pL').matches('é')\n"
        "print(_code_points._tables.cache_info().currsize)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["0", "1"]
