"""``lab run``: started in a hostile environment, watched, stopped, killed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pyoperator.client import AiohttpTransport, Client, Configuration
from pyoperator.objects import GroupVersionKind
from tests.e2e.support import PROJECT, SHORT_LEASE, Ends, launcher, processes_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and has pidfds"),
]

POSTGRES = GroupVersionKind("database.example.com", "v1", "Postgres")


def hostile(folder: Path) -> dict[str, str]:
    """Everything that leads to another cluster, and an operator's own settings."""
    (folder / ".kube").mkdir()
    (folder / ".kube" / "config").write_text("no: kubeconfig")
    return {
        "HOME": str(folder),
        "KUBECONFIG": str(folder / ".kube" / "config"),
        "KUBERNETES_SERVICE_HOST": "203.0.113.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "POD_NAMESPACE": "production",
        "HTTPS_PROXY": "http://203.0.113.1:3128",
        "POSTGRES_OPERATOR_LEASE_DURATION": "1s",
    }


async def test_a_hostile_environment_changes_nothing_and_sigint_leaves_nothing(tmp_path: Path) -> None:
    async with launcher("run", *SHORT_LEASE, environ=hostile(tmp_path)) as lab:
        kubeconfig = await lab.kubeconfig()
        folder = kubeconfig.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        await lab.line("default/orders", "Ready=True")
        pids = processes_of(folder)
        assert len(pids) == 4
        assert all(os.getsid(pid) == pid for pid in pids)
        tokens = [
            path.read_text().split("token: ")[1].split()[0] for path in folder.glob("controller-manager-*.kubeconfig")
        ]
        assert len(set(tokens)) == 3
        # No credential in any log.
        logs = "".join(path.read_text() for path in folder.glob("*.log"))
        assert not [token for token in tokens if token in logs or token in "\n".join(lab.lines)]
        ends = Ends(pids)
        assert await lab.end(signal.SIGINT) == 0
        assert ends.wait(0)
        assert lab.lines[-1].startswith("stopped")
        assert not folder.exists()


async def test_a_replica_that_is_killed_comes_back_and_a_second_lab_is_no_matter(tmp_path: Path) -> None:
    async with launcher("run", *SHORT_LEASE, "--replicas=2") as first, launcher("run", "--replicas=1") as second:
        folder, other = (await first.kubeconfig()).parent, (await second.kubeconfig()).parent
        leader = (await first.line("lease: ", " leads")).split()[1]
        pid = next(pid for pid in processes_of(folder) if f"/{leader}.kubeconfig" in command_line(pid))
        os.kill(pid, signal.SIGKILL)
        await first.line(f"{leader}: ended (code -9)")
        again = (await first.line(": ready node=lab-node-")).split(":")[0]
        assert again != leader
        await second.line("lease: ", " leads")
        assert await first.end(signal.SIGTERM) == 0
        assert not processes_of(folder)
        assert len(processes_of(other)) == 2
        assert await second.end(signal.SIGINT) == 0
        assert not processes_of(other)


async def test_a_launcher_that_is_killed_takes_its_children_along() -> None:
    async with launcher("run", "--replicas=2") as lab:
        folder = (await lab.kubeconfig()).parent
        try:
            await lab.line("lease: ", " leads")
            pids = processes_of(folder)
            assert len(pids) == 3
            ends = Ends(pids)
            await lab.end(signal.SIGKILL)
            assert ends.wait(10)
            # The next launcher tidies up after it.
            async with launcher("run", "--replicas=1", "--duration=100ms") as later:
                await later.line("stopped")
            assert not folder.exists()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


async def test_the_view_on_a_terminal_ends_with_its_ctrl_c() -> None:
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    command = (sys.executable, "-m", "pyoperator", "lab", "run", f"--project={PROJECT}", "--replicas=1")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        spawn,
        *command,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            seen = b""
            while b"2 of 2 Ready" not in seen:
                data = await process.stdout.read(4096)
                assert data, seen.decode(errors="replace")
                seen += data
            assert re.search(r"controller-manager-\w+-\w+ leads", seen.decode(errors="replace"))
            process.stdin.write(b"\x03")
            rest, _ = await asyncio.gather(process.stdout.read(), process.wait())
        assert process.returncode == 0
        assert b"nothing is left running" in rest
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="MISSING TOOL: kubectl, to be tried on the printed kubeconfig"
)
async def test_kubectl_works_with_the_printed_kubeconfig() -> None:
    async with launcher("run", "--replicas=1") as lab:
        kubeconfig = await lab.kubeconfig()

        async def kubectl(*arguments: str) -> str:
            process = await asyncio.create_subprocess_exec(
                "kubectl",
                f"--kubeconfig={kubeconfig}",
                f"--cache-dir={kubeconfig.parent}/cache",
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            output, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()
            return output.decode()

        await kubectl("wait", "--for=condition=Ready", "postgres/orders", "--timeout=30s")
        assert "orders" in await kubectl("get", "postgreses")
        assert "controller-manager-" in await kubectl("get", "lease", "-n", "postgres-operator-system")
        assert await lab.end(signal.SIGINT) == 0


async def test_the_printed_kubeconfig_is_an_administrators() -> None:
    async with launcher("run", "--replicas=1") as lab:
        configuration = Configuration.load(kubeconfig=await lab.kubeconfig(), environ={})
        transport = AiohttpTransport(configuration)
        try:
            client = Client(transport)
            assert [obj.name for obj in (await client.list(POSTGRES)).items] == ["orders", "scratch"]
        finally:
            await transport.aclose()
        assert await lab.end(signal.SIGTERM) == 0


def command_line(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read().replace("\0", " ")
