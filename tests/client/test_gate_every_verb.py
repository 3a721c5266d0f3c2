"""Nothing that can write passes a closed fence: every verb of the client, at both of the moments in which it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pyoperator.apiserver import APIServer
from pyoperator.client import (
    AiohttpTransport,
    ApplyPatch,
    Client,
    Configuration,
    DryRunClient,
    FieldOwnerClient,
    FieldValidationClient,
    JSONPatch,
    LeadershipLost,
    MergePatch,
    NamespacedClient,
    OperationResult,
    PodClient,
    RawPatch,
    StrategicMergePatch,
    SubresourceClient,
    UnsupportedMediaType,
    is_mutating,
)
from pyoperator.clock import LoopClock, Randomness
from pyoperator.events import EventRecorder
from pyoperator.leaderelection import ElectionConfig, Leadership
from pyoperator.objects import GroupVersionKind, Unstructured, add_finalizer, remove_finalizer
from pyoperator.testing import InProcessTransport
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.apiserver import APIRequest, APIResponse
    from pyoperator.client import Gate

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
POD = GroupVersionKind("", "v1", "Pod")
KEY = "default/settings"
WEB = "default/web"
CHANGE = MergePatch({"data": {"a": "2"}})


@dataclass(frozen=True)
class Work:
    """What a verb is given: the fenced client, and objects as they were read before the fence closed."""

    client: Client
    settings: Unstructured
    web: Unstructured

    @property
    def fresh(self) -> Unstructured:
        return Unstructured.new(CONFIG_MAP, "fresh", "default", data={})

    def changed(self) -> Unstructured:
        changed = deepcopy(self.settings)
        changed["data"] = {"a": "2"}
        return changed

    def without_finalizer(self) -> Unstructured:
        changed = deepcopy(self.settings)
        assert remove_finalizer(changed, "example.com/hold")
        return changed

    def with_status(self) -> Unstructured:
        changed = deepcopy(self.web)
        _replicas(changed)
        return changed


def _touch(obj: Unstructured) -> None:
    obj["data"] = {"a": "2"}


def _replicas(obj: Unstructured) -> None:
    obj["status"] = {"replicas": 1}


def _apply(kind: GroupVersionKind, name: str, **body: Any) -> Unstructured:
    return Unstructured.new(kind, name, "default", **body)


STATUS = MergePatch({"status": {"replicas": 1}})
VERBS: dict[str, Callable[[Work], Awaitable[object]]] = {
    "create": lambda w: w.client.create(w.fresh),
    "update": lambda w: w.client.update(w.changed()),
    "patch: merge": lambda w: w.client.patch(CONFIG_MAP, KEY, CHANGE),
    "patch: strategic": lambda w: w.client.patch(DEPLOYMENT, WEB, StrategicMergePatch({"spec": {"replicas": 2}})),
    "patch: JSON": lambda w: w.client.patch(
        CONFIG_MAP, KEY, JSONPatch([{"op": "add", "path": "/data", "value": {"a": "2"}}])
    ),
    "patch: raw": lambda w: w.client.patch(
        CONFIG_MAP, KEY, RawPatch("application/merge-patch+json", b'{"data": {"a": "2"}}')
    ),
    "patch: apply": lambda w: w.client.patch(CONFIG_MAP, KEY, ApplyPatch(_apply(CONFIG_MAP, "settings", data={}))),
    "apply": lambda w: w.client.apply(_apply(CONFIG_MAP, "settings", data={"b": "1"})),
    "delete": lambda w: w.client.delete(w.settings),
    "delete: by key": lambda w: w.client.delete(CONFIG_MAP, KEY),
    "delete_all_of": lambda w: w.client.delete_all_of(CONFIG_MAP, namespace="default"),
    "create_or_patch": lambda w: w.client.create_or_patch(w.settings, _touch),
    "create_or_patch: create": lambda w: w.client.create_or_patch(w.fresh, _touch),
    "create_or_update": lambda w: w.client.create_or_update(w.settings, _touch),
    "create_or_update: create": lambda w: w.client.create_or_update(w.fresh, _touch),
    "patch_from": lambda w: w.client.patch_from(w.settings, w.changed()),
    "patch_from: finalizer": lambda w: w.client.patch_from(w.settings, w.without_finalizer()),
    "update: finalizer": lambda w: w.client.update(w.without_finalizer()),
    "patch_status": lambda w: w.client.patch_status(w.web, _replicas),
    "patch_status_from": lambda w: w.client.patch_status_from(w.web, w.with_status()),
    "raw": lambda w: w.client.raw("DELETE", "/api/v1/namespaces/default/configmaps/settings"),
    "raw: repeatable": lambda w: w.client.raw(
        "PUT",
        "/api/v1/namespaces/default/configmaps/settings",
        body=msgspec.json.encode(w.changed()),
        repeatable=True,
    ),
    "subresource.update": lambda w: w.client.status.update(w.with_status()),
    "subresource.patch": lambda w: w.client.status.patch(DEPLOYMENT, WEB, STATUS),
    "subresource.patch_from": lambda w: w.client.status.patch_from(w.web, w.with_status()),
    "subresource.apply": lambda w: w.client.status.apply(_apply(DEPLOYMENT, "web", status={"replicas": 1})),
    "subresource.create": lambda w: w.client.subresource("eviction").create(
        POD, WEB, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web", "namespace": "default"}}
    ),
    "subresource.set_replicas": lambda w: w.client.scale.set_replicas(DEPLOYMENT, WEB, 3),
    "pods.evict": lambda w: w.client.pods.evict(WEB),
    # It hands out a credential: a former leader's business no more than a write.
    "pods.service_account_token": lambda w: w.client.pods.service_account_token("default/web"),
    "wrapper: field owner": lambda w: FieldOwnerClient(w.client, "me").create(w.fresh),
    "wrapper: field validation": lambda w: FieldValidationClient(w.client, "Strict").create(w.fresh),
    "wrapper: namespace": lambda w: NamespacedClient(w.client, "default").create(w.fresh),
    # The server stores nothing, but a webhook may see it.
    "wrapper: dry run": lambda w: DryRunClient(w.client).create(w.fresh),
}
READING = {"complete_key", "get", "list", "pages", "replicas", "resource", "stream", "subresource", "watch"}


class Server(APIServer):
    """Note what could have changed something."""

    def __init__(self) -> None:
        super().__init__(clock=LoopClock(asyncio.get_running_loop()), random=Randomness(1))
        self.written: list[str] = []

    def handle(self, request: APIRequest) -> APIResponse:
        if is_mutating(request.method, request.path):
            self.written.append(f"{request.method} {request.path}")
        return super().handle(request)


class SwitchGate:
    """Close after so many questions."""

    def __init__(self, admitted: int) -> None:
        self.admitted = admitted
        self.asked = 0

    def admit(self, method: str, path: str) -> float | None:
        self.asked += 1
        if self.asked > self.admitted:
            raise LeadershipLost(f"{method} {path} was not sent")
        return None


async def prepare(gate: Gate) -> tuple[Server, Work]:
    server = Server()
    admin = Client(InProcessTransport(server))
    settings = Unstructured.new(CONFIG_MAP, "settings", "default", data={})
    add_finalizer(settings, "example.com/hold")
    containers = {"containers": [{"name": "web", "image": "web"}]}
    labels = {"app": "web"}
    web = Unstructured.new(
        DEPLOYMENT,
        "web",
        "default",
        spec={
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": containers},
        },
    )
    made = [await admin.create(obj) for obj in (settings, web)]
    for other in (
        Unstructured.new(POD, "web", "default", spec=containers),
        Unstructured(apiVersion="v1", kind="ServiceAccount", metadata={"name": "web", "namespace": "default"}),
    ):
        await admin.create(other)
    server.written.clear()
    client = Client(InProcessTransport(server, gate=gate), random=Randomness(2), field_manager="test")
    return server, Work(client, *made)


def test_every_verb_has_a_row() -> None:
    """A new verb needs a row here, or a place among those that read."""
    tried = {name.partition(":")[0].rpartition(".")[2] for name in VERBS}
    for client in (Client, SubresourceClient, PodClient):
        verbs = {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
        assert verbs <= tried | READING, f"{client.__name__}: {verbs - tried - READING}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_leader_s_write_is_sent(verb: str) -> None:
    """Else a refusal below would prove nothing: each row does write."""

    async def main() -> None:
        gate = SwitchGate(1_000)
        server, work = await prepare(gate)
        with contextlib.suppress(UnsupportedMediaType):  # the embedded server got it, and has no server-side apply
            await VERBS[verb](work)
        assert len(server.written) == 1
        assert gate.asked == 2

    run_virtual(main)


@pytest.mark.parametrize("admitted", [0, 1], ids=["when it begins", "right before it is sent"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_former_leader_s_write_is_refused(verb: str, admitted: int) -> None:
    async def main() -> None:
        gate = SwitchGate(admitted)
        server, work = await prepare(gate)
        with pytest.raises(LeadershipLost, match="was not sent"):
            await VERBS[verb](work)
        assert server.written == []
        assert gate.asked == admitted + 1  # a refusal is final: it isn't tried again

    run_virtual(main)


def test_refusals_of_all_verbs_are_counted_and_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        config = ElectionConfig(name="op", namespace="default", identity="a")
        leadership = Leadership(config, LoopClock(asyncio.get_running_loop()))
        leadership.publish(1e9, 7)
        server, work = await prepare(leadership)
        leadership.publish(None, 7)
        for verb in VERBS.values():
            with pytest.raises(LeadershipLost, match="a does not lead"):
                await verb(work)
        assert server.written == []
        assert leadership.statistics().refused_total == len(VERBS)

    run_virtual(main)
    assert capsys.readouterr().out.count("write refused: not the leader") == 1


def test_reads_need_no_leadership() -> None:
    async def main() -> None:
        gate = SwitchGate(0)
        _, work = await prepare(gate)
        client = work.client
        assert (await client.get(CONFIG_MAP, KEY)).name == "settings"
        assert (await client.list(CONFIG_MAP, namespace="default")).items
        assert [page async for page in client.pages(CONFIG_MAP)]
        assert [obj async for obj in client.stream(CONFIG_MAP)]
        assert (await client.scale.replicas(DEPLOYMENT, WEB)).replicas == 1
        async with client.watch(CONFIG_MAP) as events:
            assert (await anext(events)).type == "ADDED"
        assert (await client.create_or_patch(work.settings, lambda obj: None))[1] is OperationResult.UNCHANGED
        assert gate.asked == 0

    run_virtual(main)


def test_a_recorder_on_a_fenced_client_gives_its_events_up() -> None:
    """The manager's recorders are not fenced: Events are exempt. Whoever fences one loses events, and nothing else."""

    async def main() -> None:
        server, work = await prepare(SwitchGate(0))
        recorder = EventRecorder(work.client, "test")
        running = asyncio.create_task(recorder.run())
        recorder.event(work.settings, "Normal", "Saved", "saved")
        await asyncio.sleep(5)
        assert recorder.statistics().failed == 1
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert server.written == []

    run_virtual(main)


def test_a_stream_is_no_way_around() -> None:
    async def main() -> None:
        server, work = await prepare(SwitchGate(0))
        with pytest.raises(LeadershipLost):
            async with work.client.transport.stream("POST", "/api/v1/namespaces/default/pods/web/exec"):
                pass
        assert server.written == []

    run_virtual(main)


async def test_a_stream_over_http_is_no_way_around() -> None:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handle)
    async with TestServer(application) as running:
        url = str(running.make_url("")).rstrip("/")
        async with contextlib.aclosing(AiohttpTransport(Configuration(url), gate=SwitchGate(0))) as transport:
            with pytest.raises(LeadershipLost):
                async with transport.stream("POST", "/api/v1/namespaces/default/pods/web/exec"):
                    pass
            assert transport.statistics().fenced == 1
    assert seen == []
