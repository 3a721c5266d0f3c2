"""The page and its pictures from given results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from chaos._peer import by_holder
from chaos._report import write_report
from chaos._result import Act, Peer, Results, Run, Targets, Term, percentile
from pyoperator.testing._audit_lines import LeaseWrite

if TYPE_CHECKING:
    from pathlib import Path

LEASE = (3.0, 2.0, 0.5)


def a_run(server: str = "embedded", **fields: Any) -> Run:
    run = Run(server, 1, 3, 20, LEASE, 100.0, began=1_795_261_000.0, seconds=300.0)
    run.acts = [Act("sigkill", 10, 15, "a <then> b"), Act("settle", 299, 300)]
    run.terms = [Term(0, 11, "a", "expired", 3.02, 3.03, "sigkill"), Term(14.02, 300, "b", "", None, None)]
    run.changes, run.writes = [100] * 300, [60] * 300
    for name, value in fields.items():
        setattr(run, name, value)
    return run


def report(results: Results, folder: Path) -> str:
    write_report(results, folder / "ha-report.md")
    for picture in (folder / "images").iterdir():
        ET.fromstring(picture.read_text())  # XML, as browsers want it
    return (folder / "ha-report.md").read_text()


def test_a_clean_run_is_reported(tmp_path: Path) -> None:
    results = Results([a_run(), a_run("real")], machine="2 cores")
    text = report(results, tmp_path)
    assert results.clean
    assert "Violations" not in text
    assert "| `sigkill`: SIGKILL to the leader | 1 | 1 | 3.020 | 5.0 | yes |" in text
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        "ha-timeline-embedded.svg",
        "ha-timeline-real.svg",
        "ha-takeover.svg",
    }
    for picture in (tmp_path / "images").iterdir():
        assert f"(images/{picture.name})" in text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"foreign": ["b: patch"]}, "foreign write: b: patch"),
        ({"lost": ["Postgres x/y"]}, "lost: Postgres x/y"),
        ({"crashed": ["r: exit code 1"]}, "unexpected end: r: exit code 1"),
        ({"duplicates": ["ConfigMap c"]}, "duplicate: ConfigMap c"),
        ({"acts": [Act("sigterm", 5, 6, problem="nobody took over")]}, "sigterm at 5.0 s: nobody took over"),
        ({"terms": [Term(0, 11, "a", "expired", 2.8, 2.9)]}, "a was succeeded 2.900 s after its last renewal"),
    ],
)
def test_a_violation_is_told_and_counted(tmp_path: Path, fields: dict[str, Any], told: str) -> None:
    results = Results([a_run(**fields)])
    assert not results.clean
    assert f"- embedded: {told}" in report(results, tmp_path)


def test_targets_are_met_or_not(tmp_path: Path) -> None:
    targets = Targets(
        LEASE, 100.0, 20, gap_ms=[10.0] * 99 + [60.0], first_write_ms=[50.0], crash_after_renewal_s=[3.05]
    )
    targets.roll_hand_overs, targets.roll_gap_ms = [1] * 9 + [3], [5.0]
    targets.standby_mib, targets.standby_cache_mib, targets.standby_cpu = [59.0, 70.0], [1.0, 9.0], [0.2]
    text = report(Results([a_run()], targets), tmp_path)
    rows = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in text.splitlines() if "|" in line}
    assert rows["`gap_ms`: release to acquisition, p99"] == "yes"
    assert rows["crash: acquisition after the last renewal, beyond LeaseDuration, most"] == "yes"
    assert rows["rolls of three replicas with at most two hand-overs"] == "yes"
    assert rows["standby: resident memory beyond the JSON that it caches, most"] == "**no**"
    targets.gap_ms[-2] = 60.0
    assert "release to acquisition, p99 | < 50 ms | 60.0 ms (n = 100) | **no**" in report(
        Results([a_run()], targets), tmp_path
    )


def test_the_peer_is_shown_as_measured_or_as_published(tmp_path: Path) -> None:
    assert "median 878" in report(Results([a_run()]), tmp_path)
    peer = Peer((15.0, 10.0, 2.0), [500.0], [900.0], [16.5])
    text = report(Results([a_run()], peer=peer), tmp_path)
    assert "1.5 s beyond the LeaseDuration at most (n = 1)" in text
    assert "878" not in text


def test_results_survive_the_file(tmp_path: Path) -> None:
    results = Results([a_run(foreign=["x"])], Targets(LEASE, 1.0, 2), Peer(LEASE))
    results.write(tmp_path / "results.json")
    assert msgspec.to_builtins(Results.read(tmp_path / "results.json")) == msgspec.to_builtins(results)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.99, 0), ([5.0], 0.99, 5), ([3.0, 1.0, 2.0], 0.5, 2), ([float(n) for n in range(1, 101)], 0.99, 99)],
)
def test_percentiles_are_values_that_occurred(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_candidates_of_one_user_are_told_apart_by_holder() -> None:
    writes = [
        LeaseWrite("admin", holder, 15, 0, version, version, version)
        for version, holder in enumerate(("a", "", "b"), start=1)
    ]
    assert [write.user for write in by_holder(writes)] == ["a", "a", "b"]
