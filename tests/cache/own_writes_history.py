"""Reads through the cache against a history of the server, in any order of things, by seed.

``python -m tests.cache.own_writes_history --seeds 1-200000 --jobs 2`` (``make own-writes``) tries many; exit code 1 names those
that found a read older than an own write before it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from msgspec import json

from pyoperator.client import ApiError, Client, MergePatch, NotFound
from pyoperator.clock import Randomness
from pyoperator.objects import ObjectKey
from tests.cache.slow_watch import CONFIG_MAP, NAMESPACES, Place, config_map, on_slow_watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoperator.apiserver import StoreEvent

_PORTION = 250


def faults_of(seed: int, *, collections: bool = True) -> list[str]:
    """Let two workers write and read through a lagging cache, and a third write elsewhere; return what reads got wrong.

    ``collections``: whether they also delete all of a namespace at once.
    """
    faults: list[str] = []

    async def body(place: Place) -> None:
        random = Randomness(seed)
        history: dict[ObjectKey, list[tuple[int, str | None]]] = {}
        terminating: dict[ObjectKey, bool] = {}

        def note(event: StoreEvent) -> None:
            if event.gvk == CONFIG_MAP:
                key = ObjectKey(event.namespace, event.name)
                states = history.setdefault(key, [(0, None)])
                terminating[key] = event.new is not None and "deletionTimestamp" in event.new["metadata"]
                states.append((event.version, None if event.new is None else event.new["metadata"]["uid"]))

        place.server.system.subscribe(note)
        informer = place.cache.get_informer(
            CONFIG_MAP,
            label_selector=random.choice(["", "app"]),
            watch_list=random.choice([True, False]),
            namespaces=random.choice([(), NAMESPACES]),
        )
        await place.cache.wait_for_cache_sync()
        place.network.lag = lambda: random.choice([0.0, 0.001, 0.2, 3.0])
        place.faults.change(answer_latency=(0.0, 0.3))
        client = place.client()
        keys = [ObjectKey(namespace, name) for namespace in NAMESPACES for name in ("a", "b")]
        written: dict[ObjectKey, int] = {}

        def written_now(key: ObjectKey, version: int) -> None:
            written[key] = max(version, written.get(key, 0))

        async def delete_all(writer: Client, namespace: str) -> None:
            answer = await writer.raw("DELETE", f"/api/v1/namespaces/{namespace}/configmaps")
            for item in json.decode(answer.body)["items"] if writer is client else ():
                metadata = item["metadata"]
                if "deletionTimestamp" in metadata or ObjectKey(namespace, metadata["name"]) not in keys:
                    continue
                key, seen = ObjectKey(namespace, metadata["name"]), int(metadata["resourceVersion"])
                # What it deleted is told as it was before: the next state of that object is the deletion's.
                written_now(key, next(version for version, _ in history[key] if version > seen))

        async def write(writer: Client, key: ObjectKey) -> None:
            labels = random.choice([None, {"app": "db"}])
            begun, ends = len(history.get(key, [])), terminating.get(key, False)
            found: Any = None
            try:
                match random.randint(0, 5 if collections else 4):
                    case 0 | 1:
                        found = await writer.create(config_map(key.name, key.namespace, labels=labels or {}))
                    case 2:
                        patch = {"metadata": {"labels": {"app": random.choice([None, "db"])}}}
                        found = await writer.patch(CONFIG_MAP, key, MergePatch(patch))
                    case 3:
                        finalizers = random.choice([None, ["example.com/wait"]])
                        found = await writer.patch(
                            CONFIG_MAP, key, MergePatch({"metadata": {"finalizers": finalizers}})
                        )
                    case 4:
                        await writer.delete(CONFIG_MAP, key)
                    case 5:
                        await delete_all(writer, key.namespace)
                        return
            except ApiError:
                return
            if writer is client:
                if found is not None:
                    written_now(key, int(found["metadata"]["resourceVersion"]))
                elif not ends and len(history[key]) > begun:
                    # The answer does not say when; at least, what came first was there.
                    written_now(key, history[key][begun][0])

        async def check(key: ObjectKey, least: int, uid: str | None, version: int) -> None:
            states = history.get(key, [(0, None)])
            if uid is not None:
                if version < least:
                    faults.append(f"{key} read at {version}, written at {least}: {states}")
                return
            # Absent: it must have been so at some moment after the write.
            later = [state for at, state in states if at > least]
            at_write = [state for at, state in states if at <= least][-1]
            if None not in [at_write, *later]:
                faults.append(f"{key} absent, written at {least}: {states}")

        async def read(key: ObjectKey) -> None:
            least = written.get(key, 0)
            try:
                found = await client.get(CONFIG_MAP, key)
            except NotFound:
                await check(key, least, None, 0)
            else:
                await check(key, least, found.metadata["uid"], int(found.metadata["resourceVersion"]))

        async def read_all(namespace: str) -> None:
            least = dict(written)
            selector = informer.options.label_selector
            found = {
                item.key: item for item in await client.list(CONFIG_MAP, namespace=namespace, label_selector=selector)
            }
            for key in keys:
                if key in found:
                    metadata = found[key].metadata
                    await check(key, least.get(key, 0), metadata["uid"], int(metadata["resourceVersion"]))
                elif (not namespace or key.namespace == namespace) and not selector:
                    await check(key, least.get(key, 0), None, 0)

        async def worker(writer: Client) -> None:
            for _ in range(12):
                await write(writer, random.choice(keys))
                if writer is client:
                    await read(random.choice(keys))
                    await read_all(random.choice(["", *NAMESPACES]))
                await asyncio.sleep(random.choice([0.0, 0.01, 1.0]))
                if random.random() < 0.05:
                    place.network.hold()
                    place.network.cut()

        await asyncio.gather(worker(client), worker(client), worker(place.live))
        await asyncio.sleep(400)
        await client.create(config_map("last"))
        await client.get(CONFIG_MAP, ObjectKey("default", "last"))
        remembered = informer.own_writes.statistics().unseen
        if remembered > 1:
            faults.append(f"{remembered} writes are remembered for ever")

    on_slow_watch(body, seed=seed)
    return faults


def _failing(seeds: range) -> list[tuple[int, str]]:
    return [(seed, fault) for seed in seeds for fault in faults_of(seed)[:1]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Prove that reads see own writes, by seeds.")
    parser.add_argument("--seeds", default="1-20000", help="FIRST-LAST (default: 1-20000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition("-")
    wanted = range(int(first), int(last or first) + 1)
    portions = [wanted[at : at + _PORTION] for at in range(0, len(wanted), _PORTION)]
    done, failed = 0, []
    with ProcessPoolExecutor(options.jobs) as pool:
        for portion, found in zip(portions, pool.map(_failing, portions), strict=True):
            done += len(portion)
            failed += found
            for seed, fault in found:
                print(f"seed {seed}: {fault}", flush=True)
            if done % 5000 < _PORTION:
                print(f"{done} of {len(wanted)} seeds, {len(failed)} failing", flush=True)
    print(f"{done} seeds, {len(failed)} failing{f': {[seed for seed, _ in failed]}' if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
