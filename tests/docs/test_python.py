"""Every Python block of the documentation: programs run, operators do what their page says, snippets at least compile."""

from __future__ import annotations

import ast
import importlib
import logging
import signal
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.docs import scenarios
from tests.docs.pages import own_blocks
from tests.docs.programs import load, operator
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.pages import Block

LIMIT = 60
BLOCKS = own_blocks("python")
OPERATORS = [block for block in BLOCKS if block.mark.startswith(("operator: ", "file: "))]
PROGRAMS = [block for block in BLOCKS if block.mark == "program"]


def place(block: Block) -> str:
    return block.place


def scenario_of(block: Block) -> str:
    """``<!-- operator: websites -->`` and ``<!-- file: website.py -->``: name of the scenario that tries it."""
    return block.mark.partition(": ")[2].removesuffix(".py").replace("-", "_")


@pytest.fixture(autouse=True)
def _no_endless_run() -> Iterator[None]:
    """On virtual time a program that is woken by its own writes never ends: say so instead."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"not finished after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    before = structlog.get_config()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize("block", OPERATORS, ids=place)
def test_operators_work(block: Block) -> None:
    scenario = getattr(scenarios, scenario_of(block))

    async def main() -> None:
        async with operator(block) as world:
            await scenario(world)

    run_virtual(main)


@pytest.mark.parametrize("block", PROGRAMS, ids=place)
def test_programs_run(block: Block) -> None:
    load(block, "__main__")


@pytest.mark.parametrize("block", BLOCKS, ids=place)
def test_blocks_compile_and_import_what_there_is(block: Block) -> None:
    tree = compile(
        block.code, block.place, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pyoperator"):
            door = importlib.import_module(str(node.module))
            assert {alias.name for alias in node.names} <= set(door.__all__)
    assert max((len(line) for line in block.code.splitlines()), default=0) <= 120


def test_marks_are_known() -> None:
    known = ("", "program")
    assert [block.place for block in BLOCKS if block.mark not in known and block not in OPERATORS] == []


def test_every_scenario_has_its_program() -> None:
    names = {scenario_of(block) for block in OPERATORS}
    assert names == set(scenarios.__all__)
