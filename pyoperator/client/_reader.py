"""What the verbs are made of, and those that read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

from pyoperator.client._lists import ObjectList, Watch, decode_list
from pyoperator.client._options import list_query, timeout_of
from pyoperator.client._rest_mapper import RESTMapper
from pyoperator.client._retry import RetryPolicy
from pyoperator.client._streams import ListPage, ObjectStream
from pyoperator.clock import Randomness, SystemClock
from pyoperator.objects import GroupVersionKind, ObjectKey, Scheme, UnknownKindError, metadata_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Unpack

    from pyoperator.client._options import (
        LabelSelector,
        ListOptions,
        PageOptions,
        ReadOptions,
        WatchOptions,
    )
    from pyoperator.client._transport import Query, Response, StreamResponse, Transport
    from pyoperator.clock import Clock
    from pyoperator.objects import Codec, Metadata, ResourceKind, Unstructured

T = TypeVar("T")

Key: TypeAlias = ObjectKey | tuple[str, str] | str
"""Where an object is: an ObjectKey, (namespace, name), ``"namespace/name"``, or a bare ``"name"``."""

DEFAULT_TIMEOUT = 30.0


class Reader:
    """Ask one API server, under the retry policy; every verb of a Client goes through here."""

    def __init__(
        self,
        transport: Transport,
        *,
        scheme: Scheme | None = None,
        field_manager: str = "",
        clock: Clock | None = None,
        random: Randomness | None = None,
        namespace: str = "",
        retry_policy: RetryPolicy | None = None,
        rest_mapper: RESTMapper | None = None,
    ) -> None:
        self.transport = transport
        self.scheme: Scheme = scheme if scheme is not None else Scheme()
        self.field_manager = field_manager
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.random: Randomness = random if random is not None else Randomness()
        self.namespace = namespace
        self.retry_policy: RetryPolicy = retry_policy if retry_policy is not None else RetryPolicy()
        self.rest_mapper: RESTMapper = (
            rest_mapper if rest_mapper is not None else RESTMapper(transport, clock=self.clock)
        )

    @overload
    async def get(
        self, kind: GroupVersionKind, key: Key, *, subresource: str = "", **options: Unpack[ReadOptions]
    ) -> Unstructured: ...
    @overload
    async def get(self, kind: type[T], key: Key, *, subresource: str = "", **options: Unpack[ReadOptions]) -> T: ...
    async def get(self, kind: Any, key: Key, *, subresource: str = "", **options: Unpack[ReadOptions]) -> Any:
        """Read one object; raises NotFound."""
        timeout = timeout_of(options, DEFAULT_TIMEOUT)
        resource = await self.resource(kind)
        path = self._object_path(resource, self.complete_key(resource, key), subresource)
        response = await self.raw("GET", path, timeout=timeout)
        return self.scheme.codec(kind).decode(response.body)

    @overload
    async def list(self, kind: GroupVersionKind, **options: Unpack[ListOptions]) -> ObjectList[Unstructured]: ...
    @overload
    async def list(self, kind: type[T], **options: Unpack[ListOptions]) -> ObjectList[T]: ...
    async def list(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ObjectList[Any]:
        """Read a collection, of one namespace or (namespace "") of all; with ``limit`` one page of it.

        Raises Expired when ``continue_`` is too old. A collection of many thousands is better read with ``stream``.
        """
        resource = await self.resource(kind)
        query = list_query(
            label_selector=label_selector,
            field_selector=field_selector,
            limit=limit,
            continue_=continue_,
            resource_version=resource_version,
            resource_version_match=resource_version_match,
        )
        response = await self.raw("GET", resource.path(namespace), query=query, timeout=timeout)
        return decode_list(response.body, self.scheme.codec(kind))

    @overload
    def pages(
        self, kind: GroupVersionKind, **options: Unpack[PageOptions]
    ) -> AsyncGenerator[ObjectList[Unstructured]]: ...
    @overload
    def pages(self, kind: type[T], **options: Unpack[PageOptions]) -> AsyncGenerator[ObjectList[T]]: ...
    async def pages(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        page_size: int = 500,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> AsyncGenerator[ObjectList[Any]]:
        """Read a collection page by page, all of one version; ``timeout`` is per page.

        Raises Expired if the reader takes longer than the server keeps that version (about five minutes).
        """
        continue_ = ""
        while True:
            page = await self.list(
                kind,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=page_size,
                continue_=continue_,
                timeout=timeout,
            )
            yield page
            continue_ = page.continue_
            if not continue_:
                return

    @overload
    def stream(self, kind: GroupVersionKind, **options: Unpack[PageOptions]) -> ObjectStream[Unstructured]: ...
    @overload
    def stream(self, kind: type[T], **options: Unpack[PageOptions]) -> ObjectStream[T]: ...
    def stream(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        page_size: int = 500,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ObjectStream[Any]:
        """Read a collection object by object: ``async for obj in client.stream(kind)``, whatever its size.

        Never more than a page of it is held, as bytes; a server that ignores the page size is slowed down to the
        reader's pace instead. All objects are of one version (``resource_version`` of what is returned, from the first
        object on). ``timeout`` is per page. An object that does not fit the class is left out and noted in
        ``undecodable``. Raises Expired as ``pages`` does, and TransportError. Always live, also on a CachedClient.
        """

        async def prepare(continue_: str) -> tuple[ListPage, Codec[Any]]:
            path = (await self.resource(kind)).path(namespace)
            query = list_query(
                label_selector=label_selector, field_selector=field_selector, limit=page_size, continue_=continue_
            )
            page = ListPage(self.transport, path, query, page_size)
            await self.retry_policy.run(
                page.open, method="GET", path=path, timeout=timeout, repeatable=True, random=self.random
            )
            return page, self.scheme.codec(kind)

        return ObjectStream(prepare)

    @overload
    def watch(self, kind: GroupVersionKind, **options: Unpack[WatchOptions]) -> Watch[Unstructured]: ...
    @overload
    def watch(self, kind: type[T], **options: Unpack[WatchOptions]) -> Watch[T]: ...
    def watch(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int | None = None,
        idle_timeout: float | None = None,
        connect_timeout: float = DEFAULT_TIMEOUT,
    ) -> Watch[Any]:
        """Watch a collection once; for a copy that stays fresh across disconnects use a cache.

        Without a ``resource_version`` the present objects come first, as ADDED. The connection is opened at the first
        ``anext()``. ``timeout_seconds`` asks the server to end the watch; ``idle_timeout`` ends it from this side.
        """
        query = [
            ("watch", "true"),
            *list_query(
                label_selector=label_selector, field_selector=field_selector, resource_version=resource_version
            ),
        ]
        if timeout_seconds is not None:
            query.append(("timeoutSeconds", str(timeout_seconds)))

        async def prepare() -> tuple[AbstractAsyncContextManager[StreamResponse], Codec[Any], str]:
            path = (await self.resource(kind)).path(namespace)
            opened = self.transport.stream(
                "GET", path, query=query, connect_timeout=connect_timeout, idle_timeout=idle_timeout
            )
            return opened, self.scheme.codec(kind), path

        return Watch(prepare)

    # What the verbs are made of.

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        repeatable: bool | None = None,
    ) -> Response:
        """Send one request under the retry policy; raises ApiError for every status from 400.

        ``repeatable`` says whether a second delivery can do no harm (default: for GET and HEAD only).
        """
        return await self.retry_policy.send(
            self.transport,
            method,
            path,
            query=query,
            body=body,
            headers=headers,
            timeout=timeout,
            repeatable=method in {"GET", "HEAD"} if repeatable is None else repeatable,
            random=self.random,
        )

    async def resource(self, kind: Any) -> ResourceKind:
        """Return the REST resource of a class, a GVK or an object, discovering it if need be; raises NoKindMatch."""
        try:
            return self.scheme.resource(kind)
        except UnknownKindError:
            if isinstance(kind, dict):
                gvk = GroupVersionKind.of(kind.get("apiVersion", ""), kind.get("kind", ""))
                if not gvk.kind or not gvk.version:
                    raise ValueError("the object names no kind: give it apiVersion and kind") from None
            elif isinstance(kind, GroupVersionKind):
                gvk = kind
            else:
                raise
        resource = await self.rest_mapper.resource(gvk)
        self.scheme.add_resource(resource)
        return resource

    def complete_key(self, resource: ResourceKind, key: Key) -> ObjectKey:
        """Return a full key; the client's namespace stands in for a missing one."""
        namespace, name = ObjectKey.of(key)
        if not name:
            raise ValueError(f"{resource.gvk.kind}: the key has no name")
        if not resource.namespaced:
            return ObjectKey("", name)
        return ObjectKey(self._namespace_for(resource, namespace, name), name)

    def _namespace_for(self, resource: ResourceKind, namespace: str, name: str) -> str:
        if not resource.namespaced:
            return ""
        chosen = namespace or self.namespace
        if not chosen:
            raise ValueError(
                f"{resource.gvk.kind} {name!r} is namespaced: name its namespace, or give the client one "
                "(Client(namespace=...))"
            )
        return chosen

    @staticmethod
    def _object_path(resource: ResourceKind, key: ObjectKey, subresource: str = "") -> str:
        return resource.path(key.namespace, key.name, subresource)

    async def _take_apart(self, obj: T) -> tuple[ResourceKind, Codec[T], Metadata]:
        resource = await self.resource(obj)
        codec = self.scheme.codec_for(obj)
        read = getattr(codec, "metadata", metadata_of)  # shapes that metadata_of does not know bring their own reader
        return resource, codec, cast("Metadata", read(obj))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transport!r}, namespace={self.namespace!r})"
