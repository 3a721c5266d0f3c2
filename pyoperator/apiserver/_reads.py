"""Get, list and watch."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._continue_token import ContinueToken
from pyoperator.apiserver._list_options import ListOptions, parse_list_options, parse_version
from pyoperator.apiserver._request import APIResponse
from pyoperator.apiserver.storage import Compacted, WatchSubscription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver._paths import Target
    from pyoperator.apiserver._representation import Representation
    from pyoperator.apiserver.registry import Kind
    from pyoperator.apiserver.storage import Selection, Store, StoredObject
    from pyoperator.clock import Randomness

_TOO_OLD_LIST = "The resourceVersion for the provided list is too old."
_TOO_OLD_WATCH = "The resourceVersion for the provided watch is too old."
_TOO_OLD_PAGE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Reads:
    """Answer reads of one store."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        *,
        random: Randomness,
        bookmark_interval: float,
        watch_buffer: int,
        watch_list: bool,
    ) -> None:
        self._store = store
        self._operations = operations
        self._random = random
        self._bookmark_interval = bookmark_interval
        self._watch_buffer = watch_buffer
        self._watch_list = watch_list

    def get(self, kind: Kind, target: Target, query: Mapping[str, str], view: Representation) -> APIResponse:
        self._check_reached(parse_version(query))
        stored = self._operations.get(kind, target.namespace, target.name)
        return APIResponse(200, view.single(stored), {"content-type": view.content_type})

    def many(self, kind: Kind, target: Target, query: Mapping[str, str], view: Representation) -> APIResponse:
        options = parse_list_options(kind, target.namespace, "", query, watch=False)
        objects, list_meta = self._page(kind, options)
        return APIResponse(200, view.many(objects, list_meta), {"content-type": view.content_type})

    def _page(self, kind: Kind, options: ListOptions) -> tuple[list[StoredObject], dict[str, Any]]:
        revision, after = self._version_to_read(options)
        resource = self._operations.resource(kind)
        try:
            objects = self._store.objects(resource, options.selection.namespace, revision=revision)
        except Compacted as error:
            raise self._too_old(options, after) from error
        if after:
            objects = objects[bisect_right(objects, after, key=_key) :]
        selection = options.selection
        list_meta: dict[str, Any] = {"resourceVersion": str(revision)}
        # A list "at any version" comes from the real server's watch cache, which does not page.
        limit = options.limit if options.version != 0 else 0
        found, rest = _first(objects, selection, limit)
        if rest:
            list_meta["continue"] = ContinueToken(revision, found[-1].key).encode(selection.namespace)
            if selection.is_plain:
                list_meta["remainingItemCount"] = rest
        return found, list_meta

    def _version_to_read(self, options: ListOptions) -> tuple[int, str]:
        current = self._store.revision
        if options.continue_:
            if options.version:
                raise _status.bad_request("specifying resource version is not allowed when using continue")
            token = ContinueToken.parse(options.continue_, options.selection.namespace)
            self._check_reached(token.version)
            return (current if token.version < 0 else token.version), token.after
        self._check_reached(options.version)
        exact = options.match == "Exact" or (options.limit > 0 and not options.match)
        if options.version and exact:
            return options.version, ""
        return current, ""

    def _check_reached(self, version: int | None) -> None:
        if version is not None and version > self._store.revision:
            raise _status.TooLargeResourceVersion(version, self._store.revision)

    def _too_old(self, options: ListOptions, after: str) -> _status.StatusError:
        if not options.continue_:
            return _status.expired(_TOO_OLD_LIST)
        error = _status.expired(_TOO_OLD_PAGE)
        error.list_continue = ContinueToken(-1, after).without_version(options.selection.namespace)
        return error

    def watch(self, kind: Kind, target: Target, query: Mapping[str, str], view: Representation) -> APIResponse:
        options = parse_list_options(
            kind, target.namespace, target.name, query, watch=True, watch_list=self._watch_list
        )
        subscription = WatchSubscription(
            self._store,
            self._operations.resource(kind),
            options.selection,
            view,
            timeout=options.timeout or self._random.uniform(1800.0, 3600.0),
            bookmark_interval=self._bookmark_interval if options.bookmarks else None,
            limit=self._watch_buffer,
        )
        # The stream has begun, as far as HTTP is concerned: a refusal is its only event.
        try:
            self._start(options, subscription)
        except Compacted as error:
            # The real server keeps no watch cache of events, and its store has other words.
            words = _TOO_OLD_WATCH if kind.storage == ("", "events") else str(error)
            subscription.fail(_refusal(_status.expired(words)))
        return APIResponse(200, headers={"content-type": view.stream_content_type}, watch=subscription)

    def _start(self, options: ListOptions, subscription: WatchSubscription) -> None:
        version = options.version or 0
        if options.timeout < 0:
            subscription.fail(_refusal(_status.StatusError(500, "InternalError", "context deadline exceeded")))
        elif options.send_initial_events or (options.send_initial_events is None and version == 0):
            # Watches from no version have begun with what there is since before there was an option to say so.
            if version <= self._store.revision:
                subscription.start_with_objects()
            else:
                subscription.start_when_reached(version, lambda: _refusal(self._ahead(version)))
        elif version == 0:
            subscription.start(self._store.revision)
        else:
            subscription.start(version)

    def _ahead(self, version: int) -> _status.StatusError:
        return _status.TooLargeResourceVersion(version, self._store.revision)


def _refusal(error: _status.StatusError) -> bytes:
    return msgspec.json.encode(error.body())


def _first(objects: list[StoredObject], selection: Selection, limit: int) -> tuple[list[StoredObject], int]:
    """Return the first ``limit`` objects that match (0: all), and how many objects follow, whether they match or not."""
    if selection.is_plain:
        return (objects[:limit], len(objects) - limit) if 0 < limit < len(objects) else (objects, 0)
    found: list[StoredObject] = []
    for index, stored in enumerate(objects, 1):
        if selection.matches(stored):
            found.append(stored)
            if len(found) == limit:
                return found, len(objects) - index
    return found, 0


def _key(stored: StoredObject) -> str:
    return stored.key
