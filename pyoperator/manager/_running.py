"""From a manager to an exit code: the loop, the signals, and the words that a failure ends with."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from pyoperator.client import ApiError, ConfigurationError, LeadershipLost, TransportError
from pyoperator.leaderelection import ElectionConfigError
from pyoperator.manager._errors import ManagerError, StopTimedOut
from pyoperator.manager._garbage_collection import spared_collection
from pyoperator.manager._signals import stop_signals
from pyoperator.serving import BindAddressError, BindError, CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.manager._life_cycle import LifeCycle
    from pyoperator.manager._manager import Manager

CLEAN, FAILURE, USAGE, LEADERSHIP_LOST, STOP_TIMED_OUT = range(5)

_USAGE_ERRORS = (ManagerError, ConfigurationError, ElectionConfigError, BindAddressError, BindError, CertificateError)
_EXPECTED_ERRORS = (ApiError, TransportError)


def run(build: Callable[[], Manager]) -> int:
    """Build a manager and run it; return the exit code: the whole ``main`` of an operator.

    A wrong setting, found while building or starting, is one line on standard error and exit code 2.
    """
    try:
        manager = build()
    except _USAGE_ERRORS as error:
        return _usage(error)
    return manager.run()


def run_manager(
    manager: Manager,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
    exit_process: Callable[[int], None],
) -> int:
    """Run ``manager.start()`` on a loop of its own under the stop signals; see Manager.run."""
    if sys.platform == "win32":
        return _usage(ManagerError("Windows is not supported: run on Linux (or macOS for development)"))

    async def main() -> int:
        with stop_signals(asyncio.get_running_loop(), manager.stop, exit_process):
            code, hangs = await _outcome(manager)
            if hangs:
                # Leaving the runner would wait for what has just been given up: threads, and tasks that resist.
                for stream in (sys.stdout, sys.stderr):
                    # A reader that is gone must not keep this process from ending.
                    with suppress(OSError, ValueError):
                        stream.flush()
                exit_process(code)
            return code

    with spared_collection(), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


async def live(life: LifeCycle) -> None:
    """Run a life in a task of its own, so that a cancellation is a graceful stop, and a second one hurries it.

    Raises what the life raises, and CancelledError when it has ended after a cancellation.
    """
    task = asyncio.create_task(life.run(), name="manager")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        life.request_stop("cancelled")
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                life.hurry()
        task.result()
        raise


async def _outcome(manager: Manager) -> tuple[int, bool]:
    """Run to the end; return the exit code, and whether something did not stop."""
    try:
        await manager.start()
    except StopTimedOut as error:
        manager.logger.error("stop timed out", error=str(error))
        return STOP_TIMED_OUT, True
    except LeadershipLost as error:
        manager.logger.error("leadership lost", error=str(error))
        return LEADERSHIP_LOST, bool(_notes(error))
    except _USAGE_ERRORS as error:
        return _usage(error), bool(_notes(error))
    except _EXPECTED_ERRORS as error:
        manager.logger.error("manager failed", error=str(error))
        return FAILURE, bool(_notes(error))
    except Exception as error:
        manager.logger.error("manager failed", error=repr(error), exc_info=error)
        return FAILURE, bool(_notes(error))
    return CLEAN, False


def _notes(error: BaseException) -> list[str]:
    # The life cycle notes on its error who did not stop.
    return list(getattr(error, "__notes__", ()))


def _usage(error: Exception) -> int:
    line = " ".join(str(error).split())
    os.write(2, f"error: {line}\n".encode(errors="replace"))
    return USAGE
