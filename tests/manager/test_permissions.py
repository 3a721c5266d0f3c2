"""Missing permissions are named at start: logged once with the rule to add, shown by readiness, never fatal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from structlog.testing import capture_logs

from pyoperator.apiserver import APIServer
from pyoperator.cache import CacheOptions
from pyoperator.client import Client
from pyoperator.clock import LoopClock, Randomness
from pyoperator.manager import CacheConfiguration, Manager
from pyoperator.objects import GroupVersionKind, Unstructured
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
RBAC = "rbac.authorization.k8s.io"
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update", "watch"]}
EVENTS = {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}
MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}


async def _grant(server: APIServer, *rules: dict[str, Any]) -> None:
    admin = Client(InProcessTransport(server))
    role = Unstructured.new(GroupVersionKind(RBAC, "v1", "ClusterRole"), "operator", rules=list(rules))
    binding = Unstructured.new(
        GroupVersionKind(RBAC, "v1", "ClusterRoleBinding"),
        "operator",
        roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": "operator"},
        subjects=[{"kind": "User", "apiGroup": RBAC, "name": "operator"}],
    )
    await admin.create(role)
    await admin.create(binding)


def _manager(server: APIServer, namespaces: tuple[str, ...] = ()) -> Manager:
    manager = Manager(
        transport_factory=lambda gate: InProcessTransport(server, gate=gate, credential="operator"),
        cache=CacheConfiguration(by_kind={CONFIG_MAP: CacheOptions(namespaces=namespaces)}),
        leader_election=True,
        leader_election_id="example",
        leader_election_namespace="default",
        identity="me",
        clock=LoopClock(asyncio.get_running_loop()),
        random=Randomness(2),
    )
    manager.cache.get_informer(CONFIG_MAP)
    return manager


def _server() -> APIServer:
    return APIServer(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(1))


def _told(logs: Sequence[Any]) -> list[tuple[str, str]]:
    return [(entry["add_rule"], entry["to"]) for entry in logs if entry["event"] == "permission missing"]


async def _reasons(manager: Manager) -> dict[str, str]:
    return {result.name: result.reason for result in await manager.readyz.run() if result.reason}


def test_each_missing_rule_is_named_once_and_its_arrival_is_noticed() -> None:
    async def main() -> None:
        server = _server()
        manager = _manager(server)
        with capture_logs() as logs:
            task = asyncio.create_task(manager.start())
            await asyncio.sleep(100)
            assert _told(logs) == [
                ('{apiGroups: [""], resources: [configmaps], verbs: [list, watch]}', "a ClusterRole"),
                (
                    '{apiGroups: ["coordination.k8s.io"], resources: [leases], resourceNames: [example], verbs: [get, update]}',
                    "a Role in the namespace default",
                ),
                (
                    '{apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [create]}',
                    "a Role in the namespace default",
                ),
                (
                    '{apiGroups: ["coordination.k8s.io"], resources: [leases], resourceNames: [example], verbs: [watch]}',
                    "a Role in the namespace default",
                ),
                (
                    '{apiGroups: ["events.k8s.io"], resources: [events], verbs: [create, patch]}',
                    "a Role in the namespace default",
                ),
            ]
            reasons = await _reasons(manager)
            assert "add {apiGroups" in reasons["permissions"]
            assert "list, watch configmaps" in reasons["startup"]
            assert not task.done()
            await _grant(server, LEASES, MAPS, EVENTS)
            await manager.elected.wait()
            await asyncio.sleep(60)
            assert await _reasons(manager) == {}
            assert [entry for entry in logs if entry["event"] == "all permissions are there now"]
        manager.stop()
        await task

    run_virtual(main)


def test_what_only_speeds_up_is_told_but_keeps_nobody_from_being_ready() -> None:
    async def main() -> None:
        server = _server()
        await _grant(server, {**LEASES, "verbs": ["get", "create", "update"]}, MAPS, EVENTS)
        manager = _manager(server)
        with capture_logs() as logs:
            task = asyncio.create_task(manager.start())
            await manager.elected.wait()
            await asyncio.sleep(1)
        assert [rule.partition("verbs")[2] for rule, _ in _told(logs)] == [": [watch]}"]
        assert await _reasons(manager) == {}
        manager.stop()
        await task

    run_virtual(main)


@pytest.mark.parametrize("rules", [[LEASES, MAPS, EVENTS]])
def test_with_all_there_nothing_is_said(rules: list[dict[str, Any]]) -> None:
    async def main() -> None:
        server = _server()
        await _grant(server, *rules)
        manager = _manager(server, ("default", "kube-system"))
        with capture_logs() as logs:
            task = asyncio.create_task(manager.start())
            await manager.elected.wait()
            await asyncio.sleep(1)
        assert _told(logs) == []
        manager.stop()
        await task

    run_virtual(main)


def test_a_confined_cache_needs_a_role_in_each_namespace() -> None:
    async def main() -> None:
        server = _server()
        await _grant(server, LEASES, EVENTS)
        manager = _manager(server, ("default", "kube-system"))
        with capture_logs() as logs:
            task = asyncio.create_task(manager.start())
            await asyncio.sleep(1)
        assert [place for _, place in _told(logs)] == [
            "a Role in the namespace default",
            "a Role in the namespace kube-system",
        ]
        manager.stop()
        await task

    run_virtual(main)


def test_a_recorder_needs_the_rule_for_events_and_the_rule_that_is_told_suffices() -> None:
    async def main() -> None:
        server = _server()
        await _grant(server, LEASES, MAPS)
        manager = _manager(server)
        recorder = manager.event_recorder("example")
        thing = Unstructured.new(CONFIG_MAP, "thing", "kube-system")
        with capture_logs() as logs:
            task = asyncio.create_task(manager.start())
            await manager.elected.wait()
            for _ in range(5):
                recorder.event(thing, "Normal", "Seen", "hello")
                await asyncio.sleep(1)
            assert _told(logs) == [
                ('{apiGroups: ["events.k8s.io"], resources: [events], verbs: [create, patch]}', "a ClusterRole")
            ]
            assert [line["effect"] for line in logs if line["event"] == "permission missing"] == [
                "works without it, but events are lost"
            ]
            assert await _reasons(manager) == {}  # work goes on
            refused = [line for line in logs if line["event"] == "event not sent" and line["component"] == "example"]
            assert [(line["log_level"], line["reason"], line["add_rule"]) for line in refused] == [
                ("warning", "Forbidden", _told(logs)[0][0])
            ]
            assert "cannot create resource" in refused[0]["error"]
            admin = Client(InProcessTransport(server))
            role = await admin.get(GroupVersionKind(RBAC, "v1", "ClusterRole"), "operator")
            role["rules"] = [LEASES, MAPS, yaml.safe_load(refused[0]["add_rule"])]
            await admin.update(role)
            for _ in range(3):
                recorder.event(thing, "Normal", "Seen", "hello")
            await asyncio.sleep(60)
            assert [line for line in logs if line["event"] == "all permissions are there now"]
        found = await admin.list(GroupVersionKind("events.k8s.io", "v1", "Event"), namespace="kube-system")
        assert [event["series"]["count"] for event in found] == [3]
        manager.stop()
        await task

    run_virtual(main)


def test_the_events_of_an_election_need_no_more_than_a_role_beside_its_lease() -> None:
    async def main() -> None:
        server = _server()
        manager = _manager(server, ("kube-system",))
        manager.event_recorder("example")
        with capture_logs() as logs:
            task = asyncio.create_task(manager.start())
            await asyncio.sleep(1)
        assert [place for rule, place in _told(logs) if "events" in rule] == [
            "a Role in the namespace default",
            "a Role in the namespace kube-system",
        ]
        manager.stop()
        await task

    run_virtual(main)
