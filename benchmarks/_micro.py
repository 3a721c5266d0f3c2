"""What single steps cost: queue, predicates and handlers, a reconcile that does nothing, decoding, splitting.

Process time, the best of some rounds, nothing on a network. A runner of twenty lines instead of pytest-benchmark: the steps
are to be measured and kept by the same program as everything else, and never to pass or fail by a time; what
pytest-benchmark adds, comparison by wall times of a test run, is not wanted here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec
import structlog

from benchmarks._workload import NAMESPACE, Database, database, first_status, name_of
from pyoperator.cache import CacheOptions, Informer
from pyoperator.client import LineSplitter, ListSplitter
from pyoperator.clock import Randomness, SystemClock
from pyoperator.controller import (
    Controller,
    ControllerOptions,
    EnqueueForObject,
    EnqueueForOwner,
    EnqueueMapped,
    Request,
    WorkQueue,
    predicates,
)
from pyoperator.objects import Scheme, partial_metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.cache import CacheEvent
    from pyoperator.client import Transport
    from pyoperator.controller import Handler

_ROUNDS = 15  # enough for one of them to run undisturbed on a machine that others use
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of process time for one step."""

    what: str
    microseconds: float


async def measure(n: int = 20_000) -> list[Cost]:
    """Measure each step ``n`` times a round."""
    few = max(1, n // 10)
    return [
        *await _queue(n),
        *await _judgements(n),
        *await _mappings(n),
        *await _reconciles(n),
        *await _bytes(few),
        await _apply(few),
    ]


async def _best(what: str, n: int, step: Callable[[], Awaitable[None]]) -> Cost:
    found = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        await step()
        found.append(time.process_time() - begun)
    return Cost(what, min(found) / n * 1e6)


async def _queue(n: int) -> list[Cost]:
    queue: WorkQueue[Request] = WorkQueue("micro")
    keys = [Request(NAMESPACE, name_of(number)) for number in range(n)]

    async def add() -> None:
        for key in keys:
            queue.add(key)

    async def take() -> None:
        while queue:
            queue.done(await queue.get())

    async def add_and_take() -> None:
        await add()
        await take()

    async def one_key() -> None:
        for _ in keys:
            queue.add(keys[0])
            queue.done(await queue.get())

    cycle = await _best("queue: add + get + done, all keys", n, add_and_take)
    single = await _best("queue: add + get + done, one key", n, one_key)
    await add()
    repeated = await _best("queue: repeated add", n, add)
    await take()
    return [cycle, single, repeated]


def _update_event() -> CacheEvent:
    """Return an update of one stored object that changes its spec, as the cache tells it."""
    informer = _informer(Scheme())
    owner = {"apiVersion": "bench.example.com/v1", "kind": "Database", "name": "owner", "uid": "1", "controller": True}
    data = _stored_object(ownerReferences=[owner])
    informer.store.put(informer.read(msgspec.Raw(data)))
    changed = data.replace(b'"resourceVersion":"1000"', b'"resourceVersion":"1001"').replace(
        b'"generation":1', b'"generation":2'
    )
    (modified,) = informer.store.put(informer.read(msgspec.Raw(changed)))
    return modified


async def _judgements(n: int) -> list[Cost]:
    """What each predicate costs an update that it passes."""
    event = _update_event()
    judged: list[tuple[str, predicates.Predicate]] = [
        ("generation changed", predicates.GenerationChanged()),
        ("label selector of two terms", predicates.LabelSelectorMatches("app=database,tier in (gold,silver)")),
        ("labels or annotations or generation", _any_change()),
        ("a function", predicates.Predicates(update=lambda _event: True)),
    ]
    costs = []
    for what, predicate in judged:
        _expect(int(predicate.update(event)), 1)

        async def step(predicate: predicates.Predicate = predicate) -> None:
            for _ in range(n):
                predicate.update(event)

        costs.append(await _best(f"predicate: {what}", n, step))
    return costs


def _any_change() -> predicates.Predicate:
    return predicates.or_(predicates.LabelChanged(), predicates.AnnotationChanged(), predicates.GenerationChanged())


async def _mappings(n: int) -> list[Cost]:
    """From an event to a key in the queue, by the three sorts of handler; the key is in the queue already."""
    event = _update_event()
    queue: WorkQueue[Request] = WorkQueue("micro")
    handlers: list[tuple[str, Handler]] = [
        ("its own object", EnqueueForObject()),
        ("its owner", EnqueueForOwner(Database)),
        ("what a function names", EnqueueMapped(lambda entry: [Request(NAMESPACE, entry.metadata.labels["shard"])])),
    ]
    costs = []
    for what, handler in handlers:

        async def step(handler: Handler = handler) -> None:
            for _ in range(n):
                handler.handle(event, queue, 0)

        costs.append(await _best(f"handler: {what}", n, step))
    _expect(len(queue), 3)
    return costs


async def _reconciles(n: int) -> list[Cost]:
    """What the controller itself adds to a reconcile: take a key, call, count, put it away."""
    left = 0
    finished = asyncio.Event()

    async def reconcile(request: Request) -> None:
        nonlocal left
        left -= 1
        if not left:
            finished.set()

    async def all_keys(controller: Controller) -> None:
        nonlocal left
        left = n
        finished.clear()
        for number in range(n):
            controller.queue.add(Request(NAMESPACE, name_of(number)))
        await finished.wait()

    costs = []
    for timeout in (None, 60.0):
        controller = Controller("micro", reconcile, options=ControllerOptions(reconciliation_timeout=timeout))
        run = asyncio.create_task(controller.run())

        async def step(controller: Controller = controller) -> None:
            await all_keys(controller)

        what = "reconcile nothing: add + take + call + count" + (", with a timeout" if timeout else "")
        costs.append(await _best(what, n, step))
        await controller.drain()
        await run
    return costs


async def _bytes(n: int) -> list[Cost]:
    data = _stored_object()
    codec = Scheme().codec(Database)
    listed = (
        b'{"apiVersion":"bench.example.com/v1","items":['
        + b",".join([data] * n)
        + b'],"kind":"DatabaseList","metadata":{"continue":"","resourceVersion":"1"}}'
    )
    watched = (b'{"type":"MODIFIED","object":' + data + b"}\n") * n

    async def decode() -> None:
        for _ in range(n):
            codec.decode(data)

    async def metadata() -> None:
        for _ in range(n):
            partial_metadata(data)

    async def encode() -> None:
        obj = codec.decode(data)
        for _ in range(n):
            codec.encode(obj)

    async def split_lines() -> None:
        splitter = LineSplitter()
        lines = sum(len(splitter.feed(watched[at : at + _CHUNK])) for at in range(0, len(watched), _CHUNK))
        _expect(lines, n)

    async def split_list() -> None:
        splitter = ListSplitter()
        items = sum(len(splitter.feed(listed[at : at + _CHUNK])) for at in range(0, len(listed), _CHUNK))
        _expect(items + len(splitter.finish()), n)

    return [
        await _best(f"decode a whole object ({len(data)} bytes)", n, decode),
        await _best("encode a whole object", n, encode),
        await _best("decode its metadata only", n, metadata),
        await _best("cut one watch line", n, split_lines),
        await _best("cut one item off a list", n, split_list),
    ]


async def _apply(n: int) -> Cost:
    """Take one object of a watch line into an informer: metadata, managed fields, store, event."""
    data = [
        msgspec.Raw(
            _stored_object().replace(b'"1000"', b'"%d"' % (1000 + number)).replace(b"db-000000", b"db-%06d" % number)
        )
        for number in range(n)
    ]
    scheme = Scheme()

    async def apply() -> None:
        informer = _informer(scheme)
        for raw in data:
            informer.put(informer.read(raw))
        _expect(len(informer.store), n)

    return await _best("read and apply one event", n, apply)


def _informer(scheme: Scheme) -> Informer:
    # Nothing runs, so its transport is never asked.
    return Informer(
        cast("Transport", None),
        scheme,
        scheme.resource(Database),
        CacheOptions(),
        clock=SystemClock(),
        random=Randomness(),
        logger=structlog.get_logger(),
    )


def _expect(found: int, n: int) -> None:
    if found != n:
        raise AssertionError(f"{found} instead of {n}: the figure would mean nothing")


def _stored_object(**more: Any) -> bytes:
    """Return an object as the cache holds it: without managed fields."""
    made = database(0)
    made["metadata"] |= {
        "uid": "00000000-0000-4000-8000-000000000000",
        "resourceVersion": "1000",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        **more,
    }
    return msgspec.json.encode({**made, "status": first_status()})
