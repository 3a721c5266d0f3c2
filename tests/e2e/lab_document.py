"""The commands of docs/lab.md: read from its ``console`` blocks, run in one shell, compared with what it shows."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

DOCUMENT = Path(__file__).parents[2] / "docs" / "lab.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run, each shown as one word.
_CHANGING = (
    (re.compile(r"/tmp/pyoperator-lab-\w+"), "LAB"),
    (re.compile(r"_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "_UUID"),
    (re.compile(r"controller-manager-[a-z0-9]{8,10}-[a-z0-9]{5}"), "POD"),
    (re.compile(r"controller-manager-[a-z0-9]{8,10}\b"), "SET"),
    (re.compile(r"lab-node-\d"), "NODE"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\b(\d+[dhms]){1,2}\b"), "AGE"),
    (re.compile(r"\b\d+(\.\d+)?(e[+-]?\d+)?\b"), "N"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and the lines that the document shows after it."""

    command: str
    shown: tuple[str, ...]


def steps(text: str) -> list[Step]:
    """Return the commands of all ``console`` blocks, in order."""
    found: list[Step] = []
    for language, block in _BLOCK.findall(text):
        assert language in {"console", "text"}, f"a block of {language or 'no language'} would not be run by this test"
        if language != "console":
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line.removeprefix("$ "), ()))
            elif line != "...":
                found[-1] = Step(found[-1].command, (*found[-1].shown, line))
    return found


def normal(line: str) -> str:
    """Return a line with everything replaced that is another one in each run."""
    for pattern, word in _CHANGING:
        line = pattern.sub(word, line)
    return line.strip()


class Shell:
    """One bash that runs one command after the other, as a reader's does."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            "bash",
            "--noprofile",
            "--norc",
            env={**os.environ, **self._environ},
            cwd=self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    async def run(self, command: str, within: float = 40.0) -> tuple[int, str]:
        """Return exit code and output."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = f"done-{secrets.token_hex(8)}"
        self._process.stdin.write(f'{command}\nprintf "\\n%s %s\\n" {mark} "$?"\n'.encode())
        output = ""
        async with asyncio.timeout(within):
            while True:
                raw = await self._process.stdout.readline()
                assert raw, f"the shell ended in {command!r}:\n{output}"
                line = raw.decode()
                if line.startswith(mark):
                    return int(line.split()[1]), output
                output += line
