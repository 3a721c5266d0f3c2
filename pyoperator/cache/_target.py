"""What a reflector needs of whoever keeps what it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import msgspec

    from pyoperator.cache._entry import Entry


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

    def advanced(self) -> None:
        """Hear that the reflector's version has passed an object that was put or deleted."""
        ...

    def bookmarked(self) -> None:
        """Hear that the reflector's version is a bookmark's: all that was written before it has been told."""
        ...
