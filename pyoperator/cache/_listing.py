"""The complete state of a collection, read page by page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyoperator.cache._interruption import Interrupted, is_too_large
from pyoperator.client import ApiError, Gone, ListSplitter, MalformedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from pyoperator.cache._collection import Collection
    from pyoperator.cache._entry import Entry


@dataclass(slots=True)
class Snapshot:
    """Everything that was there at a version; ``asked`` is the version that it had to reach ("" = the newest)."""

    entries: list[Entry] = field(default_factory=list)
    version: str = ""
    asked: str = ""


class Listing:
    """List a collection in pages.

    As client-go does: the first list is at resourceVersion 0 (from the server's memory), a later one not older than
    what was seen and without a limit, since a limit with a version would bypass the watch cache. ``read`` returns None
    for an object that is to be left out.
    """

    def __init__(self, collection: Collection, read: Callable[[msgspec.Raw], Entry | None], page_size: int) -> None:
        self._collection = collection
        self._read = read
        self._page_size = page_size

    async def fetch(self, not_older_than: str, *, consistent: bool) -> Snapshot:
        """Return the state, at least of that version, or with ``consistent`` the newest that etcd has."""
        if consistent:
            asked, page = "", self._page_size
        elif not_older_than:
            asked, page = not_older_than, 0
        else:
            asked, page = "0", self._page_size
        try:
            return await self._pages(asked, page)
        except Gone:
            # The continue token, or the version asked for, is compacted: one full list, as new as the server has it.
            return await self._pages("", 0)
        except ApiError as error:
            if not asked or not is_too_large(error):
                raise
            # The server does not know of the version we have: only etcd itself can tell what is true now.
            return await self._pages("", self._page_size)

    async def _pages(self, asked: str, page: int) -> Snapshot:
        """Collect all pages; the version is that of the first one: the watch repeats what came since."""
        found = Snapshot(asked=asked)
        continue_ = ""
        while True:
            query: list[tuple[str, str]] = []
            if continue_:
                query.append(("continue", continue_))
            elif asked:
                query.append(("resourceVersion", asked))
                if asked != "0" and not page:
                    query.append(("resourceVersionMatch", "NotOlderThan"))
            if page:
                query.append(("limit", str(page)))
            version, continue_ = await self._page(found.entries, query)
            found.version = found.version or version
            if not continue_:
                return found

    async def _page(self, entries: list[Entry], query: list[tuple[str, str]]) -> tuple[str, str]:
        splitter = ListSplitter()
        async with self._collection.list_page(query) as chunks:
            try:
                async for chunk in chunks:
                    items = splitter.feed(chunk)
                    if items:
                        self._keep(items, entries)
                        # A large list that is all there already would hold up the loop for seconds.
                        await asyncio.sleep(0)
                self._keep(splitter.finish(), entries)
            except MalformedStream as error:
                raise Interrupted(f"list: {error}", phase="list", relist=True) from error
        return splitter.resource_version, splitter.continue_

    def _keep(self, items: list[msgspec.Raw], entries: list[Entry]) -> None:
        read = self._read
        entries.extend(entry for item in items if (entry := read(item)) is not None)
