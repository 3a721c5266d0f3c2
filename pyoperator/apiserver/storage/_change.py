"""One committed change, and what of it a watcher sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoperator.apiserver.storage._selection import Selection
    from pyoperator.apiserver.storage._stored_object import StoredObject


class Change:
    """One committed change. ``new`` of a deletion is the last state, stamped with the deletion's revision."""

    __slots__ = ("_left", "lines", "new", "old", "revision", "type")

    def __init__(self, type_: str, revision: int, old: StoredObject | None, new: StoredObject) -> None:
        self.type: str = type_
        self.revision: int = revision
        self.old: StoredObject | None = old
        self.new: StoredObject = new
        # Event lines, made once for all watchers while the change is being told to them; see View.
        self.lines: dict[object, bytes | None] = {}
        self._left: StoredObject | None = None

    @property
    def weight(self) -> int:
        """Return how many bytes of data this change keeps that the present state does not."""
        kept = len(self.old.data) if self.old is not None else 0
        return kept + len(self.new.data) if self.type == "DELETED" else kept

    def for_selection(self, selection: Selection) -> tuple[str, StoredObject] | None:
        """Return the event that a watcher of ``selection`` sees, if any: a change may bring an object in or out."""
        before = self.old is not None and selection.matches(self.old)
        after = self.type != "DELETED" and selection.matches(self.new)
        if after:
            return ("MODIFIED" if before else "ADDED"), self.new
        if not before:
            return None
        if self.type == "DELETED":
            return "DELETED", self.new
        if self._left is None and self.old is not None:
            self._left = self.old.at_revision(self.revision)
        return ("DELETED", self._left) if self._left is not None else None
