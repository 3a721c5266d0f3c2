from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.cache import LabelSelector, SelectorError

LABELS = {"app": "db", "tier": "gold", "example.com/role": "primary", "empty": "", "n": "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("  ", True),
        ("app", True),
        ("!app", False),
        ("!gone", True),
        ("app=db", True),
        ("app == db", True),
        ("app=web", False),
        ("app!=db", False),
        ("app!=web", True),
        ("gone!=x", True),
        ("app in (web, db)", True),
        ("app in (web)", False),
        ("app notin (web)", True),
        ("gone notin (web)", True),
        ("gone in (web)", False),
        ("empty=", True),
        ("empty in (,x)", True),
        ("app=", False),
        ("example.com/role=primary,tier in (gold,silver),!gone", True),
        ("example.com/role=primary,tier in (silver)", False),
        ("n>4", True),
        ("n > 5", False),
        ("n<6,n>-1", True),
        ("app>4", False),
        ("in in (in)", False),
    ],
)
def test_matching(text: str, expected: bool) -> None:
    assert LabelSelector.parse(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=b,", "expected a label key, or '!' and a label key, found the end"),
        ("a in x", "expected '(' and the values, found 'x' at column 6"),
        ("a in (x", "expected ',' or ')', found the end"),
        ("a b", "found 'b' at column 3"),
        ("=b", "found '=' at column 1"),
        ("!", "after '!'"),
        ("a=b c", "expected ',' or the end"),
        ("a>x", "compares integers"),
        ("a>", "an integer"),
        ("-a", "letter or digit at both ends"),
        ("A_b/c=d", "lower-case DNS name"),
        ("/c", "lower-case DNS name"),
        ("a=" + "x" * 64, "at most 63"),
        ("a=b-", "letter or digit at both ends"),
        ("a in ()x", "',' or the end"),
    ],
)
def test_errors_teach(text: str, told: str) -> None:
    with pytest.raises(SelectorError, match=re.escape(told)):
        LabelSelector.parse(text)


words = st.from_regex(r"[a-z0-9]([-a-z0-9_.]{0,8}[a-z0-9])?", fullmatch=True)
requirements = st.one_of(
    st.builds("{}={}".format, words, words | st.just("")),
    st.builds("{}!={}".format, words, words),
    st.builds(lambda key, values: f"{key} in ({','.join(values)})", words, st.lists(words, min_size=1)),
    st.builds(lambda key, values: f"{key} notin ({','.join(values)})", words, st.lists(words, min_size=1)),
    words,
    words.map("!{}".format),
    st.builds("{}>{}".format, words, st.integers()),
)


@given(st.lists(requirements), st.dictionaries(words, words))
def test_its_text_form_means_the_same(parts: list[str], labels: dict[str, str]) -> None:
    selector = LabelSelector.parse(",".join(parts))
    again = LabelSelector.parse(str(selector))
    assert again == selector
    assert again.matches(labels) == all(LabelSelector.parse(part).matches(labels) for part in parts)


@given(st.text(st.sampled_from("ab =!<>(),innot/."), max_size=12))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        selector = LabelSelector.parse(text)
    except SelectorError:
        return
    assert LabelSelector.parse(str(selector)) == selector


def test_the_object_form() -> None:
    selector = LabelSelector.of(
        {
            "matchLabels": {"app": "db"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
                {"key": "x", "operator": "DoesNotExist"},
                {"key": "n", "operator": "Exists"},
                {"key": "app", "operator": "NotIn", "values": ["web"]},
            ],
        }
    )
    assert str(selector) == "app=db,tier in (gold,silver),!x,n,app!=web"
    assert selector.matches(LABELS)
    with pytest.raises(SelectorError, match="is not one of In"):
        LabelSelector.of({"matchExpressions": [{"key": "a", "operator": "Equals"}]})
    with pytest.raises(SelectorError, match="need values"):
        LabelSelector.of({"matchExpressions": [{"key": "a", "operator": "In"}]})
