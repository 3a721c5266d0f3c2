"""Runs pods as processes: what a kubelet is to its node, this is to the lab's nodes.

A pod bound to one of them gets a process; its Ready condition follows the process's /readyz; deleting or evicting it
sends SIGTERM, after its grace period SIGKILL, and the pod goes when the process has ended. A process that ends by
itself takes its pod along after a moment: each start is a user of its own, and the ReplicaSet makes the next pod.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from pyoperator.cache import Cache, CacheOptions
from pyoperator.client import ApiError, Conflict, NotFound, StrategicMergePatch, TransportError
from pyoperator.objects import GroupVersionKind, format_time
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._watcher import Waker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.cache import Entry
    from pyoperator.client import Client
    from pyoperator.objects import ObjectKey
    from pyoperator.testing.lab._replica import Replica

POD: Final = GroupVersionKind("", "v1", "Pod")
RESTART_DELAY: Final = 1.0
"""Seconds that the pod of a process which ended by itself stays to be seen, before another one replaces it."""
_NODES: Final = "lab-node-"
_RETRY: Final = 0.5
"""Seconds until a write that failed is tried again: the API server may be down for a while, and that is a lesson."""
_ANNOTATIONS: Final = "lab.pyoperator.dev"


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    containers: list[dict[str, Any]] = []


class _Metadata(msgspec.Struct, rename="camel"):
    deletion_grace_period_seconds: int | None = None


class _PodObject(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decoder = msgspec.json.Decoder(_PodObject)


@dataclass(slots=True, eq=False)
class _Pod:
    """One pod and its process; ``asked`` is set when the API server's object changed or has gone."""

    key: ObjectKey
    uid: str
    node: str
    container: dict[str, Any]
    replica: Replica | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ready: bool = False
    over: bool = False


