"""Get, list and watch."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._list_options import ContinueToken, ListOptions, parse_list_options, parse_version
from pyoperator.apiserver._request import APIResponse
from pyoperator.apiserver.storage import Compacted, WatchSubscription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver._paths import Target
    from pyoperator.apiserver._representation import Representation
    from pyoperator.apiserver.registry import Kind
    from pyoperator.apiserver.storage import Store, StoredObject
    from pyoperator.clock import Randomness

_TOO_OLD_LIST = "The resourceVersion for the provided list is too old."
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
    ) -> None:
        self._store = store
        self._operations = operations
        self._random = random
        self._bookmark_interval = bookmark_interval
        self._watch_buffer = watch_buffer

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
        if not selection.is_plain:
            objects = [stored for stored in objects if selection.matches(stored)]
        list_meta: dict[str, Any] = {"resourceVersion": str(revision)}
        # A list "at any version" comes from the real server's watch cache, which does not page.
        if options.limit and len(objects) > options.limit and options.version != 0:
            remaining = len(objects) - options.limit
            objects = objects[: options.limit]
            list_meta["continue"] = ContinueToken(revision, objects[-1].key).encode()
            if selection.is_plain:
                list_meta["remainingItemCount"] = remaining
        return objects, list_meta

    def _version_to_read(self, options: ListOptions) -> tuple[int, str]:
        current = self._store.revision
        if options.continue_:
            if options.version:
                raise _status.bad_request("specifying resource version is not allowed when using continue")
            token = ContinueToken.parse(options.continue_)
            return (current if token.version < 0 else min(token.version, current)), token.after
        self._check_reached(options.version)
        exact = options.match == "Exact" or (options.limit > 0 and not options.match)
        if options.version and exact:
            return options.version, ""
        return current, ""

    def _check_reached(self, version: int | None) -> None:
        if version is not None and version > self._store.revision:
            raise _status.too_large_resource_version(version, self._store.revision)

    def _too_old(self, options: ListOptions, after: str) -> _status.StatusError:
        if not options.continue_:
            return _status.expired(_TOO_OLD_LIST)
        error = _status.expired(_TOO_OLD_PAGE)
        error.list_continue = ContinueToken(-1, after).encode()
        return error

    def watch(self, kind: Kind, target: Target, query: Mapping[str, str], view: Representation) -> APIResponse:
        options = parse_list_options(kind, target.namespace, target.name, query, watch=True)
        timeout = options.timeout if options.timeout is not None else self._random.uniform(1800.0, 3600.0)
        subscription = WatchSubscription(
            self._store,
            self._operations.resource(kind),
            options.selection,
            view,
            timeout=timeout,
            bookmark_interval=self._bookmark_interval if options.bookmarks else None,
            limit=self._watch_buffer,
        )
        try:
            self._start(kind, options, subscription, view)
        except Compacted as error:
            # The stream has begun, as far as HTTP is concerned: the refusal is its only event.
            subscription.fail(msgspec.json.encode(_status.expired(str(error)).body()))
        return APIResponse(200, headers={"content-type": view.stream_content_type}, watch=subscription)

    def _start(self, kind: Kind, options: ListOptions, subscription: WatchSubscription, view: Representation) -> None:
        version = options.version or 0
        wants_initial = options.send_initial_events
        if wants_initial:
            self._check_reached(options.version)
        if wants_initial or (wants_initial is None and version == 0):
            selection = options.selection
            everything = self._store.objects(self._operations.resource(kind), selection.namespace)
            end = b""
            if wants_initial and options.bookmarks:
                end = view.bookmark(self._store.revision, initial_events_end=True)
            subscription.start(initial=[stored for stored in everything if selection.matches(stored)], initial_end=end)
        elif version == 0:
            subscription.start()
        else:
            replay = self._store.changes_after(version) if version < self._store.revision else ()
            subscription.start(replay=replay, ignore_up_to=version)


def _key(stored: StoredObject) -> str:
    return stored.key
