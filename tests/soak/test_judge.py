"""What a soak is judged by: each bound holds just below itself, breaks at it, and is named."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from soak._judge import Growth, Level, Part, Sample, State, differences, exceeds, growth, leaks
from soak._report import picture, section, summary

HOUR = [Sample(60.0 * number, 100.0 + number, 5, 3, 0, 1000 + number) for number in range(61)]


def part(limit: float = 5.0) -> Part:
    found = Part("real", 900.0, 20, limit)
    found.samples = HOUR
    return found


def test_growth_is_that_of_medians() -> None:
    spiky = [*HOUR[:2], Sample(120.0, 900.0, 5, 3, 0), *HOUR[3:]]
    found = growth(spiky, spiky[:3], HOUR[-3:], "memory_mb")
    assert (found.first, found.last) == (101.0, 159.0)
    assert found.percent == pytest.approx(57.43, abs=0.01)


def test_a_line_through_all_between_tells_the_trend() -> None:
    found = growth([Sample(-1.0, 1e6, 0, 0, 0), *HOUR], HOUR[:3], HOUR[-3:], "memory_mb")
    assert found.per_hour == pytest.approx(60.0)
    assert found.percent_per_hour == pytest.approx(100 * 60 / 101)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="too short, give it more"):
        growth(HOUR, [], HOUR, "memory_mb")


def test_growth_breaks_the_bound_from_the_bound_on() -> None:
    assert exceeds("memory", Growth(100.0, 102.9, 0.0), 3.0, "MB") == []
    assert exceeds("memory", Growth(100.0, 50.0, 0.0), 3.0, "MB") == []
    (said,) = exceeds("memory", Growth(100.0, 103.0, 1.5), 3.0, "MB")
    assert said == "memory grew by 3.0 %, from 100.0 to 103.0 MB (+1.5 % an hour): the bound is 3 %"


def test_more_tasks_or_connections_are_a_leak_fewer_are_none() -> None:
    before = Level(Counter({"worker": 4, "watch": 1}), 3)
    assert leaks("real", before, before) == []
    assert leaks("real", before, Level(Counter({"worker": 4}), 2)) == []
    said = leaks("real", before, Level(Counter({"worker": 4, "watch": 1, "sleep": 2}), 4))
    assert said == [
        "real: tasks leak: 7 at rest, 5 before: 2 more sleep",
        "real: connections leak: 4 at rest, 3 before",
    ]


def test_a_cache_that_differs_and_a_generation_that_was_missed_are_told() -> None:
    server = {name: State("7", 2, 2) for name in "abcdefg"}
    assert differences(dict.fromkeys("abcdefg", "7"), server) == []
    assert differences(dict.fromkeys("acdefgx", "7"), server) == [
        "the cache lacks b",
        "the cache holds what is gone: x",
    ]
    assert differences(dict.fromkeys("abcdefg", "6"), server) == [
        "the cache holds another version of a, b, c and 4 more"
    ]
    assert differences({"a": "7"}, {"a": State("7", 3, 2)}) == ["not reconciled at the last generation: a (2 of 3)"]


def test_a_part_collects_what_is_wrong() -> None:
    judged = part()
    judged.judge_growth(HOUR[:3], HOUR[-3:], at_rest=True)
    judged.judge_rest(Level(Counter(), 1), Level(Counter(), 2))
    assert [said.split(" grew")[0] for said in judged.violations] == [
        "real: resident memory",
        "real: Python objects",
        "real: connections leak: 2 at rest, 1 before",
    ]


def test_what_was_not_counted_is_not_judged() -> None:
    uncounted = [Sample(sample.at, 100.0, 5, 3, 0) for sample in HOUR]
    judged = part()
    judged.samples = uncounted
    judged.judge_growth(uncounted[:3], uncounted[-3:], at_rest=True)
    assert judged.violations == []
    assert judged.tracked is None


def test_objects_counted_at_work_are_told_and_not_judged() -> None:
    now_and_then = [Sample(one.at, 100.0, 5, 3, 0, one.tracked * (one.at % 120 == 0)) for one in HOUR]
    judged = part()
    judged.samples = now_and_then
    judged.judge_growth(now_and_then[:3], now_and_then[-3:], at_rest=False)
    assert judged.violations == []
    assert judged.tracked is not None
    assert (judged.tracked.first, judged.tracked.last) == (1001.0, 1059.0)
    assert judged.tracked.per_hour == pytest.approx(60.0)


def test_the_report_says_it_all() -> None:
    judged = part(limit=90.0)
    judged.faults = Counter({"reset": 2})
    judged.judge_growth(HOUR[:3], HOUR[-3:], at_rest=True)
    judged.judge_rest(Level(Counter({"worker": 4}), 3), Level(Counter({"worker": 4}), 3))
    told = summary([judged])
    assert told["passed"] is True
    assert told["real"]["memory_growth_percent"] == 57.43
    assert told["real"]["tasks_at_rest"] == [4, 4]
    text = section([judged])
    assert "| **growth** | **57.43 %** (bound: 90 %) |" in text
    assert "| tasks at rest, after the warm-up and at the end | 4 → 4 |" in text
    assert "reset 2" in text
    judged.violations.append("real: something")
    assert summary([judged])["passed"] is False
    assert "**no**" in section([judged])


def test_the_plot_has_a_point_for_each_sample() -> None:
    root = ET.fromstring(picture(part()))
    (line,) = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(line.attrib["points"].split()) == len(HOUR)


def test_a_part_without_figures_is_reported_all_the_same() -> None:
    empty = Part("virtual", 86400.0, 20, 5.0)
    assert summary([empty])["virtual"]["memory_mb"] is None
    assert "| 24 hours |" in section([empty])
    assert "<svg" in picture(empty)
