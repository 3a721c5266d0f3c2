"""The process under test, seen from outside: started behind a link, measured in /proc, asked over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from benchmarks._measurement import cpu_seconds, memory_megabytes
from chaos._kubeconfigs import write_kubeconfig
from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured
from pyoperator.testing.lab._environment import clean_environment
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._install import create
from pyoperator.testing.lab._ports import ReservedPort
from pyoperator.testing.lab._process import LabProcess
from soak._judge import Sample

if TYPE_CHECKING:
    from chaos._links import Link
    from pyoperator.client import Client

_NAMESPACE = "default"
_ACCOUNT = "soak"
_ROOT = Path(__file__).parents[1]
_PATIENCE = 40.0


class Process:
    """The running operator. ``condition`` is its own latest answer; asking may fail, it is busy at times."""

    def __init__(self, process: LabProcess, port: ReservedPort, session: aiohttp.ClientSession) -> None:
        self.condition: dict[str, Any] = {}
        self._process = process
        self._port = port
        self._session = session

    @classmethod
    async def start(cls, client: Client, kubeconfig: Path, link: Link, folder: Path, *, lasting: float) -> Process:
        """Start it with an account of its own, through ``link``; ``lasting`` seconds is how long its token must last."""
        token = await _make_token(client, lasting)
        port = ReservedPort()
        home = folder / "home"
        home.mkdir(exist_ok=True)
        # An installed package has its bytecode at hand: compiling would be measured as ours.
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        process = await LabProcess.start(
            "the operator",
            [sys.executable, "-m", "soak._program", str(port.number)],
            environment=clean_environment(
                environ,
                home,
                KUBECONFIG=str(write_kubeconfig(folder / "operator.kubeconfig", kubeconfig, token, link)),
                PYTHONPATH=str(_ROOT),
            ),
            folder=folder,
            log=folder / "operator.log",
            clock=client.clock,
        )
        return cls(process, port, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)))

    @property
    def running(self) -> bool:
        return self._process.running

    @property
    def last_line(self) -> str:
        """The end of its log."""
        return self._process.last_line()

    async def sample(self, at: float, *, count: bool = False) -> Sample | None:
        """Look at it; None if it did not answer. ``count``: its Python objects, too."""
        try:
            self.condition = await self._ask("/debug/soak" + "?tracked=1" * count)
            memory = memory_megabytes("VmRSS", self._process.pid)
            if not memory:  # it has ended after its answer
                return None
            return Sample(
                at,
                round(memory, 2),
                self.condition["tasks"],
                _sockets(self._process.pid),
                self.condition["queue"],
                self.condition["tracked"],
            )
        except (aiohttp.ClientError, TimeoutError, FileNotFoundError):
            return None

    async def cached(self) -> dict[str, str] | None:
        """Return the version of every object in its cache; None if it did not answer."""
        try:
            return dict(await self._ask("/debug/cache"))
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def task_names(self) -> Counter[str]:
        """Return what its tasks run, and how many of each; raises what the request raises."""
        return Counter(await self._ask("/debug/tasks"))

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._process.pid)

    async def stop(self) -> int:
        """Ask it to end and return its exit code."""
        await self._session.close()
        code = await self._process.stop(_PATIENCE)
        self._port.close()
        return code

    async def _ask(self, path: str) -> dict[str, Any]:
        async with self._session.get(f"http://{self._port.address}{path}") as response:
            answer: dict[str, Any] = msgspec.json.decode(await response.read())
            return answer

    async def until_running(self, within: float) -> None:
        """Wait until it answers; raises LabError with the end of its log if it does not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.running:
                    if await self.sample(0.0) is not None:
                        return
                    await asyncio.sleep(0.1)
        raise LabError(f"the operator did not answer within {within:.0f} s of its start: {self.last_line}")


def _sockets(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(entry.readlink()).startswith("socket:")
    return count


async def _make_token(client: Client, lasting: float) -> str:
    account = GroupVersionKind("", "v1", "ServiceAccount")
    group = "rbac.authorization.k8s.io"
    await create(client, Unstructured.new(account, _ACCOUNT, _NAMESPACE))
    await create(
        client,
        Unstructured.new(
            GroupVersionKind(group, "v1", "ClusterRoleBinding"),
            _ACCOUNT,
            roleRef={"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
            subjects=[{"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": _NAMESPACE}],
        ),
    )
    token = await client.pods.service_account_token(ObjectKey(_NAMESPACE, _ACCOUNT), expiration_seconds=int(lasting))
    return token.token
