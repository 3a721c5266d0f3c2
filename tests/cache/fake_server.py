"""One collection of an API server, scripted: lists, pages, watches, compaction, and every way to break them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
import structlog

from pyoperator.cache import Cache, CacheEvent, Entry
from pyoperator.client import Response, TransportError
from pyoperator.clock import LoopClock, Randomness
from pyoperator.objects import GroupVersionKind, ObjectKey, ResourceKind, Scheme
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from pyoperator.client import Query

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
RESOURCE = ResourceKind(WIDGET, "widgets")
WatchList: TypeAlias = Literal["supported", "refused", "ignored"]
"""What becomes of sendInitialEvents; "ignored" is an ordinary watch, as of a server that does not know it."""
BOOKMARK_PERIOD = 60.0
_END: Final = {"annotations": {"k8s.io/initial-events-end": "true"}}


def scheme() -> Scheme:
    found = Scheme()
    found.add_resource(RESOURCE)
    return found


def status_body(code: int, reason: str = "", message: str = "", **details: Any) -> bytes:
    return msgspec.json.encode(
        {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message, "details": details}
    )


@dataclass
class Fault:
    """What one request gets instead of its answer."""

    status: int = 200
    body: bytes = b""
    error: Exception | None = None
    error_after_body: Exception | None = None
    hang: bool = False
    lagging: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class _Stream:
    def __init__(self, status: int, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._chunks = chunks

    def chunks(self) -> AsyncIterator[bytes]:
        return self._chunks


@dataclass
class Request:
    at: float
    watch: bool
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]

    @property
    def initial(self) -> bool:
        """Whether it asks for the complete state as the beginning of the watch."""
        return self.query.get("sendInitialEvents") == "true"

    @property
    def asks_version(self) -> bool:
        """Whether it asks for nothing but the version that the server has come to: a list of one."""
        return not self.watch and self.query == {"limit": "1"}


class _Mute(Exception):
    pass


class FakeServer:
    """A Transport over one collection whose state and history the test owns."""

    in_process = True

    def __init__(
        self,
        *,
        chunk: int = 0,
        gone_as_event: bool = True,
        ignore_limit_at_zero: bool = False,
        watch_list: WatchList = "supported",
    ) -> None:
        self.version = 100
        self.oldest = 100
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.chunk = chunk
        self.gone_as_event = gone_as_event
        self.ignore_limit_at_zero = ignore_limit_at_zero
        self.watch_list: WatchList = watch_list
        self.requests: list[Request] = []
        self.list_faults: deque[Fault | None] = deque()
        self.watch_faults: deque[Fault | None] = deque()
        self.always: Callable[[Request], Fault | None] = lambda _: None
        self.after_page: Callable[[], None] = lambda: None
        self.end_follows = True
        self.before_end: Callable[[asyncio.Queue[bytes | Exception | None]], None] = lambda _: None
        self.watches: list[asyncio.Queue[bytes | Exception | None]] = []
        self._snapshots: dict[str, list[dict[str, Any]]] = {}
        self._uids = 0

    # --- what the test does

    def put(self, name: str, namespace: str = "a", *, fresh: bool = False, **fields: Any) -> dict[str, Any]:
        key = ObjectKey(namespace, name)
        old = self.objects.get(key)
        if fresh and old is not None:
            self.delete(name, namespace)
            old = None
        self.version += 1
        if old is None:
            self._uids += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": old["metadata"]["uid"] if old else f"uid-{self._uids}",
            "resourceVersion": str(self.version),
            **fields.pop("metadata", {}),
        }
        obj = {"apiVersion": WIDGET.api_version, "kind": WIDGET.kind, "metadata": metadata, **fields}
        self.objects[key] = obj
        self._publish("ADDED" if old is None else "MODIFIED", obj)
        return obj

    def delete(self, name: str, namespace: str = "a") -> None:
        obj = self.objects.pop(ObjectKey(namespace, name))
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self._publish("DELETED", obj)

    def compact(self) -> None:
        self.oldest = self.version
        self._snapshots.clear()

    def cut(self, error: Exception | None = None) -> None:
        """End all watches: cleanly, or broken by an error."""
        for watch in self.watches:
            watch.put_nowait(error)
        self.watches.clear()

    def mute(self) -> None:
        """Let all watches go dead without a word, as half-open connections do."""
        self.cut(_Mute())

    def send(self, data: bytes) -> None:
        for watch in self.watches:
            watch.put_nowait(data)

    def lists(self) -> list[Request]:
        """The requests for the complete state that the server understands as such."""
        return [
            request
            for request in self.requests
            if (not request.watch and not request.asks_version) or (request.initial and self.watch_list == "supported")
        ]

    def questions(self) -> list[Request]:
        """The requests for nothing but the version that the server has come to."""
        return [request for request in self.requests if request.asks_version]

    def watch_requests(self) -> list[Request]:
        """The requests for ordinary watches."""
        return [request for request in self.requests if request.watch and not request.initial]

    def streams(self) -> list[Request]:
        """The requests for watches that begin with the complete state."""
        return [request for request in self.requests if request.initial]

    def _publish(self, type_: str, obj: dict[str, Any]) -> None:
        self.log.append((self.version, type_, obj))
        self.send(self._line(type_, obj))

    @staticmethod
    def _line(type_: str, obj: Any) -> bytes:
        return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"

    # --- Transport

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:
        namespace, _, name = path.removeprefix("/apis/example.com/v1/namespaces/").partition("/widgets/")
        self.requests.append(Request(0, False, path, dict(query), headers or {}))
        if name:
            obj = self.objects.get(ObjectKey(namespace, name))
            if obj is None:
                return Response(404, status_body(404, "NotFound", f'widgets.example.com "{name}" not found'))
            return Response(200, msgspec.json.encode(obj))
        return Response(200, self._page(path, dict(query)))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
        idle_timeout: float | None = None,
    ) -> AsyncIterator[_Stream]:
        parameters = dict(query)
        watch = parameters.get("watch") == "true"
        request = Request(asyncio.get_running_loop().time(), watch, path, parameters, headers or {})
        self.requests.append(request)
        assert len(self.requests) < 5000, "the reflector spins"
        await asyncio.sleep(0.001)
        if request.initial and self.watch_list == "refused":
            told = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch"
            yield _Stream(422, self._pieces(status_body(422, "Invalid", told)), {})
            return
        # Faults of lists hit whatever request the state comes from.
        of_list = not watch or (request.initial and self.watch_list == "supported")
        faults = self.list_faults if of_list else self.watch_faults
        fault = faults.popleft() if faults and not request.asks_version else self.always(request)
        if fault is not None and fault.lagging and not parameters.get("resourceVersion"):
            fault = None  # only the watch cache lags; a consistent read, from etcd, does not
        if fault is not None:
            if fault.error is not None:
                raise fault.error
            yield _Stream(fault.status, self._faulty(fault, idle_timeout), fault.headers)
        elif watch:
            async with self._watch(request, idle_timeout) as answer:
                yield answer
        else:
            yield self._list(request)

    async def aclose(self) -> None:
        self.cut(TransportError("closed"))

    async def _faulty(self, fault: Fault, idle_timeout: float | None) -> AsyncIterator[bytes]:
        if fault.body:
            yield fault.body
        if fault.error_after_body is not None:
            raise fault.error_after_body
        if fault.hang:
            await asyncio.sleep(idle_timeout or 1e9)
            raise TransportError("idle")

    def _too_large(self, request: Request) -> _Stream | None:
        asked = request.query.get("resourceVersion", "")
        if asked in ("", "0") or int(asked) <= self.version:
            return None
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        return _Stream(504, self._pieces(status_body(504, "Timeout", "too large", causes=causes)), {})

    def _list(self, request: Request) -> _Stream:
        too_large = self._too_large(request)
        if too_large is not None:
            return too_large
        token = request.query.get("continue", "")
        if token and token not in self._snapshots:
            return _Stream(410, self._pieces(status_body(410, "Expired", "continue token expired")), {})
        return _Stream(200, self._pieces(self._page(request.path, request.query)), {})

    def _page(self, path: str, query: dict[str, str]) -> bytes:
        token = query.get("continue", "")
        version = token.split(":")[0] or str(self.version)
        items = self._snapshots[token] if token else [o for o in self.objects.values() if _within(path, o)]
        limit = int(query.get("limit", "0"))
        if self.ignore_limit_at_zero and query.get("resourceVersion") == "0":
            limit = 0
        metadata: dict[str, str] = {"resourceVersion": version}
        if limit and len(items) > limit:
            metadata["continue"] = f"{version}:{len(self._snapshots)}"
            self._snapshots[metadata["continue"]] = items[limit:]
            items = items[:limit]
        body = msgspec.json.encode(
            {"kind": "WidgetList", "apiVersion": "example.com/v1", "metadata": metadata, "items": items}
        )
        self.after_page()
        return body

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        step = self.chunk or max(len(body), 1)
        for start in range(0, len(body), step):
            yield body[start : start + step]

    @asynccontextmanager
    async def _watch(self, request: Request, idle_timeout: float | None) -> AsyncIterator[_Stream]:
        supported = request.initial and self.watch_list == "supported"
        too_large = self._too_large(request) if supported else None
        if too_large is not None:
            yield too_large
            return
        # Without a version even a server that knows nothing of initial events sends what there is; but no end mark.
        from_start = supported or not request.query.get("resourceVersion")
        version = self.version if from_start else int(request.query["resourceVersion"])
        if version < self.oldest:
            body = status_body(410, "Expired", f"too old resource version: {version} ({self.oldest})")
            if self.gone_as_event:
                yield _Stream(200, self._pieces(b'{"type":"ERROR","object":' + body + b"}\n"), {})
            else:
                yield _Stream(410, self._pieces(body), {})
            return
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        if from_start:
            for found in self.objects.values():
                queue.put_nowait(self._line("ADDED", found))
        if supported:
            self.before_end(queue)
            version = self.version
            if self.end_follows:
                queue.put_nowait(self._line("BOOKMARK", {"metadata": {"resourceVersion": str(version), **_END}}))
        for at, type_, obj in self.log:
            if at > version:
                queue.put_nowait(self._line(type_, obj))
        self.watches.append(queue)
        try:
            yield _Stream(200, self._live(request, queue, idle_timeout), {})
        finally:
            if queue in self.watches:
                self.watches.remove(queue)

    async def _live(
        self, request: Request, queue: asyncio.Queue[bytes | Exception | None], idle_timeout: float | None
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + float(request.query["timeoutSeconds"])
        while True:
            try:
                async with asyncio.timeout(min(BOOKMARK_PERIOD, max(ends - loop.time(), 0))):
                    found = await queue.get()
            except TimeoutError:
                if loop.time() >= ends:
                    return
                if not queue.empty():
                    continue  # a bookmark never overtakes an event
                found = self._line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
            if found is None:
                return
            if isinstance(found, _Mute):
                await asyncio.sleep(idle_timeout or 1e9)
                raise TransportError("idle timeout")
            if isinstance(found, Exception):
                raise found
            data = found
            if data.startswith(b'{"type":"') and not _within_line(request.path, data):
                continue
            async for piece in self._pieces(data):
                yield piece


def _within(path: str, obj: dict[str, Any]) -> bool:
    return "/namespaces/" not in path or f"/namespaces/{obj['metadata']['namespace']}/" in path


def _within_line(path: str, line: bytes) -> bool:
    try:
        obj = msgspec.json.decode(line)["object"]
    except (msgspec.DecodeError, KeyError):
        return True
    return "namespace" not in obj.get("metadata", {}) or _within(path, obj)


class Recorder:
    """A handler that keeps what it heard and checks that each object's history is a legal one."""

    def __init__(self) -> None:
        self.events: list[CacheEvent] = []
        self.state: dict[ObjectKey, Entry] = {}
        self.gone: set[str] = set()

    def on_add(self, event: CacheEvent) -> None:
        assert event.type == "ADDED"
        assert event.old is None
        assert event.new is not None
        assert event.key not in self.state, f"{event.key} added twice"
        assert event.new.metadata.uid not in self.gone, f"{event.key} rose from the dead: the cache went back in time"
        self.state[event.key] = event.new
        self.events.append(event)

    def on_update(self, event: CacheEvent) -> None:
        assert event.type == "MODIFIED"
        assert event.new is not None
        assert event.old is self.state[event.key], f"{event.key}: not the state told before"
        before, after = event.old.metadata, event.new.metadata
        assert before.uid == after.uid
        assert event.resync or int(before.resource_version) < int(after.resource_version)
        self.state[event.key] = event.new
        self.events.append(event)

    def on_delete(self, event: CacheEvent) -> None:
        assert event.type == "DELETED"
        assert event.new is None
        assert event.old is not None
        before = self.state.pop(event.key).metadata
        assert before.uid == event.old.metadata.uid
        assert int(before.resource_version) <= int(event.old.metadata.resource_version)
        self.gone.add(before.uid)
        self.events.append(event)

    def told(self) -> list[tuple[str, str]]:
        return [(event.type, event.key.name) for event in self.events]


def run_cache(
    server: FakeServer, body: Callable[[Cache], Coroutine[object, object, None]], *, seed: int = 1, **options: Any
) -> list[dict[str, Any]]:
    """Run ``body`` beside a running cache of the server, on virtual time; return what was logged."""
    logs = structlog.testing.CapturingLogger()

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        cache = Cache(
            server,
            scheme(),
            clock=clock,
            random=Randomness(seed),
            logger=structlog.wrap_logger(logs, processors=[_as_arguments]),
            **options,
        )
        running = asyncio.create_task(cache.run())
        try:
            await body(cache)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert not server.watches

    run_virtual(main)
    return [{"level": call.method_name, **call.kwargs} for call in logs.calls]


def _as_arguments(_: Any, __: str, event: Any) -> tuple[tuple[()], dict[str, Any]]:
    return (), dict(event)


async def settle(seconds: float = 5.0) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)


def contents(cache: Cache) -> dict[ObjectKey, str]:
    return {entry.key: entry.metadata.resource_version for entry in cache.entries(WIDGET)}


def truth(server: FakeServer) -> dict[ObjectKey, str]:
    return {key: obj["metadata"]["resourceVersion"] for key, obj in server.objects.items()}
