"""List, then watch, for ever: keep a local copy of one collection as fresh as the server allows."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from pyoperator.cache._backoff import Backoff
from pyoperator.cache._collection import Collection
from pyoperator.cache._intake import Unreadable
from pyoperator.cache._interruption import Interrupted, NotStreamed, is_too_large
from pyoperator.cache._listing import Listing
from pyoperator.cache._store import is_older
from pyoperator.cache._vitals import Vitals
from pyoperator.cache._watch_events import read_events
from pyoperator.cache._watch_list import InitialEvents, WatchListSupport
from pyoperator.client import (
    ApiError,
    BadRequest,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    MalformedStream,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
    TransportError,
    Unauthorized,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import msgspec
    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache._entry import Entry
    from pyoperator.cache._listing import Snapshot
    from pyoperator.cache._options import CacheOptions
    from pyoperator.cache._status import ReflectorStatus
    from pyoperator.cache._target import ReflectorTarget
    from pyoperator.cache._vitals import Phase
    from pyoperator.cache._watch_events import WatchEvent
    from pyoperator.client import Transport
    from pyoperator.clock import Clock, Randomness
    from pyoperator.objects import ResourceKind

_WATCH_SECONDS: Final = (300, 600)
# A watch that ends sooner without an event did not work, whatever the server says: reconnecting at once would spin.
_SHORTEST_WATCH: Final = 1.0
# A watch that is longer has had a bookmark, which servers send every minute.
_BOOKMARKED: Final = 75.0
# However long a server asks us to stay away: a copy that nobody refreshes for hours is a dead watch.
_LONGEST_PAUSE: Final = 120.0


class Reflector:
    """Mirror one collection (kind, namespace, selectors) into a target.

    Its task ends by cancellation and by nothing else: every failure, an unexpected exception too, is counted, logged
    and retried with backoff (0.8 - 30 s). A missing kind or permission never expires; :meth:`status` says what it is.

    The rules, those of client-go's reflector where not said otherwise: the first state is the newest, streamed as the
    beginning of the watch (WatchList); a server that refuses that, or never tells the end of it, is asked for a list
    instead, the first one at resourceVersion 0 (from the server's memory). A later state is not older than what was
    seen, and an older answer is refused, so that the copy never goes back in time; a watch resumes after the last
    version; 410, as HTTP status or as event, leads to a new state that the target compares with what it has. A silent
    connection is given up after ``idle_timeout``, and a server that was away, or told nothing, is asked for its version before the
    watch is resumed: one that began anew is silent for ever after a version that it has not reached.
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
        self._target = target
        self._options = options
        self._clock = clock
        self._random = random
        self._logger = logger.bind(kind=str(resource.gvk), **({"namespace": namespace} if namespace else {}))
        self._collection = Collection(transport, resource, namespace, options)
        self._listing = Listing(self._collection, self._read, options.page_size)
        self._watch_lists = WatchListSupport(clock, wanted=options.watch_list)
        self._backoff = Backoff(clock, random)
        self._vitals = Vitals(clock, self._logger, namespace)
        self._version = ""
        self._list_next = True
        self._consistent_next = False
        self._bad_streams = 0
        self._doubted = False  # the server was away, or its watch silent: it may not be the one that it was
        self._live: asyncio.Timeout | None = None
        self._pause: asyncio.Timeout | None = None
        self.synced: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        """Keep the target fresh until cancelled."""
        while True:
            at_least = 0.0
            try:
                if self._list_next and self._watch_lists.expected:
                    await self._stream()
                else:
                    if not self._list_next and self._doubted:
                        await self._question()
                        if self._list_next:
                            continue
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
            except Interrupted as interruption:
                delay = self._interrupted(interruption)
            except ApiError as error:
                at_least = min(error.retry_after or 0.0, _LONGEST_PAUSE)
                delay = self._refused(error, at_least)
            except (TransportError, TimeoutError) as error:
                phase: Phase = "list" if self._list_next else "connect"
                self._doubted = True
                delay = self._failed(phase, f"{phase}: {str(error) or type(error).__name__}", server_answers=False)
            except Exception as error:
                self._vitals.unexpected_errors += 1
                self._list_next = True  # what was half done is unknown
                self._logger.exception("reflector failed unexpectedly; it lists again")
                delay = self._failed("list", f"unexpected {type(error).__name__}: {error}", server_answers=True)
            else:
                continue
            await self._wait(delay, may_hurry=not at_least > 0)

    def freshen(self, older_than: float = 75.0) -> int:
        """Connect anew, at once, if the last sign of life is older than ``older_than`` seconds; return 1 if so, else 0.

        For moments when a stale copy costs most, such as the start of a leadership term: a connection that died without
        a word would otherwise be found out only after ``idle_timeout``, and a wait between two attempts would be sat out
        (unless the server itself asked for it). The default is above the bookmark period of a minute. A list or a
        request under way is left alone. Resumes after the last version, so nothing is listed again.
        """
        age = self._vitals.sign_of_life_age
        if age is None or age <= older_than:
            return 0
        waiting = self._live if self._live is not None else self._pause
        if waiting is None:
            return 0
        self._live = self._pause = None
        self._logger.info("no sign of life from the watch; connecting again", age=round(age, 1))
        waiting.reschedule(asyncio.get_running_loop().time())
        return 1

    async def _wait(self, seconds: float, *, may_hurry: bool) -> None:
        try:
            async with asyncio.timeout(seconds) as pause:
                if may_hurry:
                    self._pause = pause
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return
        finally:
            self._pause = None

    def status(self) -> ReflectorStatus:
        return self._vitals.status(self._version)

    # --- the complete state

    async def _stream(self) -> None:
        """Follow a watch that begins with the complete state; without one, list and follow an ordinary watch."""
        asked = "" if self._consistent_next else self._version
        try:
            try:
                await self._watch(InitialEvents(asked, self._read))
            except ApiError as error:
                if not (self._list_next and asked and (isinstance(error, Gone) or is_too_large(error))):
                    raise
                # The version is compacted, or the server has not reached it: the newest there is, whatever it is.
                await self._watch(InitialEvents("", self._read))
            return
        except Forbidden:
            if not self._list_next:
                raise
            # A missing permission to watch says nothing of what the server can do, and may be granted tomorrow. Whoever
            # may list gets that much meanwhile; what is refused then, the list or the watch after it, is told as a 403.
        except (NotStreamed, BadRequest, MethodNotAllowed, UnsupportedMediaType, Invalid) as refusal:
            if not self._list_next:
                raise
            if not isinstance(refusal, NotStreamed) or refusal.lasting:
                self._watch_lists.missing()
            self._logger.info("the server does not stream its state; listing it in pages", reason=str(refusal))
        except (Unauthorized, NotFound):
            raise  # a list would fare no better
        except Exception as error:
            if self._list_next and not (isinstance(error, TransportError) and not error.sent):
                self._watch_lists.failed()
            raise
        await self._list()
        await self._watch()

    async def _list(self) -> None:
        try:
            snapshot = await self._listing.fetch(self._version, consistent=self._consistent_next)
        except Exception:
            self._watch_lists.failed()
            raise
        await self._adopt(snapshot)

    async def _adopt(self, snapshot: Snapshot, *, streamed: bool = False) -> None:
        seen = snapshot.version
        went_back = bool(self._version) and is_older(seen, self._version)
        if went_back and snapshot.asked:
            raise Interrupted(
                f"list: the server answered with version {seen}, older than {self._version} seen before",
                phase="list",
                relist=True,
                consistent=True,
            )
        if went_back:
            self._logger.warning("the server's versions went back; was it restored?", seen=seen, before=self._version)
        await self._target.replace(self.namespace, snapshot.entries, server_went_back=went_back)
        self._version = seen
        self._list_next = self._consistent_next = self._doubted = False
        self._watch_lists.listed()
        self._vitals.listed(streamed=streamed)
        if self._vitals.synced:
            self._vitals.relists += 1
        else:
            self._vitals.synced = True
            self.synced.set()

    # --- watch

    async def _question(self) -> None:
        """Ask which version the server has come to, before a watch goes on after one that it may never reach.

        A server that was restored, or began anew, answers such a watch with 200 and then nothing, not even bookmarks, for
        ever (client-go waits with it). Where versions went back, nothing that was seen counts: the state is read anew.
        """
        newest = await self._collection.newest_version()
        self._doubted = False
        if is_older(newest, self._version):
            self._logger.warning(
                "the server has not come to the version seen last; reading its state anew",
                newest=newest,
                seen=self._version,
            )
            self._list_next = self._consistent_next = True

    async def _watch(self, initial: InitialEvents | None = None) -> None:
        idle = self._random.jitter(self._options.idle_timeout, 1 / 3)
        query = initial.query if initial is not None else [("resourceVersion", self._version)]
        query.append(("timeoutSeconds", str(self._random.randint(*_WATCH_SECONDS))))
        begun = self._clock.elapsed()
        events_before, signs_before = self._vitals.events, self._vitals.signs
        async with self._collection.watch(query, idle) as chunks:
            self._vitals.connected()
            try:
                async with aclosing(read_events(self._timed(chunks, idle))) as events:
                    if initial is not None:
                        collected = initial.collect(events, self._collection.path, self._vitals.receiving)
                        # Without a name: what this frame holds lives as long as the watch, beside all that replaces it.
                        await self._adopt(await collected, streamed=True)
                    if await self._follow(events):
                        self._doubted = True
                        return
            except MalformedStream as error:
                raise self._bad_stream(str(error)) from error
        if initial is None:
            if self._vitals.events == events_before and self._clock.elapsed() - begun < _SHORTEST_WATCH:
                raise Interrupted("watch: ended by the server at once, without an event", phase="stream")
            self._bad_streams = 0
        self._doubted = self._vitals.signs == signs_before and self._clock.elapsed() - begun > _BOOKMARKED
        self._vitals.alive()

    async def _timed(self, chunks: AsyncIterator[bytes], idle: float) -> AsyncIterator[bytes]:
        """Pass the chunks on; tell a connection that breaks from one that went silent."""
        last = self._clock.elapsed()
        try:
            async for chunk in chunks:
                last = self._clock.elapsed()
                yield chunk
        except (TransportError, TimeoutError) as error:
            what = "list" if self._list_next else "watch"
            if self._clock.elapsed() - last >= idle * 0.99:
                raise Interrupted(f"{what}: silent for {idle:.0f} s, connecting again", phase="silent") from error
            phase: Phase = "list" if self._list_next else "stream"
            raise Interrupted(f"{what}: broken: {str(error) or type(error).__name__}", phase=phase) from error

    async def _follow(self, events: AsyncIterator[WatchEvent]) -> bool:
        """Take in events until the watch ends; return whether it did because :meth:`freshen` was called."""
        try:
            async with asyncio.timeout(None) as self._live:
                async for event in events:
                    self._take(event)
        except TimeoutError:
            return True
        finally:
            self._live = None
        return False

    def _take(self, event: WatchEvent) -> None:
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                self._take_object(event)
                self._bad_streams = 0
            case "BOOKMARK":
                self._advance(event.metadata().resource_version)
                self._vitals.bookmark()
                self._target.bookmarked()
            case "ERROR":
                told = event.error(self._collection.path)
                if isinstance(told, Gone | TooManyRequests) or is_too_large(told):
                    raise told
                raise MalformedStream(f"error event: {told}")
            case _:
                self._logger.debug("unknown watch event", type=event.type)

    def _take_object(self, event: WatchEvent) -> None:
        self._vitals.events += 1
        entry = self._read(event.object)
        if entry is None:
            self._advance(event.metadata().resource_version)
            return
        version = entry.metadata.resource_version
        if version == self._version or is_older(version, self._version):
            self._vitals.alive()
            return  # a repetition: taken in, it would bring back what has been deleted since
        if event.type == "DELETED":
            self._target.delete(entry)
        else:
            self._target.put(entry)
        # After the target has it: a failure in between must not skip the event.
        self._advance(version)
        self._vitals.alive()
        self._target.advanced()

    def _advance(self, version: str) -> None:
        if version and not is_older(version, self._version):
            self._version = version

    def _read(self, raw: msgspec.Raw) -> Entry | None:
        try:
            return self._target.read(raw)
        except Unreadable as error:
            self._vitals.unreadable += 1
            self._logger.warning("an object can't be cached; it is left out", reason=str(error))
            return None

    # --- failures

    def _bad_stream(self, reason: str) -> Interrupted:
        """Resume after the first bad stream; the second in a row may be due to where we resume: list anew."""
        if self._list_next:
            return Interrupted(f"list: {reason}", phase="list")
        self._bad_streams += 1
        return Interrupted(f"watch: {reason}", phase="stream", relist=self._bad_streams > 1)

    def _interrupted(self, interruption: Interrupted) -> float:
        self._list_next = self._list_next or interruption.relist
        self._doubted = self._doubted or interruption.phase == "silent"
        self._consistent_next = self._consistent_next or interruption.consistent
        answers = interruption.phase != "silent" and not isinstance(
            interruption.__cause__, (TransportError, TimeoutError)
        )
        return self._failed(interruption.phase, str(interruption), server_answers=answers)

    def _refused(self, error: ApiError, at_least: float) -> float:
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
                reason += f"; grant list and watch on {self._collection} to this user: waiting for it"
            case Unauthorized():
                reason += "; the server does not accept our credentials: waiting"
            case TooManyRequests():
                answers = False
            case InternalError():
                answers = False
                if is_too_large(error):
                    self._list_next = self._consistent_next = True
        patient = isinstance(error, Forbidden)
        return self._failed(phase, reason, server_answers=answers, at_least=at_least, patient=patient)

    def _failed(
        self, phase: Phase, reason: str, *, server_answers: bool, at_least: float = 0.0, patient: bool = False
    ) -> float:
        delay = max(self._backoff.next(), at_least)
        self._vitals.failed(phase, reason, server_answers=server_answers, retry_in=delay, patient=patient)
        return delay

    def __repr__(self) -> str:
        state = "synced" if self._vitals.synced else "not synced"
        return f"<Reflector {self._collection} {state} at {self._version or '-'}>"
