"""Credentials from an exec plugin: a program that prints an ExecCredential (client.authentication.k8s.io)."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.client._credentials import ClientCertificate, LockPerLoop
from pyoperator.client._errors import TransportError
from pyoperator.clock import SystemClock
from pyoperator.objects import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.clock import Clock

_EARLY = 10.0
"""Seconds before its expiry at which a credential counts as expired: it must survive the request it is sent with."""


@dataclass(frozen=True, slots=True, repr=False)
class ExecPlugin:
    """The ``exec`` part of a kubeconfig user; ``environment`` is the whole environment of the program.

    ``cluster`` is the cluster's description for ``provideClusterInfo``, else None. ``directory`` is where a relative
    command with a slash is looked for: the kubeconfig's own.
    """

    api_version: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cluster: Mapping[str, Any] | None = None
    install_hint: str = ""
    timeout: float = 60.0

    def __repr__(self) -> str:
        return f"ExecPlugin({self.command!r})"  # arguments and environment may hold secrets


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


@dataclass(frozen=True, slots=True, repr=False)
class _Answer:
    """What the plugin gave; replaced as a whole, so that a reader in any thread sees one consistent state."""

    token: str
    certificate: ClientCertificate | None
    expires: float | None


class ExecCredentials:
    """Run the plugin when a credential is needed, and keep its answer until it expires or is refused.

    As client-go does: one run serves all who wait, and an answer without an expiry is kept until a 401.
    """

    def __init__(self, plugin: ExecPlugin, *, clock: Clock | None = None) -> None:
        self._plugin = plugin
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._locks = LockPerLoop()
        self._answer: _Answer | None = None
        self.runs: int = 0

    async def authorization(self) -> str:
        answer = await self._ensure()
        return f"Bearer {answer.token}" if answer.token else ""

    async def certificate(self) -> ClientCertificate | None:
        return (await self._ensure()).certificate

    async def refresh(self) -> bool:
        before, self._answer = self._answer, None
        after = await self._ensure()
        return before is None or (after.token, after.certificate) != (before.token, before.certificate)

    def _valid(self) -> _Answer | None:
        answer = self._answer
        if answer is None or (answer.expires is not None and self._clock.wall() >= answer.expires - _EARLY):
            return None
        return answer

    async def _ensure(self) -> _Answer:
        answer = self._valid()
        if answer is not None:
            return answer
        async with self._locks.lock():
            answer = self._valid()
            if answer is None:
                answer = self._answer = self._read(await self._run())
            return answer

    async def _run(self) -> bytes:
        plugin = self._plugin
        spec: dict[str, Any] = {"interactive": False}
        if plugin.cluster is not None:
            spec["cluster"] = plugin.cluster
        info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
        environment = {**plugin.environment, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *plugin.arguments,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            hint = f"; {plugin.install_hint.strip().splitlines()[0]}" if plugin.install_hint.strip() else ""
            raise TransportError(
                f"cannot run the credential plugin {plugin.command!r}: {error.strerror}: install it or correct the "
                f"kubeconfig's exec command{hint}",
                sent=False,
            ) from error
        self.runs += 1
        try:
            async with asyncio.timeout(plugin.timeout):
                output, complaint = await process.communicate()
        except TimeoutError as error:
            raise TransportError(
                f"the credential plugin {plugin.command!r} gave no answer within {plugin.timeout:g} s", sent=False
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise TransportError(
                f"the credential plugin {plugin.command!r} failed with exit code {process.returncode}"
                f"{': ' + last[0][:200] if last else ''}",
                sent=False,
            )
        return output

    def _read(self, output: bytes) -> _Answer:
        command = self._plugin.command
        try:
            answer = msgspec.json.decode(output, type=_ExecCredential)
        except msgspec.DecodeError:
            # Not chained: the decoder's message may quote the answer.
            raise TransportError(f"the credential plugin {command!r} printed no ExecCredential", sent=False) from None
        if answer.api_version != self._plugin.api_version:
            raise TransportError(
                f"the credential plugin {command!r} answered in {answer.api_version or 'no version'}, "
                f"the kubeconfig says {self._plugin.api_version}",
                sent=False,
            )
        status = answer.status
        if (
            status is None
            or bool(status.client_certificate_data) != bool(status.client_key_data)
            or not (status.token or status.client_certificate_data)
        ):
            raise TransportError(
                f"the credential plugin {command!r} gave neither a token nor a certificate with its key", sent=False
            )
        certificate = (
            ClientCertificate(status.client_certificate_data.encode(), status.client_key_data.encode())
            if status.client_certificate_data
            else None
        )
        try:
            expires = parse_time(status.expiration_timestamp) if status.expiration_timestamp else None
        except ValueError as error:
            raise TransportError(
                f"the credential plugin {command!r} gave no valid expirationTimestamp", sent=False
            ) from error
        return _Answer(status.token, certificate, expires)

    def __repr__(self) -> str:
        return "ExecCredentials(<redacted>)"


def cluster_description(cluster: Mapping[str, Any], ca_data: bytes | None) -> dict[str, Any]:
    """Describe a kubeconfig cluster as ``spec.cluster`` of an ExecCredential."""
    description: dict[str, Any] = {"server": cluster.get("server", "")}
    for name in ("tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression"):
        if cluster.get(name):
            description[name] = cluster[name]
    if ca_data:
        description["certificate-authority-data"] = base64.b64encode(ca_data).decode()
    for extension in cluster.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            description["config"] = extension.get("extension")
    return description
