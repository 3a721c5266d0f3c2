"""List, then watch, for ever: keep a local copy of one collection as fresh as the server allows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pyoperator.cache._backoff import Backoff
from pyoperator.cache._intake import Unreadable
from pyoperator.cache._splitting import LineSplitter, ListSplitter, MalformedStream
from pyoperator.cache._store import is_older
from pyoperator.cache._vitals import Vitals
from pyoperator.client import (
    ApiError,
    Forbidden,
    Gone,
    InternalError,
    NotFound,
    TooManyRequests,
    TransportError,
    Unauthorized,
    error_for,
)
from pyoperator.objects import partial_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._options import CacheOptions
    from pyoperator.cache._status import ReflectorStatus
    from pyoperator.cache._vitals import Phase
    from pyoperator.client import StreamResponse, Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.objects import ResourceKind

_WATCH_SECONDS: Final = (300, 600)
_LIST_IDLE_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 30.0
# A watch that ends sooner without an event did not work, whatever the server says: reconnecting at once would spin.
_SHORTEST_WATCH: Final = 1.0
# However long a server asks us to stay away: a copy that nobody refreshes for hours is a dead watch.
_LONGEST_PAUSE: Final = 120.0
_ERROR_BODY_LIMIT: Final = 1024 * 1024
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA_WATCH: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class ReflectorTarget(Protocol):
    """Where a reflector puts what it sees."""

    def read(self, raw: msgspec.Raw) -> Entry:
        """Return the entry to keep of an object; raises Unreadable."""
        ...

    async def replace(self, namespace: str, entries: list[Entry], *, server_went_back: bool) -> None:
        """Make ``entries`` the whole content of the namespace ("" = everything). A cancelled call is repeated."""
        ...

    def put(self, entry: Entry) -> None: ...

    def delete(self, entry: Entry) -> None: ...


class _WatchLine(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


_watch_line = msgspec.json.Decoder(_WatchLine)


class _Interrupted(Exception):
    """What ended an attempt to list or watch, and what to do about it."""

    def __init__(self, phase: Phase, reason: str, *, relist: bool = False, consistent: bool = False) -> None:
        super().__init__(reason)
        self.phase: Phase = phase
        self.relist = relist
        self.consistent = consistent


class Reflector:
    """Mirror one collection (kind, namespace, selectors) into a target.

    Its task ends by cancellation and by nothing else: every failure, an unexpected exception too, is counted, logged
    and retried with backoff (0.8 - 30 s). A missing kind or permission never expires; :meth:`status` says what it is.

    The rules, those of client-go's reflector where not said otherwise: the first list is at resourceVersion 0 (from the
    server's memory); a later one is not older than what was seen, and an older answer is refused, so that the copy
    never goes back in time; a watch resumes after the last version; 410, as HTTP status or as event, leads to a list
    that the target compares with what it has. A silent connection is given up after ``idle_timeout``.
    """

    def __init__(
        self,
        transport: Transport,
        resource: ResourceKind,
        target: ReflectorTarget,
        options: CacheOptions,
        *,
        namespace: str = "",
        clock: Clock,
        random: Randomness,
        logger: FilteringBoundLogger,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self._transport = transport
        self._target = target
        self._options = options
        self._clock = clock
        self._random = random
        self._logger = logger.bind(kind=str(resource.gvk), **({"namespace": namespace} if namespace else {}))
        self._path = resource.path(namespace)
        self._backoff = Backoff(clock, random)
        self._vitals = Vitals(clock, self._logger, namespace)
        self._version = ""
        self._list_next = True
        self._consistent_next = False
        self._bad_streams = 0
        self._selectors: list[tuple[str, str]] = []
        if options.label_selector:
            self._selectors.append(("labelSelector", options.label_selector))
        if options.field_selector:
            self._selectors.append(("fieldSelector", options.field_selector))
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Keep the target fresh until cancelled."""
        while True:
            try:
                if self._list_next:
                    await self._list()
                await self._watch()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancelled us: a library let a cancellation of its own escape. Ending here would be a silent
                # death.
                delay = self._failed("stream", "the transport was cancelled from inside", server_answers=False)
            except _Interrupted as interruption:
                delay = self._interrupted(interruption)
            except ApiError as error:
                delay = self._refused(error)
            except (TransportError, TimeoutError) as error:
                phase: Phase = "list" if self._list_next else "connect"
                delay = self._failed(phase, f"{phase}: {str(error) or type(error).__name__}", server_answers=False)
            except Exception as error:
                self._vitals.unexpected_errors += 1
                self._list_next = True  # what was half done is unknown
                self._logger.exception("reflector failed unexpectedly; it lists again")
                delay = self._failed("list", f"unexpected {type(error).__name__}: {error}", server_answers=True)
            else:
                continue
            await asyncio.sleep(delay)

    def status(self) -> ReflectorStatus:
        return self._vitals.status(self._version)

    # --- list

    async def _list(self) -> None:
        # WatchList (sendInitialEvents) would go first here, with this as its fallback.
        version, page = self._list_version()
        entries: list[Entry] = []
        try:
            seen = await self._list_pages(entries, version, page)
        except Gone:
            # The continue token, or the version asked for, is compacted: one full list, as new as the server has it.
            entries.clear()
            version = ""
            seen = await self._list_pages(entries, version, 0)
        except ApiError as error:
            if not version or not _is_too_large(error):
                raise
            # The server does not know of the version we have: only etcd itself can tell what is true now.
            entries.clear()
            version = ""
            seen = await self._list_pages(entries, version, self._options.page_size)
        went_back = bool(self._version) and is_older(seen, self._version)
        if went_back and version:
            raise _Interrupted(
                "list",
                f"list: the server answered with version {seen}, older than {self._version} seen before",
                relist=True,
                consistent=True,
            )
        if went_back:
            self._logger.warning("the server's versions went back; was it restored?", seen=seen, before=self._version)
        await self._target.replace(self.namespace, entries, server_went_back=went_back)
        self._version = seen
        self._list_next = self._consistent_next = False
        self._vitals.listed()
        if self._vitals.synced:
            self._vitals.relists += 1
        else:
            self._vitals.synced = True
            self.synced.set()

    def _list_version(self) -> tuple[str, int]:
        """Return resourceVersion and page size of the next list; a limit with a version would bypass the watch cache."""
        if self._consistent_next:
            return "", self._options.page_size
        if self._version:
            return self._version, 0
        return "0", self._options.page_size

    async def _list_pages(self, entries: list[Entry], version: str, page: int) -> str:
        """Collect the entries of all pages; return the version of the first one: the watch repeats what came since."""
        seen, continue_ = "", ""
        while True:
            query = list(self._selectors)
            if continue_:
                query.append(("continue", continue_))
            elif version:
                query.append(("resourceVersion", version))
                if version != "0" and not page:
                    query.append(("resourceVersionMatch", "NotOlderThan"))
            if page:
                query.append(("limit", str(page)))
            page_version, continue_ = await self._list_page(entries, query)
            seen = seen or page_version
            if not continue_:
                return seen

    async def _list_page(self, entries: list[Entry], query: list[tuple[str, str]]) -> tuple[str, str]:
        splitter = ListSplitter()
        async with self._transport.stream(
            "GET",
            self._path,
            query=query,
            headers=self._headers(_METADATA_LIST),
            connect_timeout=_CONNECT_SECONDS,
            idle_timeout=_LIST_IDLE_SECONDS,
        ) as response:
            await self._check(response)
            try:
                async for chunk in response.chunks():
                    items = splitter.feed(chunk)
                    if items:
                        self._read_items(items, entries)
                        # A large list that is all there already would hold up the loop for seconds.
                        await asyncio.sleep(0)
                self._read_items(splitter.finish(), entries)
            except MalformedStream as error:
                raise _Interrupted("list", f"list: {error}", relist=True) from error
        return splitter.resource_version, splitter.continue_

    def _read_items(self, items: list[msgspec.Raw], entries: list[Entry]) -> None:
        read = self._target.read
        for item in items:
            try:
                entries.append(read(item))
            except Unreadable as error:
                self._unreadable(error)

    # --- watch

    async def _watch(self) -> None:
        idle = self._random.jitter(self._options.idle_timeout, 1 / 3)
        query = [
            *self._selectors,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(self._random.randint(*_WATCH_SECONDS))),
        ]
        begun = last = self._clock.elapsed()
        events_before = self._vitals.events
        splitter = LineSplitter()
        async with self._transport.stream(
            "GET",
            self._path,
            query=query,
            headers=self._headers(_METADATA_WATCH),
            connect_timeout=_CONNECT_SECONDS,
            idle_timeout=idle,
        ) as response:
            await self._check(response)
            self._vitals.connected()
            try:
                async for chunk in response.chunks():
                    last = self._clock.elapsed()
                    for line in splitter.feed(chunk):
                        self._take(line)
            except MalformedStream as error:
                raise self._bad_stream(f"watch: {error}") from error
            except (TransportError, TimeoutError) as error:
                if self._clock.elapsed() - last >= idle * 0.99:
                    raise _Interrupted("silent", f"watch: silent for {idle:.0f} s, connecting again") from error
                raise _Interrupted("stream", f"watch: broken: {str(error) or type(error).__name__}") from error
        if splitter.pending:
            raise _Interrupted("stream", "watch: ended in the middle of an event")
        if self._vitals.events == events_before and self._clock.elapsed() - begun < _SHORTEST_WATCH:
            raise _Interrupted("stream", "watch: ended by the server at once, without an event")
        self._bad_streams = 0
        self._vitals.alive()

    def _take(self, line: bytes) -> None:
        try:
            event = _watch_line.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            quoted = line[:80].decode("utf-8", "replace") if not line.lstrip().startswith(b"{") else "{..."
            raise self._bad_stream(f"watch: not a watch event ({error}): {quoted!r}") from error
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                self._take_object(event.type, event.object)
                self._bad_streams = 0
            case "BOOKMARK":
                self._advance(self._version_of(event.object))
                self._vitals.bookmark()
            case "ERROR":
                told = error_for(500, bytes(event.object), method="WATCH", path=self._path)
                if isinstance(told, Gone | TooManyRequests) or _is_too_large(told):
                    raise told
                raise self._bad_stream(f"watch: error event: {told}")
            case _:
                self._logger.debug("unknown watch event", type=event.type)

    def _take_object(self, type_: str, raw: msgspec.Raw) -> None:
        self._vitals.events += 1
        try:
            entry = self._target.read(raw)
        except Unreadable as error:
            self._unreadable(error)
            self._advance(self._version_of(raw))
            return
        if type_ == "DELETED":
            self._target.delete(entry)
        else:
            self._target.put(entry)
        # After the target has it: a failure in between must not skip the event.
        self._advance(entry.metadata.resource_version)
        self._vitals.alive()

    def _advance(self, version: str) -> None:
        if version and not is_older(version, self._version):
            self._version = version

    @staticmethod
    def _version_of(raw: msgspec.Raw) -> str:
        try:
            return partial_metadata(raw).resource_version
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""

    # --- failures

    def _bad_stream(self, reason: str) -> _Interrupted:
        """Resume after the first bad stream; the second in a row may be due to where we resume: list anew."""
        self._bad_streams += 1
        return _Interrupted("stream", reason, relist=self._bad_streams > 1)

    def _interrupted(self, interruption: _Interrupted) -> float:
        self._list_next = self._list_next or interruption.relist
        self._consistent_next = self._consistent_next or interruption.consistent
        answers = interruption.phase != "silent" and not isinstance(
            interruption.__cause__, (TransportError, TimeoutError)
        )
        return self._failed(interruption.phase, str(interruption), server_answers=answers)

    def _refused(self, error: ApiError) -> float:
        phase: Phase = "list" if self._list_next else "connect"
        reason = f"{phase}: {error}"
        answers = True
        match error:
            case Gone():
                if not self._list_next:
                    # The normal fate of a watch that was away too long: no failure, list at once (but never in a spin).
                    self._list_next = True
                    self._logger.info("the version to watch from is too old; listing again", version=self._version)
                    return self._backoff.next()
            case NotFound():
                self._list_next = True
                reason += "; the kind is not installed (its CustomResourceDefinition is missing?): waiting for it"
            case Forbidden():
                reason += f"; grant list and watch on {self._what()} to this user: waiting for it"
            case Unauthorized():
                reason += "; the server does not accept our credentials: waiting"
            case TooManyRequests():
                answers = False
            case InternalError():
                answers = False
                if _is_too_large(error):
                    self._list_next = self._consistent_next = True
        return self._failed(
            phase, reason, server_answers=answers, at_least=min(error.retry_after or 0.0, _LONGEST_PAUSE)
        )

    def _failed(self, phase: Phase, reason: str, *, server_answers: bool, at_least: float = 0.0) -> float:
        delay = max(self._backoff.next(), at_least)
        self._vitals.failed(phase, reason, server_answers=server_answers, retry_in=delay)
        return delay

    def _unreadable(self, error: Unreadable) -> None:
        self._vitals.unreadable += 1
        self._logger.warning("an object can't be cached; it is left out", reason=str(error))

    async def _check(self, response: StreamResponse) -> None:
        if response.status == 200:
            return
        body = bytearray()
        async for chunk in response.chunks():
            body += chunk
            if len(body) > _ERROR_BODY_LIMIT:
                break
        raise error_for(
            response.status,
            bytes(body),
            method="GET",
            path=self._path,
            retry_after=response.headers.get("retry-after"),
        )

    def _headers(self, metadata: str) -> Mapping[str, str]:
        return {"accept": metadata} if self._options.metadata_only else {}

    def _what(self) -> str:
        group = self.resource.gvk.group
        name = f"{self.resource.plural}.{group}" if group else self.resource.plural
        return f"{name} in namespace {self.namespace}" if self.namespace else f"{name} in all namespaces"

    def __repr__(self) -> str:
        state = "synced" if self._vitals.synced else "not synced"
        return f"<Reflector {self._what()} {state} at {self._version or '-'}>"


def _is_too_large(error: ApiError) -> bool:
    """Tell whether the server said that it has not reached the version asked for."""
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in error.status.causes)
