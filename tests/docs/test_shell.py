"""Every shell block of the documentation is run, page by page, or says why not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyoperator.testing.lab._ports import ReservedPort
from tests.docs.pages import ROOT, blocks, own_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.docs.pages import Block

SHELL = own_blocks("sh", "console", "bash", "shell")
PAGES = sorted({block.page for block in SHELL if block.mark == "run"})
TIMEOUT = 120
PORT = re.compile(r"(?:(?<=localhost:)|(?<=127\.0\.0\.1:))[1-9]\d{3,4}\b")
_END_OF_BLOCK = "----- end of block -----"


def test_every_shell_block_is_run_or_says_why_not() -> None:
    # "run in the lab": with a deployed operator at hand, where the lab's own page is tried (tests/e2e/test_lab_document.py).
    marks = ("run", "run in the lab")
    unmarked = [block.place for block in SHELL if block.mark not in marks and not block.mark.startswith("not run: ")]
    assert not unmarked


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="MISSING TOOL kubectl: the guides' commands are not run")
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, tmp_path: Path) -> None:
    of_page = blocks(ROOT / page)
    commands = [block for block in of_page if block in SHELL and block.mark == "run"]
    script = "set -euo pipefail\n" + "".join(f"{block.code}echo '{_END_OF_BLOCK}'\n" for block in commands)
    with free_ports() as elsewhere:
        for block in of_page:
            if block.mark.startswith("file: "):
                (tmp_path / block.mark.removeprefix("file: ")).write_text(elsewhere(block.code), "utf-8")
        outputs, errors, code = run(elsewhere(script), tmp_path)
    logs = "".join(f"\n--- {log.name}\n{log.read_text('utf-8')}" for log in sorted(tmp_path.glob("*.log")))
    assert code == 0, f"{page}: exit code {code}\n{outputs}\n{errors}{logs}"
    told = outputs.split(_END_OF_BLOCK)
    for number, expected in expectations(of_page, commands):
        for line in expected.splitlines():
            pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())
            assert re.search(pattern, told[number]), f"{page}: {line!r} is not in\n{told[number]}{logs}"


@contextmanager
def free_ports() -> Iterator[Callable[[str], str]]:
    """Yield what puts free ports in the place of those of a page: somebody may listen on them here."""
    with ExitStack() as held:
        ports: dict[str, ReservedPort] = {}

        def free(match: re.Match[str]) -> str:
            if match[0] not in ports:
                ports[match[0]] = held.enter_context(ReservedPort())
            return ports[match[0]].address.rpartition(":")[2]

        yield lambda text: PORT.sub(free, text)


def expectations(of_page: list[Block], commands: list[Block]) -> list[tuple[int, str]]:
    """Pair each ``<!-- output -->`` block with the number of the command block that it follows."""
    found: list[tuple[int, str]] = []
    for block in of_page:
        if block.mark == "output":
            before = [number for number, command in enumerate(commands) if command.line < block.line]
            found.append((before[-1], block.code))
    return found


def run(script: str, folder: Path) -> tuple[str, str, int]:
    """Run a script as a reader would type it, in an empty home; nothing that it started outlives it."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": "",
        "LANG": "C.UTF-8",
    }
    # Files, not pipes: what is left in the background would hold a pipe open.
    with (folder / ".output").open("w+") as output, (folder / ".errors").open("w+") as errors:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=environment, stdout=output, stderr=errors, start_new_session=True
        )
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            errors.write(f"\nnot finished after {TIMEOUT} s")
            code = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        errors.seek(0)
        return output.read(), errors.read(), code
