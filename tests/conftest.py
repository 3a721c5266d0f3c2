"""What holds for every test: a loud word about whatever could not be tested on this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

ONE_WORKER = ("tests/e2e/test_kubectl.py", "tests/e2e/test_stalls.py")

# How long an example takes, to make or to try, says more about the machine than about the code.
settings.register_profile("pyoperator", deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the files that share a costly start on one worker (xdist's own groups do nothing under pytest 9.2)."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(ONE_WORKER) else nodeid

    return Scheduler(config, log)


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
