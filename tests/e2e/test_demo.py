"""The demo, small and with short leases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pyoperator.cli import main
from pyoperator.testing import lab
from tests.e2e.support import PROJECT, SHORT_LEASE

if TYPE_CHECKING:
    from pathlib import Path

    from pyoperator.testing._judge import Verdict

pytestmark = pytest.mark.e2e


def test_nothing_is_lost_duplicated_or_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In this process, so that its coverage counts; the operator and the server are processes all the same.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    arguments = ["lab", "demo", f"--project={PROJECT}", *SHORT_LEASE, "--objects=6", "--replicas=3"]
    verdicts: list[Verdict] = []
    play = lab.play_demo

    async def play_and_keep(*given: Any, **more: Any) -> Verdict:
        verdicts.append(await play(*given, **more))
        return verdicts[-1]

    monkeypatch.setattr(lab, "play_demo", play_and_keep)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    *timeline, last = result.stdout.splitlines()
    measured = json.loads(last)
    assert list(measured) == [
        "crash_takeover_s",
        "gap_ms",
        "graceful_handover_ms",
        "rolling_handover_max_ms",
        "expected",
        "reconciled",
        "duplicates",
        "writes_by_non_leader",
        "lease_transitions",
    ]
    assert measured["expected"] == measured["reconciled"] == 8
    assert measured["duplicates"] == measured["writes_by_non_leader"] == 0
    # How each leader's time ended, rather than how long it took: the latter is this machine's matter, too.
    (verdict,) = verdicts
    expired = [tenure for tenure in verdict.tenures if tenure.how == "expired"]
    assert expired
    assert all((tenure.silence or 0) >= 3 for tenure in expired), "the lease"
    assert 0 < measured["crash_takeover_s"] < 6
    assert [tenure.how for tenure in verdict.tenures].count("released") >= 2
    assert 0 < measured["graceful_handover_ms"] < 3000, "nobody waits for a lease that was released"
    assert 0 < measured["rolling_handover_max_ms"] < 3000
    assert len(measured["gap_ms"]) >= 2
    assert min(measured["gap_ms"]) < 500, "who waits is told of a release, and does not come to see it at its next try"
    assert measured["lease_transitions"] >= 3
    told = "\n".join(timeline)
    for part in ("SIGKILL to the leader", "SIGTERM to the leader", "rolling update", "everything is settled"):
        assert part in told
    assert "NOT" not in told
    assert list(tmp_path.iterdir()) == []
