"""Kubeconfigs, and the credential plugins that they name."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING, Any

import yaml

from pyoperator.client import Configuration
from pyoperator.clock import LoopClock

if TYPE_CHECKING:
    from pathlib import Path


class AdjustableClock(LoopClock):
    """A clock that can be put forward: a test need not wait for files to be looked at again, or tokens to expire."""

    ahead = 0.0

    def elapsed(self) -> float:
        return super().elapsed() + self.ahead


SECRET = "hunter2-secret"


def kubeconfig(
    user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.test:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
        **more,
    }


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def load(path: Path, **options: Any) -> Configuration:
    return Configuration.load(path, environ={}, **options)


async def authorization(configuration: Configuration) -> str:
    return await configuration.credentials.authorization()


def plugin(directory: Path, script: str, **settings: Any) -> dict[str, Any]:
    """Write a credential plugin that runs ``script``, and return the kubeconfig user that names it."""
    path = directory / "plugin"
    path.write_text(f"#!{sys.executable} -S\nimport json, os, sys\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", **settings}}


def counting(directory: Path, status: str, version: str = "v1") -> str:
    """Return a plugin's script that prints ``status``, an expression in which ``count`` is the number of the run.

    Each run appends to the file ``count``: ``runs`` reads it.
    """
    count = str(directory / "count")
    return (
        f"with open({count!r}, 'a') as file: file.write('x')\n"
        f"count = os.path.getsize({count!r})\n"
        f"print(json.dumps({{'apiVersion': 'client.authentication.k8s.io/{version}', 'kind': 'ExecCredential', "
        f"'status': {status}}}))"
    )


def runs(directory: Path) -> int:
    """Return how often the counting plugin has run."""
    return len((directory / "count").read_text())
