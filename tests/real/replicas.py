"""Replicas of the operator as processes, each with a service account's token."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.scenario import LEASE_KEY
from tests.real.server import KUBECONFIG, SYSTEM, kubectl

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = Path(sys.executable).with_name("postgres-operator")
SHORT_LEASE = ("--lease-duration=4s", "--renew-deadline=3s", "--retry-period=500ms")


class Replica:
    """One start of the operator. ``user`` is whom the API server sees."""

    def __init__(self, name: str, account: str, folder: Path) -> None:
        self.name = name
        self.user = f"system:serviceaccount:{SYSTEM}:{account}"
        self.killed_at: float | None = None
        self.terminated_at: float | None = None
        self.log = folder / f"{name}.log"
        self._account = account
        self._kubeconfig = folder / f"{name}.kubeconfig"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, namespace: str, flags: Sequence[str] = ()) -> None:
        """Start the process, as the pod of config/manager does but for its ports and the namespace it works in."""
        token = (await kubectl("create", "token", self._account, f"--namespace={SYSTEM}", "--duration=1h")).strip()
        config: dict[str, Any] = yaml.safe_load(Path(KUBECONFIG).read_text())
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(yaml.safe_dump(config))
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(PROGRAM),
                "--leader-elect",
                f"--kubeconfig={self._kubeconfig}",
                "--metrics-bind-address=0",
                "--health-probe-bind-address=0",
                "--log-format=json",
                *flags,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self._kubeconfig.parent),
                    "POD_NAME": self.name,
                    "POD_NAMESPACE": LEASE_KEY.namespace,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return None if self._process is None else self._process.returncode

    async def terminate(self) -> int:
        """SIGTERM, as the kubelet does; return the exit code."""
        self.terminated_at = time.time()
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        self.killed_at = time.time()
        return await self._end(signal.SIGKILL)

    async def _end(self, number: int) -> int:
        assert self._process is not None
        if self.running:
            self._process.send_signal(number)
        async with asyncio.timeout(40):
            return await self._process.wait()
