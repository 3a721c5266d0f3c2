"""Ask a server for the state it had some versions ago, in place of a read that may be answered from an old one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pyoperator.client import Response
from pyoperator.testing._faulty_answers import status_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.client import Query, Transport

# What the read of an old state says in its own way; the watch cache, whose age this is, knows no pages.
_OWN: Final = frozenset({"resourceVersion", "resourceVersionMatch", "limit"})
_END: Final = "k8s.io/initial-events-end"
_OF_WATCHES: Final = frozenset({"watch", "sendInitialEvents", "allowWatchBookmarks", "timeoutSeconds"})


@dataclass(frozen=True, slots=True)
class StaleRead:
    """A list of ``path`` with ``query``; ``name`` is set for a get, which becomes a list of one object.

    ``wanted``: the version that the client asked for as the oldest. ``watch``: for a WatchList (a watch that begins with
    the state), the query of the watch to follow the list.
    """

    path: str
    query: tuple[tuple[str, str], ...]
    name: str = ""
    wanted: int = 0
    watch: tuple[tuple[str, str], ...] = ()

    async def at_lag(self, inner: Transport, lag: int, *, lying: bool) -> StaleRead | None:
        """Return the read of the state ``lag`` versions ago, or None if that is the present or compacted."""
        current = await _version(inner, self.path, {"limit": "1"})
        if current is None:
            return None
        version = max(1, current - lag)
        if not lying:
            version = max(version, self.wanted)
        exact = {"resourceVersion": str(version), "resourceVersionMatch": "Exact"}
        if version >= current or await _version(inner, self.path, {"limit": "1", **exact}) is None:
            return None
        watch = (*self.watch, ("resourceVersion", str(version))) if self.watch else ()
        return replace(self, query=(*self.query, *exact.items()), watch=watch)

    async def initial_events(self, inner: Transport, headers: Mapping[str, str] | None) -> list[bytes] | None:
        """Return the lines with which a WatchList of the old state begins; None if it was compacted meanwhile."""
        response = await inner.request("GET", self.path, query=self.query, headers=headers)
        if response.status != 200:
            return None
        found: dict[str, Any] = msgspec.json.decode(response.body)
        kind = {"kind": found["kind"].removesuffix("List"), "apiVersion": found["apiVersion"]}
        end = {"resourceVersion": found["metadata"]["resourceVersion"], "annotations": {_END: "true"}}
        events = [("ADDED", item) for item in found["items"]] + [("BOOKMARK", {"metadata": end})]
        return [msgspec.json.encode({"type": type_, "object": {**kind, **obj}}) + b"\n" for type_, obj in events]

    def answer(self, response: Response) -> Response:
        """Return what the client gets: the list as it is, for a get its object."""
        if not self.name or response.status != 200:
            return response
        found: dict[str, Any] = msgspec.json.decode(response.body)
        if not found["items"]:
            return Response(404, status_body(404, "NotFound"), response.headers)
        kind = {"kind": found["kind"].removesuffix("List"), "apiVersion": found["apiVersion"]}
        return replace(response, body=msgspec.json.encode({**kind, **found["items"][0]}))


NOT_STALE: Final = StaleRead("", ())
"""A request that no server may answer from an old state."""


def stale_read(method: str, path: str, query: Query, headers: Mapping[str, str] | None) -> StaleRead:
    """Return how to ask for the same with an age, or NOT_STALE.

    Lists, gets and WatchLists with a resourceVersion may be stale. Not: reads without one, pages, other watches, lists
    that ask for exactly a version (by ``resourceVersionMatch``, or, the old way, by a limit with a version other than 0).
    """
    given = dict(query)
    version = given.get("resourceVersion", "")
    match = given.get("resourceVersionMatch", "")
    if method != "GET" or not version.isdecimal() or match == "Exact" or "continue" in given:
        return NOT_STALE
    streamed = given.get("sendInitialEvents") in {"1", "true"}
    if ("watch" in given and not streamed) or ("limit" in given and int(version) and not match):
        return NOT_STALE
    collection, name = _split(path)
    if not collection or (name and streamed):
        return NOT_STALE
    kept = [(key, value) for key, value in query if key not in _OWN]
    if streamed:
        listed = tuple((key, value) for key, value in kept if key not in _OF_WATCHES)
        watch = tuple((key, value) for key, value in kept if key != "sendInitialEvents")
        return StaleRead(collection, listed, wanted=int(version), watch=watch)
    if name:
        if headers and "json;" in headers.get("accept", ""):
            return NOT_STALE  # as a Table or partial metadata a list and an object are different things
        kept.append(("fieldSelector", f"metadata.name={name}"))
    return StaleRead(collection, tuple(kept), name, int(version))


def _split(path: str) -> tuple[str, str]:
    """Return a path's collection and the object's name in it, "" for the collection itself; "" twice for others."""
    parts = path.strip("/").split("/")
    root = 2 if parts[0] == "api" else 3 if parts[0] == "apis" else len(parts)
    rest = parts[root:]
    if len(rest) > 2 and rest[0] == "namespaces":
        root, rest = root + 2, rest[2:]
    if len(rest) not in (1, 2):
        return "", ""
    return "/" + "/".join(parts[: root + 1]), rest[1] if len(rest) == 2 else ""


async def _version(inner: Transport, path: str, query: Mapping[str, str]) -> int | None:
    response = await inner.request("GET", path, query=tuple(query.items()))
    if response.status != 200:
        return None
    version = msgspec.json.decode(response.body)["metadata"]["resourceVersion"]
    return int(version) if version.isdecimal() else None
