from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyoperator.apiserver.controllers._label_index import LabelIndex, SelectorIndex

LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))
KEYS = st.tuples(st.sampled_from(["n", "m"]), st.sampled_from("pqr"))
HISTORY = st.lists(st.tuples(KEYS, st.none() | LABELS), max_size=15)


def made(key: tuple[str, str], labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"namespace": key[0], "name": key[1], "labels": labels}}


def names(found: list[dict[str, Any]]) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in found)


@given(HISTORY, st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), min_size=1))
def test_an_index_finds_what_a_scan_finds(history: list[tuple[tuple[str, str], Any]], wanted: dict[str, str]) -> None:
    index = LabelIndex()
    selectors = SelectorIndex(lambda obj: obj["metadata"]["labels"])
    there: dict[tuple[str, str], dict[str, str]] = {}
    for key, labels in history:
        if labels is None:
            there.pop(key, None)
            index.remove(key)
            selectors.remove(key)
        else:
            there[key] = labels
            index.put(made(key, labels))
            selectors.put(made(key, labels))
    scanned = [key[1] for key, labels in there.items() if key[0] == "n" and wanted.items() <= labels.items()]
    assert names(index.with_labels("n", wanted)) == sorted(scanned)
    selecting = [key[1] for key, labels in there.items() if key[0] == "n" and labels.items() <= wanted.items()]
    candidates = selectors.candidates("n", wanted)
    assert names([obj for obj in candidates if obj["metadata"]["labels"].items() <= wanted.items()]) == sorted(
        selecting
    )
    assert len(candidates) == len({obj["metadata"]["name"] for obj in candidates})


def test_what_selects_nothing_is_no_candidate() -> None:
    index = SelectorIndex(lambda obj: None)
    index.put(made(("n", "p"), {}))
    assert index.candidates("n", {"a": "x"}) == []
