"""The embedded API server as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from pyoperator.testing.lab._environment import clean_environment
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._process import LabProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.clock import Clock
    from pyoperator.testing.lab._folder import LabFolder

_START_TIMEOUT = 30.0
"""Seconds; a start takes one or two on an idle machine."""


async def start_server(folder: LabFolder, *, environ: Mapping[str, str], clock: Clock) -> LabProcess:
    """Start the server and wait until it answers; raises LabError with its last word if it does not."""
    process = await LabProcess.start(
        "the API server",
        [
            sys.executable,
            "-m",
            "pyoperator",
            "apiserver",
            "--bind-address=127.0.0.1:0",
            f"--kubeconfig-out={folder.kubeconfig}",
            f"--audit-log={folder.audit_log}",
            f"--token-file={folder.tokens}",
            "--simulate-workloads",
        ],
        environment=clean_environment(environ, folder.home),
        folder=folder.path,
        log=folder.log("apiserver"),
        clock=clock,
        piped=True,
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while line := await process.read_line():
                if line.startswith("kubeconfig: "):
                    folder.server_pid.write_text(f"{process.pid}\n")
                    return process
            code = await process.wait()
    except TimeoutError:
        await process.stop(0.0)
        raise LabError(f"the API server did not start within {_START_TIMEOUT:.0f} s: {process.last_line()}") from None
    except BaseException:
        await process.stop(0.0)
        raise
    raise LabError(f"the API server ended at once (exit code {code}): {process.last_line() or 'it said nothing'}")
