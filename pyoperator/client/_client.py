"""The Client: typed verbs over any transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

import msgspec

from pyoperator.client._create_or_patch import OperationResult, create_or_patch, create_or_update, patch_from
from pyoperator.client._lists import ObjectList, Watch, decode_list
from pyoperator.client._options import list_query, render_label_selector, write_query
from pyoperator.client._patches import ApplyPatch
from pyoperator.client._rest_mapper import RESTMapper
from pyoperator.client._retry import RetryPolicy
from pyoperator.client._subresources import PodClient, SubresourceClient
from pyoperator.clock import Randomness, SystemClock
from pyoperator.objects import GroupVersionKind, ObjectKey, Scheme, UnknownKindError, metadata_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Unpack

    from pyoperator.client._options import (
        DeleteOptions,
        LabelSelector,
        PropagationPolicy,
        ReadOptions,
        WriteOptions,
    )
    from pyoperator.client._patches import Patch
    from pyoperator.client._transport import Query, Response, StreamResponse, Transport
    from pyoperator.clock import Clock
    from pyoperator.objects import Codec, Metadata, ResourceKind, Unstructured

T = TypeVar("T")

Key: TypeAlias = ObjectKey | tuple[str, str] | str
"""Where an object is: an ObjectKey, (namespace, name), ``"namespace/name"``, or a bare ``"name"``."""

DEFAULT_TIMEOUT = 30.0


class Client:
    """Read and write objects on the API server; every call is one request, nothing is cached.

    A kind is a class (a CustomResource, or any class the scheme has a codec for) or a GroupVersionKind, whose objects
    are Unstructured. ``namespace`` completes keys and objects of namespaced kinds that name none. ``field_manager``
    is sent with every write. Requests that fail in passing are repeated as ``retry_policy`` says; every request has a
    timeout (30 s unless told).

    Raises ApiError (NotFound, Conflict, ...) for what the server refuses, TransportError for a lost connection,
    LeadershipLost from the transport's gate, DecodeError for an answer that does not fit the class.
    """

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
        self.scheme = scheme if scheme is not None else Scheme()
        self.field_manager = field_manager
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.random = random if random is not None else Randomness()
        self.namespace = namespace
        self.retry_policy = retry_policy if retry_policy is not None else RetryPolicy()
        self.rest_mapper = rest_mapper if rest_mapper is not None else RESTMapper(transport, clock=self.clock)

    # Reads.

    @overload
    async def get(
        self, kind: GroupVersionKind, key: Key, *, subresource: str = "", **options: Unpack[ReadOptions]
    ) -> Unstructured: ...
    @overload
    async def get(self, kind: type[T], key: Key, *, subresource: str = "", **options: Unpack[ReadOptions]) -> T: ...
    async def get(self, kind: Any, key: Key, *, subresource: str = "", **options: Unpack[ReadOptions]) -> Any:
        """Read one object; raises NotFound."""
        resource = await self.resource(kind)
        path = self._object_path(resource, self.complete_key(resource, key), subresource)
        response = await self.raw("GET", path, timeout=options.get("timeout", DEFAULT_TIMEOUT))
        return self.scheme.codec(kind).decode(response.body)

    @overload
    async def list(
        self,
        kind: GroupVersionKind,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
        **options: Unpack[ReadOptions],
    ) -> ObjectList[Unstructured]: ...
    @overload
    async def list(
        self,
        kind: type[T],
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
        **options: Unpack[ReadOptions],
    ) -> ObjectList[T]: ...
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
        **options: Unpack[ReadOptions],
    ) -> ObjectList[Any]:
        """Read a collection, of one namespace or (namespace "") of all; with ``limit`` one page of it.

        Raises Expired when ``continue_`` is too old.
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
        response = await self.raw(
            "GET", resource.path(namespace), query=query, timeout=options.get("timeout", DEFAULT_TIMEOUT)
        )
        return decode_list(response.body, self.scheme.codec(kind))

    @overload
    def pages(
        self,
        kind: GroupVersionKind,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        page_size: int = 500,
        **options: Unpack[ReadOptions],
    ) -> AsyncGenerator[ObjectList[Unstructured]]: ...
    @overload
    def pages(
        self,
        kind: type[T],
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        page_size: int = 500,
        **options: Unpack[ReadOptions],
    ) -> AsyncGenerator[ObjectList[T]]: ...
    async def pages(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        page_size: int = 500,
        **options: Unpack[ReadOptions],
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
                **options,
            )
            yield page
            continue_ = page.continue_
            if not continue_:
                return

    @overload
    def watch(
        self,
        kind: GroupVersionKind,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int | None = None,
        idle_timeout: float | None = None,
        connect_timeout: float = DEFAULT_TIMEOUT,
    ) -> Watch[Unstructured]: ...
    @overload
    def watch(
        self,
        kind: type[T],
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: int | None = None,
        idle_timeout: float | None = None,
        connect_timeout: float = DEFAULT_TIMEOUT,
    ) -> Watch[T]: ...
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

    # Writes.

    async def create(self, obj: T, *, namespace: str = "", **options: Unpack[WriteOptions]) -> T:
        """Create an object and return it as stored; raises AlreadyExists, Invalid.

        ``namespace`` is for an object that names none itself.
        """
        resource, codec, metadata = await self._take_apart(obj)
        name = metadata.name or metadata.generate_name
        path = resource.path(self._namespace_for(resource, metadata.namespace or namespace, name))
        response = await self.raw(
            "POST",
            path,
            query=self._write_query(options),
            body=codec.encode(obj),
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
        )
        return codec.decode(response.body)

    async def update(self, obj: T, *, subresource: str = "", **options: Unpack[WriteOptions]) -> T:
        """Replace an object; raises Conflict if it has changed since the resourceVersion that ``obj`` carries.

        A class that does not hold every field (its codec is ``lossy``) never overwrites what it can't see: the
        difference that ``obj`` makes to the object on the server is sent instead, with the same precondition.
        """
        resource, codec, metadata = await self._take_apart(obj)
        key = self.complete_key(resource, metadata.key)
        if getattr(codec, "lossy", False):
            original = await self.get(type(obj), key, subresource=subresource, **_read_options(options))
            return await patch_from(
                self, original, obj, subresource=subresource, precondition=metadata.resource_version, **options
            )
        response = await self.raw(
            "PUT",
            self._object_path(resource, key, subresource),
            query=self._write_query(options),
            body=codec.encode(obj),
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
            repeatable=bool(metadata.resource_version),
        )
        return codec.decode(response.body)

    @overload
    async def patch(
        self,
        kind: GroupVersionKind,
        key: Key,
        patch: Patch,
        *,
        subresource: str = "",
        **options: Unpack[WriteOptions],
    ) -> Unstructured: ...
    @overload
    async def patch(
        self, kind: type[T], key: Key, patch: Patch, *, subresource: str = "", **options: Unpack[WriteOptions]
    ) -> T: ...
    @overload
    async def patch(
        self, kind: T, key: Key | None, patch: Patch, *, subresource: str = "", **options: Unpack[WriteOptions]
    ) -> T: ...
    async def patch(
        self,
        kind: Any,
        key: Key | None,
        patch: Patch,
        *,
        subresource: str = "",
        **options: Unpack[WriteOptions],
    ) -> Any:
        """Change an object by a patch and return it as stored; with an object as ``kind``, ``key`` may be None."""
        is_object = not isinstance(kind, type | GroupVersionKind)
        codec: Codec[Any]
        if is_object:
            resource, codec, metadata = await self._take_apart(kind)
            key = key if key is not None else metadata.key
        else:
            resource = await self.resource(kind)
            codec = self.scheme.codec(kind)
        if key is None:
            raise ValueError(f"patch of {resource.gvk.kind}: give the object's key")
        query = [*self._write_query(options)]
        if isinstance(patch, ApplyPatch) and not any(name == "fieldManager" for name, _ in query):
            raise ValueError("server-side apply needs a field manager: Client(field_manager=...) or field_manager=")
        if patch.force is not None:
            query.append(("force", "true" if patch.force else "false"))
        response = await self.raw(
            "PATCH",
            self._object_path(resource, self.complete_key(resource, key), subresource),
            query=query,
            body=patch.encode(self.scheme),
            headers={"content-type": patch.content_type},
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
            repeatable=patch.has_precondition,
        )
        return codec.decode(response.body)

    async def apply(self, obj: T, *, force: bool = False, subresource: str = "", **options: Unpack[WriteOptions]) -> T:
        """Apply ``obj`` server-side: create it, or own the fields in it; raises Conflict for fields others own.

        A resourceVersion in ``obj`` is a precondition. Needs a field manager.
        """
        _, _, metadata = await self._take_apart(obj)
        return await self.patch(obj, metadata.key, ApplyPatch(obj, force), subresource=subresource, **options)

    async def delete(
        self,
        kind: Any,
        key: Key | None = None,
        *,
        uid: str = "",
        resource_version: str = "",
        **options: Unpack[DeleteOptions],
    ) -> None:
        """Delete one object; with an object as ``kind`` its key and its uid are used.

        ``uid`` and ``resource_version`` are preconditions (Conflict if they don't hold); with one the request may be
        repeated safely. Raises NotFound (see ``ignore_not_found``).
        """
        resource = await self.resource(kind)
        if key is None:
            _, _, metadata = await self._take_apart(kind)
            key, uid = metadata.key, uid or metadata.uid
        preconditions = {name: value for name, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        await self.raw(
            "DELETE",
            self._object_path(resource, self.complete_key(resource, key)),
            body=_delete_body(options, preconditions),
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
            repeatable=bool(preconditions),
        )

    async def delete_all_of(
        self,
        kind: Any,
        *,
        namespace: str = "",
        label_selector: LabelSelector = "",
        field_selector: str = "",
        **options: Unpack[DeleteOptions],
    ) -> None:
        """Delete a collection in one request; a namespaced kind needs a namespace (the client's, if none is given)."""
        resource = await self.resource(kind)
        await self.raw(
            "DELETE",
            resource.path(self._namespace_for(resource, namespace, "all")),
            query=list_query(label_selector=render_label_selector(label_selector), field_selector=field_selector),
            body=_delete_body(options, {}),
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
        )

    # Helpers over the verbs: they work the same on every client that overrides these.

    async def create_or_update(
        self, obj: T, mutate: Callable[[T], None], **options: Unpack[WriteOptions]
    ) -> tuple[T, OperationResult]:
        """Create ``obj``, or bring the object of its key to what ``mutate`` makes of it, with a PUT or nothing."""
        return await create_or_update(self, obj, mutate, **options)

    @overload
    async def create_or_patch(
        self, kind: GroupVersionKind, key: Key, mutate: Callable[[Unstructured], None], **options: Unpack[WriteOptions]
    ) -> tuple[Unstructured, OperationResult]: ...
    @overload
    async def create_or_patch(
        self, kind: type[T], key: Key, mutate: Callable[[T], None], **options: Unpack[WriteOptions]
    ) -> tuple[T, OperationResult]: ...
    @overload
    async def create_or_patch(
        self, kind: T, key: Callable[[T], None], mutate: None = None, **options: Unpack[WriteOptions]
    ) -> tuple[T, OperationResult]: ...
    async def create_or_patch(
        self, kind: Any, key: Any, mutate: Any = None, **options: Unpack[WriteOptions]
    ) -> tuple[Any, OperationResult]:
        """Create an object, or bring it to what ``mutate`` makes of it, with a merge patch or nothing.

        Called as ``create_or_patch(kind, key, mutate)`` or ``create_or_patch(obj, mutate)``. The patch holds only what
        differs, and the uid and resourceVersion that were read: Conflict if the object changed in between (return
        from the reconcile and let it be repeated), and a lost answer may safely be asked for again.
        """
        if mutate is None:
            return await create_or_patch(self, kind, key, **options)
        resource = await self.resource(kind)
        return await create_or_patch(self, self._empty(kind, self.complete_key(resource, key)), mutate, **options)

    async def patch_from(
        self,
        original: T,
        modified: T,
        *,
        subresource: str = "",
        optimistic_lock: bool = True,
        **options: Unpack[WriteOptions],
    ) -> T:
        """Send the difference between two states of an object as a merge patch, or nothing if there is none.

        With ``optimistic_lock`` the patch carries the uid and resourceVersion of ``original``.
        """
        return await patch_from(
            self, original, modified, subresource=subresource, optimistic_lock=optimistic_lock, **options
        )

    async def patch_status_from(
        self, original: T, modified: T, *, optimistic_lock: bool = True, **options: Unpack[WriteOptions]
    ) -> T:
        """Send what differs in ``status`` (nothing else) to the status subresource, or nothing."""
        return await patch_from(
            self, original, modified, subresource="status", optimistic_lock=optimistic_lock, **options
        )

    @property
    def status(self) -> SubresourceClient:
        """The status subresource: ``client.status.update(obj)``."""
        return SubresourceClient(self, "status")

    @property
    def scale(self) -> SubresourceClient:
        """The scale subresource: ``client.scale.replicas(kind, key)``, ``client.scale.set_replicas(kind, key, 3)``."""
        return SubresourceClient(self, "scale")

    @property
    def pods(self) -> PodClient:
        """What pods and service accounts offer beyond the common verbs: evictions and tokens."""
        return PodClient(self)

    def subresource(self, name: str) -> SubresourceClient:
        """Return a client of any subresource."""
        return SubresourceClient(self, name)

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
        if isinstance(key, str):
            namespace, _, name = key.rpartition("/")
        else:
            namespace, name = key
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

    def _write_query(self, options: WriteOptions) -> Query:
        return write_query(options, self.field_manager)

    @staticmethod
    def _object_path(resource: ResourceKind, key: ObjectKey, subresource: str = "") -> str:
        return resource.path(key.namespace, key.name, subresource)

    async def _take_apart(self, obj: T) -> tuple[ResourceKind, Codec[T], Metadata]:
        resource = await self.resource(obj)
        codec = self.scheme.codec_for(obj)
        read = getattr(codec, "metadata", metadata_of)  # shapes that metadata_of does not know bring their own reader
        return resource, codec, cast("Metadata", read(obj))

    def _empty(self, kind: Any, key: ObjectKey) -> Any:
        codec = self.scheme.codec(kind)
        gvk = codec.resource.gvk
        document: dict[str, Any] = {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"name": key.name}}
        if key.namespace:
            document["metadata"]["namespace"] = key.namespace
        if hasattr(kind, "model_construct"):
            # Not validated: ``mutate`` sets what the model requires.
            from pyoperator.objects import ObjectMeta

            return kind.model_construct(
                api_version=gvk.api_version, kind=gvk.kind, metadata=ObjectMeta.model_validate(document["metadata"])
            )
        return codec.decode(msgspec.json.encode(document))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transport!r}, namespace={self.namespace!r})"


def _read_options(options: WriteOptions) -> ReadOptions:
    return {"timeout": options["timeout"]} if "timeout" in options else {}


def _delete_body(options: DeleteOptions, preconditions: Mapping[str, str]) -> bytes | None:
    document: dict[str, Any] = {}
    if preconditions:
        document["preconditions"] = preconditions
    policy: PropagationPolicy = options.get("propagation_policy", "")
    if policy:
        document["propagationPolicy"] = policy
    grace = options.get("grace_period_seconds")
    if grace is not None:
        document["gracePeriodSeconds"] = grace
    if options.get("dry_run"):
        document["dryRun"] = ["All"]
    if not document:
        return None
    return msgspec.json.encode({"kind": "DeleteOptions", "apiVersion": "v1", **document})
