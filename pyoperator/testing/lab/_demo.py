"""The demo: replicas crash, stop and are rolled under load, and the server's log says how well that went."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pyoperator.testing.lab._lab import Lab
from pyoperator.testing.lab._load import Load
from pyoperator.testing.lab._timeline import Timeline
from pyoperator.testing.lab._verdict import final_state, verdict_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from typing import Any

    from pyoperator.testing._judge import Verdict
    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._replica import Replica
    from pyoperator.testing.lab._scale import Scale
    from pyoperator.testing.lab._snapshot import Snapshot

_START_WITHIN = 60.0
_SETTLE_WITHIN = 60.0
_CHANGES_BEFORE_STOP = 5


class Demo:
    """One run: :meth:`play` takes it through its acts and returns the verdict.

    An act that does not come to its end in time is told in the timeline and the demo goes on: the verdict says what
    was lost. ``write`` gets the timeline's lines.
    """

    def __init__(self, lab: Lab, timeline: Timeline) -> None:
        self._lab = lab
        self._timeline = timeline
        self._scale = lab.scale
        # A follower may have seen the record just renewed, and then needs one more attempt.
        self._takeover_within = 2 * lab.scale.lease_duration + lab.scale.retry_period + 5.0

    async def play(self) -> Verdict:
        lab, note = self._lab, self._timeline.note
        note(f"the API server runs with {len(lab.samples)} samples")
        await lab.start_replicas()
        await self._reach("all replicas are ready", self._all_ready, _START_WITHIN)
        await self._reach("the samples are Ready", _all_settled, _START_WITHIN)
        load = Load(lab.client, lab.project, self._scale.objects)
        async with _beside(self._create(load)) as creating:
            await load.wait_created((self._scale.objects + 1) // 2)
            note(f"{len(load.created)} of {self._scale.objects} further objects are created")
            await self._crash_the_leader()
            await creating
        # The crash's backlog is done first: the hand-over is measured under the load, not under what no update meets.
        await self._settle("everything is settled again", load)
        async with _beside(load.change_until_stopped()) as changing:
            await self._reach("all replicas are ready", self._all_ready, _START_WITHIN)
            await load.wait_changes(_CHANGES_BEFORE_STOP)
            await self._stop_the_leader()
            await self._reach("all replicas are ready", self._all_ready, _START_WITHIN)
            await self._roll()
            load.stop()
            await changing
        note(
            f"the load ends after {load.changes} changes" + (f", {len(load.failures)} failed" if load.failures else "")
        )
        await self._settle("everything is settled", load)
        objects, children = await final_state(lab.client, lab.project)
        await lab.stop_replicas()
        note("all replicas are stopped")
        verdict = verdict_of(lab.folder.audit_log, lab.project, lab.client.scheme, lab.starts, objects, children)
        # Objects that vanished are lost, too, and nobody asked for a deletion.
        return replace(verdict, expected=max(verdict.expected, self._wanted))

    # Acts.

    async def _create(self, load: Load) -> None:
        await load.create_all()
        self._timeline.note(f"all {load.count} further objects are created")

    async def _crash_the_leader(self) -> None:
        leader = await self._wait_leader()
        if leader is None:
            return
        leader.kill()
        self._timeline.note(f"SIGKILL to the leader {leader.name}")
        await self._taken_over(leader)

    async def _stop_the_leader(self) -> None:
        leader = await self._wait_leader()
        if leader is None:
            return
        leader.terminate()
        self._timeline.note(f"SIGTERM to the leader {leader.name}")
        await self._taken_over(leader)
        await leader.process.wait()

    async def _roll(self) -> None:
        """Let the Deployment replace all, one after the other: ``kubectl rollout restart``."""
        self._timeline.note("rolling update of all replicas")
        before = {replica.name for replica in self._lab.replicas}
        await self._lab.roll()

        def rolled(snapshot: Snapshot) -> bool:
            names = {replica.name for replica in snapshot.replicas}
            return not names & before and self._all_ready(snapshot) and snapshot.leader is not None

        await self._reach("the rolling update is done", rolled, _START_WITHIN)

    async def _taken_over(self, former: Replica) -> None:
        def reached(snapshot: Snapshot) -> bool:
            leader = snapshot.leader
            return leader is not None and leader.name != former.name

        if await self._lab.until(reached, self._takeover_within):
            self._timeline.note(f"{self._lab.watcher.lease().leader} leads")
        else:
            self._timeline.note(f"NOBODY took over from {former.name} within {self._takeover_within:.0f} s")

    # Waiting.

    async def _wait_leader(self) -> Replica | None:
        if not await self._lab.until(lambda snapshot: snapshot.leader is not None, self._takeover_within):
            self._timeline.note(f"NOBODY leads after {self._takeover_within:.0f} s")
        return self._lab.leader()

    async def _reach(self, what: str, reached: Callable[[Snapshot], bool], within: float) -> None:
        if await self._lab.until(reached, within):
            self._timeline.note(what)
        else:
            self._timeline.note(f"NOT within {within:.0f} s: {what}")

    def _all_ready(self, snapshot: Snapshot) -> bool:
        return sum(replica.state == "ready" for replica in snapshot.replicas) >= self._scale.replicas

    async def _settle(self, what: str, load: Load) -> None:
        def settled(snapshot: Snapshot) -> bool:
            shown = {obj.name: obj.generation for obj in snapshot.objects}
            # The watch may lag behind the load's last change, and what it shows of the time before is settled, too.
            current = all(shown.get(str(key), 0) >= generation for key, generation in load.generations.items())
            return current and len(shown) == self._wanted and _all_settled(snapshot)

        await self._reach(what, settled, _SETTLE_WITHIN)

    @property
    def _wanted(self) -> int:
        custom = self._lab.project.resource.gvk
        return sum(sample.gvk == custom for sample in self._lab.samples) + self._scale.objects


async def play_demo(
    project: Project,
    scale: Scale,
    *,
    write: Callable[[str], None],
    hurry: Callable[[Lab], None] = lambda lab: None,
) -> Verdict:
    """Run the whole demo in a lab of its own; ``write`` gets each line of the timeline. Raises LabError.

    ``hurry`` is handed the lab, for a second signal to make the stop quicker.
    """
    timeline: Timeline | None = None

    def tell(line: str) -> None:
        if timeline is not None:
            timeline.note(line)

    lab = Lab(project, scale, tell=tell)
    hurry(lab)
    timeline = Timeline(lab.clock, write=write)
    write(Timeline.heading())
    timeline.note(f"{project.name}: {scale.replicas} replicas, lease {_seconds(scale)}")
    async with lab:
        timeline.leader = lambda: lab.watcher.lease().leader
        verdict = await lab.watch_over(Demo(lab, timeline).play())
    timeline.leader = lambda: ""
    timeline.note("everything is stopped")
    for line in _complaints(verdict):
        write(line)
    return verdict


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[asyncio.Task[None]]:
    """Run ``work`` while the body runs; end it with the body, and raise what it raised."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield task
        task.cancel()


def _all_settled(snapshot: Snapshot) -> bool:
    return bool(snapshot.objects) and snapshot.settled == len(snapshot.objects)


def _seconds(scale: Scale) -> str:
    return f"{scale.lease_duration:g}/{scale.renew_deadline:g}/{scale.retry_period:g} s"


def _complaints(verdict: Verdict) -> list[str]:
    return [
        *(f"lost: {name} is not reconciled" for name in verdict.not_reconciled),
        *(f"duplicate: {name}" for name in verdict.duplicate_children),
        *(f"foreign write: {write}" for write in verdict.foreign_writes),
        *(f"in flight at a change of leader (not counted): {write}" for write in verdict.overlaps),
    ]
