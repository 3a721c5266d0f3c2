"""Watches the lab from outside, as its administrator: Lease, custom resources, events, probes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
import structlog

from pyoperator.cache import Cache, CacheOptions
from pyoperator.objects import GroupVersionKind, parse_time
from pyoperator.testing.lab._snapshot import ConditionView, EventView, LeaseView, ObjectView, ReplicaView, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyoperator.cache import CacheEvent, Entry, Informer
    from pyoperator.client import Client
    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._replica import Replica
    from pyoperator.testing.lab._snapshot import ReplicaState

LEASE: Final = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
EVENT: Final = GroupVersionKind("events.k8s.io", "v1", "Event")
_PROBE_EVERY: Final = 0.25
"""Seconds between two probes of a replica: short, since a rolling update waits for them."""
_PROBE_TIMEOUT: Final = 1.0  # the kubelet's default
_EVENTS_SHOWN: Final = 200


class _Lease(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_transitions: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_duration_seconds: int | None = None


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str = ""


class _Status(msgspec.Struct, rename="camel"):
    observed_generation: int | None = None
    conditions: list[_Condition] | None = None


class _LeaseObject(msgspec.Struct):
    spec: _Lease = msgspec.field(default_factory=_Lease)


class _CustomObject(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


class _Reference(msgspec.Struct):
    kind: str = ""
    name: str = ""


class _Event(msgspec.Struct, rename="camel"):
    regarding: _Reference = msgspec.field(default_factory=_Reference)
    type: str = ""
    reason: str = ""
    note: str = ""
    event_time: str | None = None


_lease_decoder = msgspec.json.Decoder(_LeaseObject)
_custom_decoder = msgspec.json.Decoder(_CustomObject)
_event_decoder = msgspec.json.Decoder(_Event)


class LabWatcher:
    """Keeps what is known and makes a :class:`Snapshot` of it at any time; :meth:`run` must be running.

    ``replicas`` returns the process starts to show and to probe; ``probed`` hears of each answer of /readyz.
    """

    def __init__(
        self,
        client: Client,
        project: Project,
        replicas: Callable[[], Iterable[Replica]],
        probed: Callable[[Replica, bool], None] = lambda replica, ready: None,
    ) -> None:
        self._client = client
        self._project = project
        self._replicas = replicas
        self._tell_probed = probed
        self._changed = asyncio.Event()
        self._probed: dict[str, tuple[str, str]] = {}
        self._answered: set[str] = set()
        scheme = client.scheme
        scheme.add_resource(project.resource.resource)
        # What goes wrong here is seen as stale data; its log would tear the view apart.
        silent: Any = structlog.wrap_logger(structlog.ReturnLogger())
        self._cache = Cache(client.transport, scheme, clock=client.clock, random=client.random, logger=silent)
        lease = CacheOptions(
            namespaces=(project.lease.namespace,), field_selector=f"metadata.name={project.lease.name}"
        )
        self._lease = self._follow(LEASE, lease)
        self._objects = self._follow(project.resource.gvk, CacheOptions())
        self._events = self._follow(EVENT, CacheOptions())

    def _follow(self, kind: GroupVersionKind, options: CacheOptions) -> Informer:
        informer = self._cache.get_informer(kind, options)
        informer.add_handler(Waker(self._changed))
        return informer

    async def run(self) -> None:
        """Watch and probe until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cache.run(), name="lab: watches")
            group.create_task(self._probe_for_ever(), name="lab: probes")

    async def wait_synced(self) -> None:
        """Wait until everything has been listed once."""
        await self._cache.wait_for_cache_sync()

    async def changed(self) -> None:
        """Wait for the next change of anything that a snapshot shows."""
        self._changed.clear()
        await self._changed.wait()

    def notice(self) -> None:
        """Tell waiters that something changed that is not watched: a process started or ended."""
        self._changed.set()

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self._client.clock.wall(),
            kind=self._project.resource.kind,
            ready_condition=self._project.ready_condition,
            lease=self.lease(),
            replicas=tuple(self._view(replica) for replica in self._replicas()),
            objects=tuple(sorted(map(_object_view, self._objects.store.entries()), key=lambda view: view.name)),
            events=tuple(self._recent_events()),
        )

    def lease(self) -> LeaseView:
        """Return the Lease as last seen."""
        entry = next(iter(self._lease.store.entries()), None)
        return LeaseView() if entry is None else _lease_view(entry)

    def _recent_events(self) -> list[EventView]:
        views = [_event_view(entry) for entry in self._events.store.entries()]
        return sorted(views, key=lambda view: view.at)[-_EVENTS_SHOWN:]

    def _view(self, replica: Replica) -> ReplicaView:
        healthz, readyz = self._probed.get(replica.name, ("-", "-")) if replica.process.running else ("-", "-")
        return ReplicaView(
            name=replica.name,
            node=replica.node,
            pid=replica.process.pid,
            state=_state(replica, healthz, readyz, answered=replica.name in self._answered),
            healthz=healthz,
            readyz=readyz,
            probes=replica.probes.address,
            metrics=replica.metrics.address,
            code=replica.process.code,
        )

    async def _probe_for_ever(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_TIMEOUT)) as session:
            while True:
                running = [replica for replica in self._replicas() if replica.process.running]
                found = await asyncio.gather(*(self._probe(session, replica) for replica in running))
                for replica, (healthz, readyz) in zip(running, found, strict=True):
                    if healthz != "-":
                        self._answered.add(replica.name)
                    self._tell_probed(replica, readyz == "ok")
                probed = dict(zip((replica.name for replica in running), found, strict=True))
                if probed != self._probed:
                    self._probed = probed
                    self._changed.set()
                await asyncio.sleep(_PROBE_EVERY)

    async def _probe(self, session: aiohttp.ClientSession, replica: Replica) -> tuple[str, str]:
        return (
            await _ask(session, f"http://{replica.probes.address}/healthz"),
            await _ask(session, f"http://{replica.probes.address}/readyz"),
        )


