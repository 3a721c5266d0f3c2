"""docs/lab.md: every command works, and prints what the page shows."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import own_blocks
from tests.e2e.lab_document import DOCUMENT, Shell, Step, normal, steps
from tests.e2e.support import Launcher, launcher

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and has pidfds"),
]

LEASE = ("--lease-duration=4", "--renew-deadline=3s", "--retry-period=1s")
"""Short, and with time enough between the end of the leadership and that of the lease for a busy machine to say so."""
PATIENCE = 3.0
"""Seconds in which what the page looks at must be as shown: a reader is slower than this test, and a lease is longer."""


def needs(tool: str) -> pytest.MarkDecorator:
    reason = f"MISSING TOOL: {tool}, to run the commands of docs/lab.md"
    return pytest.mark.skipif(shutil.which(tool) is None, reason=reason)


def test_blocks_are_read_and_what_changes_is_not_compared() -> None:
    text = "```console\n$ a\nx 1\n...\ny\n$ b\n```\n```text\nmake run\n```\n"
    assert steps(text) == [Step("a", ("x 1", "y")), Step("b", ())]
    first = "controller-manager-p7n88z7mdd-2nq2p   1/1  Running  0   3s    127.0.0.1   lab-node-2"
    second = "controller-manager-c92lsc6rvx-8p4t9   1/1     Running   0   2m14s    127.0.0.1   lab-node-0"
    assert normal(first) == normal(second) == "POD N/N Running N AGE N.N NODE"
    with pytest.raises(AssertionError, match="would not be run"):
        steps("```sh\nls\n```\n")


@needs("kubectl")
@needs("curl")
@needs("bash")
async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    found = steps(DOCUMENT.read_text("utf-8"))
    assert len(found) > 30
    async with launcher("run", *LEASE, within=400.0) as lab:
        kubeconfig = await lab.kubeconfig()
        await lab.line("lease: ", " leads")  # the page's reader has seen it, too
        reading = asyncio.create_task(read_on(lab))
        try:
            environ = {"KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(tmp_path)}
            async with Shell(environ, tmp_path) as shell:
                for step in found:
                    given = step.command.startswith("export KUBECONFIG=")
                    await run(shell, Step(f"export KUBECONFIG={kubeconfig}", ()) if given else step)
                for block in own_blocks("sh"):
                    if block.mark == "run in the lab":
                        await run(shell, Step(block.code.strip().replace("\n", " && "), ()))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def run(shell: Shell, step: Step) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while True:
        code, output = await shell.run(step.command)
        printed = {normal(line) for line in output.splitlines()}
        missing = [line for line in step.shown if normal(line) not in printed]
        only_looks = step.command.startswith(("kubectl get ", "kubectl describe ", "curl "))
        if (code == 0 and not missing) or not only_looks or loop.time() > until:
            break
    told = f"$ {step.command}\n{output}"
    assert code == 0, told
    for before, after in re.findall(r"(\d+) writes before, (\d+) after", output):
        assert before == after, "a replica wrote that did not lead any more"
    assert not missing, f"the page shows {missing}, and there was:\n{told}"


async def read_on(lab: Launcher) -> None:
    """Keep the launcher's pipe from filling up."""
    await lab.line("no line ever has this")
