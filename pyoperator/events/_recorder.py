"""The event recorder: tell users what happened to an object, without ever holding up or failing the work."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import structlog

from pyoperator.client import (
    AlreadyExists,
    ApiError,
    Client,
    Forbidden,
    LeadershipLost,
    MergePatch,
    NotFound,
    TransportError,
)
from pyoperator.clock import Randomness, SystemClock
from pyoperator.events._complaints import Complaints
from pyoperator.objects import GroupVersionKind, Metadata, Scheme, Unstructured, format_micro_time, metadata_of

if TYPE_CHECKING:
    from pyoperator.client import Transport
    from pyoperator.clock import Clock

EVENT_KIND = GroupVersionKind("events.k8s.io", "v1", "Event")

# Limits of the events.k8s.io/v1 validation.
_LONGEST_NOTE = 1024
_LONGEST_NAME = 253
_LONGEST_WORD = 128

_RULE = '{apiGroups: ["events.k8s.io"], resources: [events], verbs: [create, patch]}'
_PLACE = "a ClusterRole, or a Role in each namespace that has events recorded"


@dataclass(frozen=True, slots=True)
class EventRecorderStatistics:
    """Counts since the start: recorded by callers, sent, dropped (queue full, or given up at the end), failed."""

    recorded: int
    sent: int
    dropped: int
    failed: int
    queued: int


@dataclass(frozen=True, slots=True, repr=False)
class _Pending:
    namespace: str
    event: Unstructured
    series: tuple[Any, ...]


@dataclass(slots=True)
class _Series:
    """An event that has been sent, and how often it has come again."""

    name: str
    namespace: str
    count: int
    last: float


class EventRecorder:
    """Record events.k8s.io/v1 Events about objects.

    ``event()`` only puts into a bounded queue and returns; ``run()`` sends what is in it, and is what the manager (or
    the caller) keeps running. When the queue is full the newest event is dropped and counted. Sending is best effort:
    a failure is counted, and warned of once per reason (with the rule to grant, for a 403); the event is given up after
    one more try. The same event about the same object within
    ``series_window`` seconds becomes a series: one Event whose count grows.
    """

    need_leader_election = False

    def __init__(
        self,
        client: Client | Transport,
        component: str,
        *,
        scheme: Scheme | None = None,
        clock: Clock | None = None,
        random: Randomness | None = None,
        identity: str = "",
        queue_size: int = 1000,
        drain_timeout: float = 2.0,
        series_window: float = 360.0,
        logger: Any = None,
    ) -> None:
        if not component:
            raise ValueError("an EventRecorder needs a component: the controller's name, shown in kubectl describe")
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._random = random if random is not None else Randomness()
        if isinstance(client, Client):
            self._client = client
        else:
            self._client = Client(client, clock=self._clock, random=self._random)
        self._scheme = scheme if scheme is not None else self._client.scheme
        self.component = component
        self.identity: str = identity or component
        self._queue_size = queue_size
        self._drain_timeout = drain_timeout
        self._series_window = series_window
        self._log: Any = logger if logger is not None else structlog.get_logger("pyoperator.events")
        self._complaints = Complaints(self._log.bind(component=component), self._clock)
        self._queue: deque[_Pending] = deque()
        self._arrived = asyncio.Event()
        self._series: dict[tuple[Any, ...], _Series] = {}
        self._recorded = self._sent = self._dropped = self._failed = 0
        self.hopeless = False
        """Set it while the server is known not to answer: the end then waits for nothing that is still queued."""

    def event(
        self,
        obj: Any,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        action: str = "",
        related: Any = None,
    ) -> None:
        """Record that something happened to ``obj``; returns at once and never raises.

        ``reason`` is one word in CamelCase, why; ``action`` is what the controller did (default: the reason);
        ``message`` is for people, cut at 1024 bytes. ``related`` is a second object involved. ``obj`` and ``related``
        are objects of any kind that the scheme knows. Call it from the loop that ``run()`` runs on.
        """
        self._recorded += 1
        try:
            pending = self._pending(obj, type_, reason, message, action or reason, related)
        except Exception as error:
            # Whatever is wrong with the object: an event must not fail the work that it tells about.
            self._failed += 1
            self._complaints.tell("event not recorded", type(error).__name__, of=reason, error=str(error))
            return
        if len(self._queue) >= self._queue_size:
            self._dropped += 1
            self._complaints.tell(
                "event dropped", "QueueFull", queue_size=self._queue_size, remedy="record fewer, or raise queue_size"
            )
            return
        self._queue.append(pending)
        self._arrived.set()

    async def run(self) -> None:
        """Send events until cancelled; then try to send what is queued, for at most ``drain_timeout`` seconds."""
        try:
            while True:
                await self._send_queued()
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            await self._drain()

    def statistics(self) -> EventRecorderStatistics:
        """Return the counts so far."""
        return EventRecorderStatistics(self._recorded, self._sent, self._dropped, self._failed, len(self._queue))

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(0.0 if self.hopeless else self._drain_timeout):
                await self._send_queued()
        except TimeoutError:
            self._log.warning("events dropped at the end", count=len(self._queue))
        finally:
            self._dropped += len(self._queue)
            self._queue.clear()

    async def _send_queued(self) -> None:
        while self._queue:
            # Removed only when done: a cancelled sending is repeated by the drain, which its name makes harmless.
            await self._send(self._queue[0])
            self._queue.popleft()

    async def _send(self, pending: _Pending) -> None:
        for last in (False, True):
            try:
                await self._send_once(pending)
            except (ApiError, TransportError) as error:
                if last or (isinstance(error, ApiError) and error.status.code < 500):
                    self._give_up(error)
                    return
                await asyncio.sleep(self._random.jitter(0.5, 1.0))
            except LeadershipLost as error:
                self._give_up(error)
                return
            except Exception as error:
                # A proxy's page instead of the Event, a kind that discovery does not know: whatever it is, an event
                # must not end the recorder, and with it the operator.
                self._give_up(error)
                return
            else:
                self._sent += 1
                return

    def _give_up(self, error: Exception) -> None:
        self._failed += 1
        if not isinstance(error, ApiError):
            self._complaints.tell("event not sent", type(error).__name__, error=str(error) or repr(error))
            return
        if any(cause.get("reason") == "NamespaceTerminating" for cause in error.status.causes):
            self._log.debug("event not sent", reason="NamespaceTerminating")  # the fate of every namespace that goes
            return
        remedy = {"add_rule": _RULE, "to": _PLACE} if isinstance(error, Forbidden) else {}
        self._complaints.tell(
            "event not sent", error.status.reason or str(error.status.code), error=str(error), **remedy
        )

    async def _send_once(self, pending: _Pending) -> None:
        now = self._clock.wall()
        self._forget_old(now)
        series = self._series.get(pending.series)
        if series is not None and await self._continue_series(series, now):
            return
        # AlreadyExists: the answer to an earlier try was lost. The name is random, so the Event is this one.
        with contextlib.suppress(AlreadyExists):
            await self._client.create(pending.event, timeout=10.0)
        self._series[pending.series] = _Series(pending.event.name, pending.namespace, 1, now)

    async def _continue_series(self, series: _Series, now: float) -> bool:
        count = series.count + 1
        patch = MergePatch({"series": {"count": count, "lastObservedTime": format_micro_time(now)}})
        try:
            await self._client.patch(EVENT_KIND, (series.namespace, series.name), patch, timeout=10.0)
        except NotFound:
            return False  # it has expired on the server: begin anew
        series.count, series.last = count, now
        return True

    def _forget_old(self, now: float) -> None:
        for key in [key for key, series in self._series.items() if now - series.last > self._series_window]:
            del self._series[key]

    def _pending(self, obj: Any, type_: str, reason: str, message: str, action: str, related: Any) -> _Pending:
        regarding = self._reference(obj)
        related_reference = self._reference(related) if related is not None else None
        # An Event lives in a namespace: that of its object, or "default" for a cluster-scoped one, as kubectl expects.
        namespace = regarding.get("namespace") or "default"
        suffix = f".{self._random.getrandbits(64):016x}"
        now = self._clock.wall()
        event = Unstructured.new(
            EVENT_KIND,
            f"{regarding['name'][: _LONGEST_NAME - len(suffix)]}{suffix}",
            namespace,
            eventTime=format_micro_time(now),
            type=type_,
            reason=reason[:_LONGEST_WORD],
            action=action[:_LONGEST_WORD],
            note=_cut(message, _LONGEST_NOTE),
            regarding=regarding,
            reportingController=self.component,
            reportingInstance=self.identity[:_LONGEST_WORD],
        )
        if related_reference is not None:
            event["related"] = related_reference
        key = (
            regarding.get("uid"),
            regarding["kind"],
            namespace,
            regarding["name"],
            type_,
            event["reason"],
            event["action"],
            event["note"],
            (related_reference or {}).get("uid"),
        )
        return _Pending(namespace, event, key)

    def _reference(self, obj: Any) -> dict[str, str]:
        gvk = self._gvk(obj)
        codec = None if isinstance(obj, dict) else self._scheme.codec_for(obj)
        read = getattr(codec, "metadata", metadata_of)
        metadata: Metadata = read(obj)
        if not metadata.name:
            raise ValueError("the object has no name")
        reference = {
            "apiVersion": gvk.api_version,
            "kind": gvk.kind,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        }
        return {name: value for name, value in reference.items() if value}

    def _gvk(self, obj: Any) -> GroupVersionKind:
        if isinstance(obj, dict):
            gvk = GroupVersionKind.of(obj.get("apiVersion", ""), obj.get("kind", ""))
            if not gvk.kind:
                raise ValueError("the object names no kind")
            return gvk
        return self._scheme.resource(obj).gvk

    def __repr__(self) -> str:
        return f"EventRecorder({self.component!r}, {len(self._queue)} queued)"


def _cut(text: str, limit: int) -> str:
    """Cut a text to ``limit`` bytes of UTF-8 without splitting a character."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode("utf-8", "ignore") + "..."