class Waker:
    """An event handler that only says that something changed."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed

    def on_add(self, event: CacheEvent) -> None:
        self._changed.set()

    def on_update(self, event: CacheEvent) -> None:
        self._changed.set()

    def on_delete(self, event: CacheEvent) -> None:
        self._changed.set()


async def _ask(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            return "ok" if response.status == 200 else str(response.status)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return "-"


def _state(replica: Replica, healthz: str, readyz: str, *, answered: bool) -> ReplicaState:
    if not replica.process.running:
        return "ended"
    if replica.terminated_at is not None or replica.killed_at is not None:
        return "stopping"
    if readyz == "ok":
        return "ready"
    if healthz != "-":
        return "not ready"
    return "silent" if answered else "starting"


def _instant(text: str | None) -> float | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _lease_view(entry: Entry) -> LeaseView:
    try:
        spec = _lease_decoder.decode(entry.raw).spec
    except msgspec.DecodeError:  # edited by hand into something else: nobody's
        return LeaseView()
    return LeaseView(
        holder=spec.holder_identity or "",
        transitions=spec.lease_transitions or 0,
        acquired_at=_instant(spec.acquire_time),
        renewed_at=_instant(spec.renew_time),
        duration=float(spec.lease_duration_seconds or 0),
    )


def _object_view(entry: Entry) -> ObjectView:
    metadata = entry.metadata
    try:
        status = _custom_decoder.decode(entry.raw).status
    except msgspec.DecodeError:
        status = _Status()
    return ObjectView(
        name=str(entry.key),
        uid=metadata.uid,
        generation=metadata.generation,
        observed_generation=status.observed_generation,
        conditions=tuple(
            ConditionView(condition.type, condition.status, condition.reason) for condition in status.conditions or ()
        ),
        deleting=metadata.deletion_timestamp is not None,
    )


def _event_view(entry: Entry) -> EventView:
    try:
        event = _event_decoder.decode(entry.raw)
    except msgspec.DecodeError:
        event = _Event()
    at = _instant(event.event_time) or _instant(entry.metadata.creation_timestamp) or 0.0
    regarding = event.regarding
    return EventView(at, event.type, event.reason, f"{regarding.kind} {regarding.name}".strip(), event.note)
