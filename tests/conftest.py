"""What holds for every test: a loud word about whatever could not be tested on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    reasons = sorted(
        {
            str(report.longrepr[2])
            for report in terminalreporter.getreports("skipped")
            if isinstance(report.longrepr, tuple) and "MISSING TOOL" in str(report.longrepr[2])
        }
    )
    if reasons:
        terminalreporter.section("NOT TESTED ON THIS MACHINE", sep="!", red=True, bold=True)
        for reason in reasons:
            terminalreporter.line(reason)
