"""What watches see alike: equal selections in equal representations have each change worked out once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from pyoperator.apiserver.storage._change import Change
    from pyoperator.apiserver.storage._selection import Selection
    from pyoperator.apiserver.storage._stored_object import StoredObject


class Encoder(Protocol):
    """Render objects for one representation (version, Table, partial metadata). Equal keys share their renderings.

    ``first`` is true for the first event of a stream, which may say more than the others (a Table's columns).
    """

    @property
    def key(self) -> object: ...

    def event(self, type_: str, stored: StoredObject, *, first: bool = False) -> bytes:
        """Return the whole event line, with its newline."""
        ...

    def bookmark(self, revision: int, *, initial_events_end: bool = False, first: bool = False) -> bytes: ...

    def error(self, status: bytes) -> bytes: ...


class View:
    """One selection in one representation. With a hundred watches of the same objects nearly all of a change's cost is here."""

    __slots__ = ("__weakref__", "_encoder", "_key", "_selection")

    def __init__(self, selection: Selection, encoder: Encoder) -> None:
        self._selection = selection
        self._encoder = encoder
        self._key = encoder.key

    def line(self, change: Change) -> bytes | None:
        """Return the event line of a change, None if it is not seen; remembered with the change."""
        try:
            return change.lines[self]
        except KeyError:
            line = change.lines[self] = self._rendered(change)
            return line

    def first_line(self, change: Change) -> bytes | None:
        """Return the line of a change that is the first of a stream."""
        event = change.for_selection(self._selection)
        return None if event is None else self._encoder.event(*event, first=True)

    def _rendered(self, change: Change) -> bytes | None:
        event = change.for_selection(self._selection)
        if event is None:
            return None
        # Other selections show the same object in the same representation.
        memo = (self._key, event[0])
        line = change.lines.get(memo)
        if line is None:
            line = change.lines[memo] = self._encoder.event(*event)
        return line


class Views:
    """One view for all who ask for the same, for as long as somebody has it."""

    def __init__(self) -> None:
        self._views: WeakValueDictionary[tuple[Selection, object], View] = WeakValueDictionary()

    def get(self, selection: Selection, encoder: Encoder) -> View:
        key = (selection, encoder.key)
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(selection, encoder)
        return view
