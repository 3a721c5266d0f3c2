"""One process that the lab started: its own session, its own log, and an end that is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from pyoperator.testing.lab import _end_with_parent
from pyoperator.testing.lab._errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pyoperator.clock import Clock

_LAST_LINE = 8192
"""Bytes read from the end of a log to find its last line."""


class LabProcess:
    """A running program; :meth:`start` makes one, :meth:`stop` ends it for certain.

    It is the leader of a session of its own (a terminal's Ctrl-C reaches the launcher only) and ends with the
    launcher, however that ends (Linux; elsewhere not when the launcher is killed by SIGKILL). Standard output and
    error go to ``log``, or standard output to ``stdout`` if a pipe is asked for.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path, clock: Clock) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._clock = clock
        self._asked = False

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        clock: Clock,
        piped: bool = False,
    ) -> LabProcess:
        """Start ``command`` (an absolute path and its arguments) in ``folder``; raises LabError."""
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(_end_with_parent.__file__),
                str(os.getpid()),
                *command,
                env=dict(environment),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if piped else descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        except OSError as error:
            raise LabError(f"{name} can't be started: {command[0]}: {error.strerror or error}") from error
        finally:
            os.close(descriptor)
        return cls(name, process, log, clock)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, minus the number of the signal that ended it, None while it runs."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for the end and return the exit code."""
        return await self._process.wait()

    async def read_line(self) -> str:
        """Return the next line of standard output, "" at its end; for a process started with ``piped``."""
        stream = self._process.stdout
        if stream is None:
            raise RuntimeError(f"{self.name} writes to its log: start it with piped=True to read its output")
        return (await stream.readline()).decode("utf-8", "replace").rstrip("\n")

    def signal(self, number: int) -> float:
        """Send a signal and return the wall time (Unix seconds) read right before; no error if it has ended."""
        now = self._clock.wall()
        self._asked = self._asked or number == signal.SIGTERM
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)
        return now

    async def stop(self, patience: float, hurry: asyncio.Event | None = None) -> int:
        """Ask it to end, kill it after ``patience`` seconds or when ``hurry`` is set, and return its exit code.

        It is asked once: to a process that is about to end in order, a second SIGTERM means "at once".
        """
        if self.running:
            if not self._asked:
                self.signal(signal.SIGTERM)
            waits = [asyncio.ensure_future(self._process.wait())]
            if hurry is not None:
                waits.append(asyncio.ensure_future(hurry.wait()))
            try:
                await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Also when we are cancelled: nothing may outlive the launcher.
                if self.running:
                    self.signal(signal.SIGKILL)
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
        return await self._process.wait()

    def last_line(self) -> str:
        """Return the log's last line that is not empty, for an error message."""
        return last_line(self.log)

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with {self.code}"
        return f"<LabProcess {self.name} pid={self.pid} {state}>"


def last_line(log: Path) -> str:
    """Return a file's last line that is not empty, of a JSON line its event and error; "" if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_LINE))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    try:
        told = json.loads(line)
    except ValueError:
        return line
    if not isinstance(told, dict) or "event" not in told:
        return line
    return f"{told['event']}: {told['error']}" if "error" in told else str(told["event"])
