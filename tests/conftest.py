"""What holds for every test: a loud word about whatever could not be tested on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

# How long an example takes says more about the machine than about the code.
settings.register_profile("pyoperator", deadline=None)
settings.load_profile("pyoperator")


@pytest.fixture(autouse=True)
def _plain_logging() -> None:
    """Log in plain lines: the default for terminals draws each traceback's local variables, which takes seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stdout),
        cache_logger_on_first_use=False,
    )


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