class Kubelet:
    """All of the lab's nodes in one; :meth:`run` until cancelled.

    ``start(name, node)`` starts a process, ``stopping(replica)`` sends it SIGTERM; ``ended(replica)`` is told of
    its end and ``gone(name)`` of its pod's; ``failed`` gets what makes going on pointless.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        *,
        start: Callable[[str, str], Awaitable[Replica]],
        stopping: Callable[[Replica], None],
        ended: Callable[[Replica], None],
        gone: Callable[[str], None],
        failed: Callable[[LabError], None],
    ) -> None:
        self._client = client
        self._start = start
        self._stopping = stopping
        self._ended = ended
        self._gone = gone
        self._failed = failed
        self._closed = False
        self._pods: dict[str, _Pod] = {}
        self._changed = asyncio.Event()
        silent: Any = structlog.wrap_logger(structlog.ReturnLogger())
        self._cache = Cache(client.transport, client.scheme, clock=client.clock, random=client.random, logger=silent)
        self._informer = self._cache.get_informer(POD, CacheOptions(namespaces=(namespace,)))
        self._informer.add_handler(Waker(self._changed))

    def close(self) -> None:
        """Start nothing any more, and let pods be what they are: the lab stops the processes itself."""
        self._closed = True

    def set_ready(self, replica: Replica, ready: bool) -> None:
        """Take note of a probe's answer."""
        for pod in self._pods.values():
            if pod.replica is replica and pod.ready != ready:
                pod.ready = ready
                pod.changed.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cache.run(), name="lab: pods")
            while True:
                self._changed.clear()
                self._look(group)
                await self._changed.wait()

    def _look(self, group: asyncio.TaskGroup) -> None:
        for entry in list(self._informer.store.entries()):
            known = self._pods.get(entry.metadata.uid)
            if known is not None:
                known.asked.set()
                continue
            found = _decoder.decode(entry.raw)
            if not found.spec.node_name.startswith(_NODES) or self._closed:
                continue
            container = (found.spec.containers or [{"name": "manager"}])[0]
            pod = _Pod(entry.key, entry.metadata.uid, found.spec.node_name, container)
            self._pods[pod.uid] = pod
            group.create_task(self._live(pod), name=f"lab: pod {pod.key}")
        present = {entry.metadata.uid for entry in self._informer.store.entries()}
        for uid, pod in list(self._pods.items()):
            if uid in present:
                continue
            pod.asked.set()
            if pod.over:
                del self._pods[uid]

    async def _live(self, pod: _Pod) -> None:
        """Take one pod through its life."""
        try:
            if self._entry(pod) is not None and not self._is_deleted(pod):
                await self._run_process(pod)
            if not self._closed:
                await self._remove(pod)
                self._gone(pod.key.name)
        except LabError as error:
            self._failed(error)
        finally:
            # Known until the watch has told of its end: a late event must not start it again.
            pod.over = True
            self._changed.set()

    async def _run_process(self, pod: _Pod) -> None:
        replica = pod.replica = await self._start(pod.key.name, pod.node)
        mirror = asyncio.create_task(self._mirror(pod, replica))
        end = asyncio.ensure_future(replica.process.wait())
        deadline: float | None = None
        loop = asyncio.get_running_loop()
        asked = False
        try:
            while not end.done():
                pod.asked.clear()
                grace = self._grace(pod)
                if grace is not None and not self._closed:
                    asked = True
                    if not grace:
                        replica.kill()  # the object is gone: nothing is left to wait for
                    elif deadline is None:
                        deadline = loop.time() + grace
                        self._stopping(replica)
                    else:
                        deadline = min(deadline, loop.time() + grace)
                    if deadline is not None and loop.time() >= deadline:
                        replica.kill()
                        deadline = None
                await _first(end, pod.asked.wait(), within=None if deadline is None else deadline - loop.time())
                if deadline is not None and loop.time() >= deadline and not end.done():
                    replica.kill()
                    await end
            self._ended(replica)
            if not asked and not self._closed:
                pod.ready = False
                pod.changed.set()
                await asyncio.sleep(RESTART_DELAY)
        finally:
            for task in (mirror, end):
                task.cancel()
            await asyncio.gather(mirror, end, return_exceptions=True)

    def _entry(self, pod: _Pod) -> Entry | None:
        entry = self._informer.store.get(pod.key)
        return entry if entry is not None and entry.metadata.uid == pod.uid else None

    def _is_deleted(self, pod: _Pod) -> bool:
        entry = self._entry(pod)
        return entry is not None and entry.metadata.deletion_timestamp is not None

    def _grace(self, pod: _Pod) -> int | None:
        """Return the seconds that a deleted pod has left to stop, 0 if it is gone already, None if nobody deleted it."""
        entry = self._entry(pod)
        if entry is None:
            return 0
        if entry.metadata.deletion_timestamp is None:
            return None
        return _decoder.decode(entry.raw).metadata.deletion_grace_period_seconds or 1

    # What the API server is told.

    async def _mirror(self, pod: _Pod, replica: Replica) -> None:
        """Write the pod's status whenever it differs, until cancelled."""
        while True:
            pod.changed.clear()
            patch = StrategicMergePatch(self._document(pod, replica))
            if await self._written(self._client.status.patch(POD, pod.key, patch)):
                await pod.changed.wait()
            else:
                await asyncio.sleep(_RETRY)

    async def _remove(self, pod: _Pod) -> None:
        while not await self._written(  # noqa: ASYNC110  # nothing tells when the API server answers again
            self._client.delete(POD, pod.key, uid=pod.uid, grace_period_seconds=0)
        ):
            await asyncio.sleep(_RETRY)

    async def _written(self, write: Awaitable[Any]) -> bool:
        """Tell whether a write is done with: it succeeded, or what it was for is gone."""
        try:
            await write
        except (NotFound, Conflict):
            return True
        except (ApiError, TransportError):
            return False
        return True

    def _document(self, pod: _Pod, replica: Replica) -> dict[str, Any]:
        started = format_time(replica.started_at)
        now = format_time(self._client.clock.wall())
        state: dict[str, Any] = {"running": {"startedAt": started}, "terminated": None}
        code = replica.process.code
        if code is not None:
            ended = {"exitCode": code if code >= 0 else 128 - code, "reason": "Completed" if code == 0 else "Error"}
            state = {"terminated": {**ended, "startedAt": started, "finishedAt": now}, "running": None}
        container = {
            "name": pod.container["name"],
            "image": pod.container.get("image", ""),
            "imageID": "",
            "containerID": f"process://{replica.process.pid}",
            "ready": pod.ready,
            "started": code is None,
            "restartCount": 0,
            "state": state,
        }
        why = (
            {} if pod.ready else {"reason": "ContainersNotReady", "message": "the process's /readyz does not answer ok"}
        )
        readiness = {
            "status": "True" if pod.ready else "False",
            "lastTransitionTime": now,
            "reason": None,
            "message": None,
        }
        steady = {"status": "True", "lastTransitionTime": started}
        return {
            "metadata": {
                "annotations": {
                    f"{_ANNOTATIONS}/pid": str(replica.process.pid),
                    f"{_ANNOTATIONS}/metrics": replica.metrics.address,
                    f"{_ANNOTATIONS}/probes": replica.probes.address,
                }
            },
            "status": {
                "phase": "Running",
                "hostIP": "127.0.0.1",
                "podIP": "127.0.0.1",
                "podIPs": [{"ip": "127.0.0.1"}],
                "startTime": started,
                "containerStatuses": [container],
                "conditions": [
                    {"type": "PodReadyToStartContainers", **steady},
                    {"type": "Initialized", **steady},
                    {"type": "Ready", **readiness, **why},
                    {"type": "ContainersReady", **readiness, **why},
                ],
            },
        }


async def _first(kept: asyncio.Future[Any], other: Any, *, within: float | None) -> None:
    """Wait for either, at most ``within`` seconds; ``other`` is cancelled afterwards."""
    task = asyncio.ensure_future(other)
    try:
        await asyncio.wait((kept, task), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
