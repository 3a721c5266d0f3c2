"""The code that the README shows is run as it stands there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyoperator import Client, Manager, ObjectKey
from pyoperator.apiserver import APIServer, ServerOptions
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import ObjectMeta, Unstructured
from pyoperator.schema import crd_manifest
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_operator_of_the_readme_works(monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert len(code) == 1
    assert len([line for line in code[0].splitlines() if line.strip()]) <= 32
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code[0], "README.md", "exec", dont_inherit=True), namespace)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = APIServer(clock=LoopClock(loop), random=Randomness(1), options=ServerOptions())
        client = Client(InProcessTransport(server))
        await client.create(Unstructured(crd_manifest(namespace["Greeting"])))
        monkeypatch.setitem(namespace, "Manager", lambda **options: _in_process_manager(server, options))
        manager: Manager = namespace["build"]()
        running = asyncio.create_task(manager.start())
        greeting = namespace["Greeting"](
            metadata=ObjectMeta(name="hello", namespace="default"), spec=namespace["GreetingSpec"](name="world")
        )
        await client.create(greeting)
        await asyncio.sleep(10)
        config_map = await client.get(namespace["CONFIG_MAP"], ObjectKey("default", "hello"))
        assert config_map["data"] == {"text": "Hello, world!"}
        assert config_map.metadata["ownerReferences"][0]["kind"] == "Greeting"
        manager.stop()
        await running

    run_virtual(main)


def test_its_figures_are_those_that_were_measured() -> None:
    measured = {row[0]: row for row in _rows(README.parent / "benchmarks" / "RESULTS.md", 6)}
    shown = [row for row in _rows(README, 4) if row[0] and not row[0].startswith("---")]
    assert len(shown) > 5
    for what, ours, theirs, ratio in shown:
        assert [ours, theirs, ratio] == measured[what][2:5], f"{what}: say in the README what the last run gave"


def _rows(page: Path, cells: int) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if len(row) == cells]


def _in_process_manager(server: APIServer, options: dict[str, Any]) -> Manager:
    return Manager(
        transport_factory=lambda gate: InProcessTransport(server, gate=gate),
        leader_election_namespace="default",
        clock=LoopClock(asyncio.get_running_loop()),
        random=Randomness(2),
        **options,
    )
