"""The demo's load, on the embedded server in-process and on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from pyoperator.apiserver import APIServer
from pyoperator.client import Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import GroupVersionKind
from pyoperator.testing import InProcessTransport
from pyoperator.testing.lab import LabError, Project
from pyoperator.testing.lab._load import CHANGE_EVERY, CREATE_EVERY, Load
from tests.support import run_virtual
from tests.testing.lab.test_project import MINIMAL

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
CONFIG_MAPS = Project.model_validate(
    {
        **MINIMAL,
        "resource": {"apiVersion": "v1", "kind": "ConfigMap", "plural": "configmaps"},
        "load": {
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "load-{number}"}},
            "change": {"data": {"number": "{number}"}},
        },
    }
)
BUDGETS = Project.model_validate(
    {
        **MINIMAL,
        "resource": {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "plural": "poddisruptionbudgets"},
        "load": {
            "object": {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "load-{number}"}},
            "change": {"spec": {"minAvailable": 7}},
        },
    }
)
"""Of a kind with generations."""


def admin() -> Client:
    clock = LoopClock(asyncio.get_running_loop())
    return Client(InProcessTransport(APIServer(clock=clock, random=Randomness(1))), clock=clock)


def test_objects_are_made_and_then_changed_at_a_steady_pace() -> None:
    async def scenario() -> None:
        client = admin()
        load = Load(client, CONFIG_MAPS, 3)
        creating = asyncio.create_task(load.create_all())
        await load.wait_created(2)
        assert len(load.created) == 2
        await creating
        assert asyncio.get_running_loop().time() == pytest.approx(3 * CREATE_EVERY)
        changing = asyncio.create_task(load.change_until_stopped())
        await load.wait_changes(4)
        load.stop()
        await changing
        assert asyncio.get_running_loop().time() == pytest.approx(3 * CREATE_EVERY + 3 * CHANGE_EVERY)
        objects = (await client.list(CONFIG_MAP, namespace="default")).items
        numbers = {obj.name: obj["data"]["number"] for obj in objects if obj.name.startswith("load-")}
        assert numbers == {"load-1": "4", "load-2": "2", "load-3": "3"}
        assert not load.failures

    run_virtual(scenario)


def test_a_stop_awaits_the_change_under_way_and_knows_its_generation() -> None:
    async def scenario() -> None:
        client = admin()
        load = Load(client, BUDGETS, 1)
        await load.create_all()
        assert set(load.generations.values()) == {1}
        changing = asyncio.create_task(load.change_until_stopped())
        await asyncio.sleep(0)  # it has begun, and is not answered yet
        before = load.changes
        load.stop()
        await changing
        assert (before, load.changes) == (0, 1)
        assert set(load.generations.values()) == {2}
        (budget,) = (await client.list(BUDGETS.resource.gvk)).items
        assert budget["metadata"]["generation"] == 2

    run_virtual(scenario)


def test_a_change_that_fails_is_counted_and_the_load_goes_on() -> None:
    async def scenario() -> None:
        client = admin()
        load = Load(client, CONFIG_MAPS, 2)
        await load.create_all()
        await client.delete(CONFIG_MAP, "default/load-1")
        changing = asyncio.create_task(load.change_until_stopped())
        await load.wait_changes(4)
        load.stop()
        await changing
        assert len(load.failures) == 2
        assert "load-1" in load.failures[0]

    run_virtual(scenario)


def test_an_object_that_is_refused_ends_it() -> None:
    async def scenario() -> None:
        wrong = {**CONFIG_MAPS.model_dump(by_alias=True), "load": {"object": {**_named("Not A Name")}, "change": {}}}
        with pytest.raises(LabError, match=r"load's object default/Not A Name can't be created"):
            await Load(admin(), Project.model_validate(wrong), 1).create_all()

    run_virtual(scenario)


def test_no_objects_are_no_load() -> None:
    async def scenario() -> None:
        load = Load(admin(), CONFIG_MAPS, 0)
        await load.create_all()
        await load.wait_created(0)
        await load.change_until_stopped()
        await load.wait_changes(5)

    run_virtual(scenario)


def _named(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
