"""Objects made and changed while replicas come and go."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from pyoperator.client import ApiError, MergePatch, NoKindMatch, TransportError
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._install import in_namespace

if TYPE_CHECKING:
    from pyoperator.client import Client
    from pyoperator.objects import ObjectKey, Unstructured
    from pyoperator.testing.lab._project import Project

CREATE_EVERY = 0.04
CHANGE_EVERY = 0.2
"""Seconds between two objects made, and between two changes: enough to keep replicas busy all the time, and little
enough that two cores can serve three replicas and the server besides."""


class Load:
    """Makes ``count`` objects of the project's template, then changes one after the other until stopped.

    ``generations``: the last one that the server answered for each object, 0 for kinds without; a watch may still show
    an earlier one.
    """

    def __init__(self, client: Client, project: Project, count: int) -> None:
        self.count = count
        self.created: list[ObjectKey] = []
        self.generations: dict[ObjectKey, int] = {}
        self.changes = 0
        self.failures: list[str] = []
        self._client = client
        self._project = project
        self._progress = asyncio.Event()
        self._stopped = asyncio.Event()

    async def create_all(self) -> None:
        """Make the objects at a steady pace; raises LabError for one that is refused."""
        for number in range(1, self.count + 1):
            wanted = in_namespace(self._project.load.make(number), self._project)
            try:
                created = await self._client.create(wanted)
            except (ApiError, NoKindMatch, TransportError) as error:
                raise LabError(f"the load's object {wanted.key} can't be created: {error}") from error
            self.created.append(created.key)
            self.generations[created.key] = _generation(created)
            self._progress.set()
            await asyncio.sleep(CREATE_EVERY)

    async def wait_created(self, count: int) -> None:
        """Wait until that many exist."""
        while len(self.created) < count:
            self._progress.clear()
            await self._progress.wait()

    async def wait_changes(self, count: int) -> None:
        """Wait until that many changes were made; returns at once if there is nothing to change."""
        while self.created and self.changes < count:
            self._progress.clear()
            await self._progress.wait()

    async def change_until_stopped(self) -> None:
        """Change one object after the other until :meth:`stop`; what fails is counted and told at the end.

        A change under way is awaited: one that was cancelled could come to the server after everybody has looked.
        """
        gvk = self._project.resource.gvk
        while self.created and not self._stopped.is_set():
            key = self.created[self.changes % len(self.created)]
            patch = MergePatch(self._project.load.change_to(self.changes + 1))
            try:
                self.generations[key] = _generation(await self._client.patch(gvk, key, patch))
            except (ApiError, TransportError) as error:
                self.failures.append(f"{key}: {error}")
            self.changes += 1
            self._progress.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHANGE_EVERY):
                    await self._stopped.wait()

    def stop(self) -> None:
        """Let no further change begin."""
        self._stopped.set()

    def __repr__(self) -> str:
        return f"Load({len(self.created)} of {self.count} created, {self.changes} changes, {len(self.failures)} failed)"


def _generation(obj: Unstructured) -> int:
    """Return an object's generation, 0 if its kind has none."""
    generation: int = obj["metadata"].get("generation") or 0
    return generation
