"""From a kind to its REST resource by asking the server: discovery, remembered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from pyoperator.client._errors import NotFound, TransportError, error_for
from pyoperator.objects import GroupVersionKind, ResourceKind, UnknownKindError

if TYPE_CHECKING:
    from pyoperator.client._transport import Transport
    from pyoperator.clock import Clock


class NoKindMatch(UnknownKindError):
    """The server serves no such kind (now): usually its CRD is not installed."""


class _APIResource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool = False


class _APIResourceList(msgspec.Struct):
    resources: list[_APIResource] = []


class _Discovered:
    __slots__ = ("asked_at", "kinds")

    def __init__(self, kinds: dict[str, ResourceKind], asked_at: float) -> None:
        self.kinds = kinds
        self.asked_at = asked_at


class RESTMapper:
    """Discover REST resources, one group version at a time, and remember them.

    A kind that is not in the remembered answer makes the mapper ask again, because a CRD may have been installed
    since; at most once per ``floor`` seconds and group version, so that a missing CRD is no load on the server.
    Concurrent questions about one group version become one request.
    """

    def __init__(self, transport: Transport, *, clock: Clock, floor: float = 5.0, timeout: float = 10.0) -> None:
        self._transport = transport
        self._clock = clock
        self._floor = floor
        self._timeout = timeout
        self._discovered: dict[tuple[str, str], _Discovered] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def resource(self, gvk: GroupVersionKind) -> ResourceKind:
        """Return the REST resource of a kind; raises NoKindMatch, ApiError or TransportError."""
        group_version = (gvk.group, gvk.version)
        found = self._remembered(gvk)
        if found is None:
            async with self._locks.setdefault(group_version, asyncio.Lock()):
                known = self._discovered.get(group_version)
                if known is None or self._clock.elapsed() - known.asked_at >= self._floor:
                    self._discovered[group_version] = _Discovered(await self._discover(gvk), self._clock.elapsed())
                found = self._remembered(gvk)
        if found is None:
            raise NoKindMatch(
                f"the server has no kind {gvk.kind} in {gvk.api_version}: install its CustomResourceDefinition, "
                "or correct the group, version or kind"
            )
        return found

    def forget(self) -> None:
        """Drop everything remembered: the next question goes to the server."""
        self._discovered.clear()

    def _remembered(self, gvk: GroupVersionKind) -> ResourceKind | None:
        known = self._discovered.get((gvk.group, gvk.version))
        return known.kinds.get(gvk.kind) if known else None

    async def _discover(self, gvk: GroupVersionKind) -> dict[str, ResourceKind]:
        path = f"/apis/{gvk.group}/{gvk.version}" if gvk.group else f"/api/{gvk.version}"
        response = await self._transport.request("GET", path, timeout=self._timeout)
        if response.status == 404:
            return {}
        if response.status >= 400:
            raise error_for(response.status, response.body, method="GET", path=path)
        try:
            answer = msgspec.json.decode(response.body, type=_APIResourceList)
        except msgspec.DecodeError as error:
            raise TransportError(f"GET {path}: not a discovery answer: {error}") from error
        return {
            resource.kind: ResourceKind(
                GroupVersionKind(gvk.group, gvk.version, resource.kind), resource.name, resource.namespaced
            )
            for resource in answer.resources
            if "/" not in resource.name  # a subresource, whose kind may be another (Scale)
        }

    def __repr__(self) -> str:
        return f"RESTMapper({len(self._discovered)} group versions)"


def is_missing_kind(error: BaseException) -> bool:
    """Tell whether an error means "the kind is not served": NoKindMatch, or the 404 of a whole collection.

    The server names the object in a 404's details when only the object is missing.
    """
    if isinstance(error, NoKindMatch):
        return True
    return isinstance(error, NotFound) and not error.status.details.get("name")
