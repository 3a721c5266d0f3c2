"""The requests for one collection: where it is, what of it is wanted, and in which form."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from pyoperator.cache._interruption import Interrupted
from pyoperator.client import ListSplitter, MalformedStream, error_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pyoperator.cache._options import CacheOptions
    from pyoperator.client import StreamResponse, Transport
    from pyoperator.objects import ResourceKind

_CONNECT_SECONDS: Final = 30.0
_LIST_IDLE_SECONDS: Final = 60.0
_ERROR_BODY_LIMIT: Final = 1024 * 1024
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA_WATCH: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class Collection:
    """Open streams of one kind in one namespace ("" = everywhere), narrowed by the selectors of the options."""

    def __init__(self, transport: Transport, resource: ResourceKind, namespace: str, options: CacheOptions) -> None:
        self.resource = resource
        self.namespace = namespace
        self.path = resource.path(namespace)
        self._transport = transport
        self._metadata_only = options.metadata_only
        self._selectors: list[tuple[str, str]] = []
        if options.label_selector:
            self._selectors.append(("labelSelector", options.label_selector))
        if options.field_selector:
            self._selectors.append(("fieldSelector", options.field_selector))

    @asynccontextmanager
    async def list_page(self, query: list[tuple[str, str]]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask for (a page of) a list; raises ApiError for any status but 200, TransportError."""
        async with self._open(query, _METADATA_LIST, _LIST_IDLE_SECONDS) as chunks:
            yield chunks

    async def newest_version(self) -> str:
        """Ask for the version that the server has come to, with a list of one; errors as :meth:`list_page`."""
        splitter = ListSplitter()
        async with self.list_page([("limit", "1")]) as chunks:
            try:
                async for chunk in chunks:
                    splitter.feed(chunk)
                splitter.finish()
            except MalformedStream as error:
                raise Interrupted(f"list: {error}", phase="list") from error
        return splitter.resource_version

    @asynccontextmanager
    async def watch(self, query: list[tuple[str, str]], idle_timeout: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask for a watch that breaks after ``idle_timeout`` seconds without a byte; errors as :meth:`list_page`."""
        asked = [("watch", "true"), ("allowWatchBookmarks", "true"), *query]
        async with self._open(asked, _METADATA_WATCH, idle_timeout) as chunks:
            yield chunks

    @asynccontextmanager
    async def _open(
        self, query: list[tuple[str, str]], metadata: str, idle_timeout: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._transport.stream(
            "GET",
            self.path,
            query=[*self._selectors, *query],
            headers={"accept": metadata} if self._metadata_only else {},
            connect_timeout=_CONNECT_SECONDS,
            idle_timeout=idle_timeout,
        ) as response:
            await self._check(response)
            yield response.chunks()

    async def _check(self, response: StreamResponse) -> None:
        if response.status == 200:
            return
        body = bytearray()
        async for chunk in response.chunks():
            body += chunk
            if len(body) > _ERROR_BODY_LIMIT:
                break
        raise error_for(
            response.status,
            bytes(body),
            method="GET",
            path=self.path,
            retry_after=response.headers.get("retry-after"),
        )

    def __str__(self) -> str:
        group = self.resource.gvk.group
        name = f"{self.resource.plural}.{group}" if group else self.resource.plural
        return f"{name} in namespace {self.namespace}" if self.namespace else f"{name} in all namespaces"
