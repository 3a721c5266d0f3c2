"""The API servers that replicas are broken on: the embedded one, which can be told to fail, and a real one."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import yaml

from chaos import _server_program
from pyoperator.testing.lab._environment import clean_environment
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._ports import ReservedPort
from pyoperator.testing.lab._process import LabProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyoperator.clock import Clock

_START_WITHIN = 30.0


class Server(Protocol):
    """What a stage needs of an API server. ``kubeconfig`` is the administrator's."""

    name: str
    kubeconfig: Path
    audit_log: Path
    can_restart: bool

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def restart(self, *, crash: bool, pause: float) -> None: ...


class Embedded:
    """The embedded server, its data in ``folder``; it keeps its port, certificates and tokens over restarts."""

    name = "embedded"
    can_restart = True

    def __init__(self, folder: Path, environ: Mapping[str, str], clock: Clock) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.audit_log = folder / "audit.log"
        self._folder = folder
        self._environ = environ
        self._clock = clock
        self._port = ReservedPort()
        self._process: LabProcess | None = None

    async def open(self) -> None:
        """Start the process and wait until it serves."""
        home = self._folder / "home"
        home.mkdir(exist_ok=True)
        process = await LabProcess.start(
            "the API server",
            [sys.executable, str(_server_program.__file__), str(self._folder), str(self._port.number)],
            environment=clean_environment(self._environ, home),
            folder=self._folder,
            log=self._folder / "apiserver.log",
            clock=self._clock,
            piped=True,
        )
        self._process = process
        try:
            async with asyncio.timeout(_START_WITHIN):
                line = await process.read_line()
        except TimeoutError:
            line = ""
        if line != "serving":
            raise LabError(f"the API server did not start: {process.last_line() or 'it said nothing'}")

    async def close(self) -> None:
        """End the process; what it has kept stays."""
        if self._process is not None:
            await self._process.stop(5.0)
        self._port.close()

    async def restart(self, *, crash: bool, pause: float) -> None:
        """End the process, by SIGKILL if ``crash``, and start it again after ``pause`` seconds."""
        if self._process is None:
            raise RuntimeError("the API server is not running")
        self._process.signal(signal.SIGKILL if crash else signal.SIGTERM)
        await self._process.wait()
        await asyncio.sleep(pause)
        await self.open()

    async def fail(self, **faults: float) -> None:
        """Let requests of replicas fail; without arguments no more. See ``HTTPFaults``."""
        await self._tell({"errors": 0.0, **faults})

    async def compact(self) -> None:
        """Forget all history and end all watches."""
        await self._tell({"compact": True})

    async def _tell(self, what: Mapping[str, object]) -> None:
        reader, writer = await asyncio.open_unix_connection(self._folder / _server_program.CONTROL)
        writer.write(json.dumps(what).encode() + b"\n")
        await writer.drain()
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    def __repr__(self) -> str:
        return f"Embedded({self._process!r})"


class Real:
    """A real kube-apiserver that somebody else started; ``command`` restarts it (a shell's words), "" if nothing can."""

    name = "real"

    def __init__(self, kubeconfig: Path, audit_log: Path, command: str = "") -> None:
        self.kubeconfig = kubeconfig
        self.audit_log = audit_log
        self.can_restart = bool(command)
        self._command = command

    async def open(self) -> None:
        """Look for the audit log: without it there is nothing to judge by."""
        if not self.audit_log.exists():
            raise LabError(
                f"there is no audit log {self.audit_log}: name the real server's by PYOPERATOR_REAL_AUDIT_LOG, "
                "with bodies of Lease writes (level RequestResponse)"
            )

    async def close(self) -> None:
        """Leave it as it is."""

    async def restart(self, *, crash: bool, pause: float) -> None:
        """Run the command; ``crash`` and ``pause`` are its own business."""
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self._command), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            raise LabError(f"the real server was not restarted: {self._command} failed")

    def __repr__(self) -> str:
        return f"Real({self.kubeconfig})"


def address_of(kubeconfig: Path) -> tuple[str, int]:
    """Return host and port of the API server that a kubeconfig names."""
    document = yaml.safe_load(kubeconfig.read_text("utf-8"))
    found = urlsplit(document["clusters"][0]["cluster"]["server"])
    return found.hostname or "127.0.0.1", found.port or 443
