"""The Client: the verbs, and what is made of several of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from pyoperator.client._create_or_patch import (
    OperationResult,
    create_or_patch,
    create_or_update,
    patch_from,
    patch_status,
)
from pyoperator.client._subresources import PodClient, SubresourceClient
from pyoperator.client._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from pyoperator.client._options import ReadOptions, WriteOptions
    from pyoperator.client._reader import Key
    from pyoperator.objects import GroupVersionKind, ObjectKey, Unstructured

T = TypeVar("T")


class Client(Writer):
    """Read and write objects on the API server; every call is one request, nothing is cached.

    A kind is a class (a CustomResource, or any class the scheme has a codec for) or a GroupVersionKind, whose objects
    are Unstructured. ``namespace`` completes keys and objects of namespaced kinds that name none. ``field_manager``
    is sent with every write. Requests that fail in passing are repeated as ``retry_policy`` says; every request has a
    timeout (30 s unless told).

    Raises ApiError (NotFound, Conflict, ...) for what the server refuses, TransportError for a lost connection,
    LeadershipLost from the transport's gate, DecodeError for an answer that does not fit the class.
    """

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

        ``modified`` is best made by ``copy.deepcopy(original)`` (``model_copy(deep=True)``): what both share and somebody
        edits in place is no difference. This library's own helpers edit nothing that a copy may share.
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

    @overload
    async def patch_status(
        self,
        kind: GroupVersionKind,
        key: Key,
        mutate: Callable[[Unstructured], None],
        *,
        optimistic_lock: bool = True,
        **options: Unpack[WriteOptions],
    ) -> Unstructured: ...
    @overload
    async def patch_status(
        self,
        kind: type[T],
        key: Key,
        mutate: Callable[[T], None],
        *,
        optimistic_lock: bool = True,
        **options: Unpack[WriteOptions],
    ) -> T: ...
    @overload
    async def patch_status(
        self,
        kind: T,
        key: Callable[[T], None],
        mutate: None = None,
        *,
        optimistic_lock: bool = True,
        **options: Unpack[WriteOptions],
    ) -> T: ...
    async def patch_status(
        self,
        kind: Any,
        key: Any,
        mutate: Any = None,
        *,
        optimistic_lock: bool = True,
        **options: Unpack[WriteOptions],
    ) -> Any:
        """Change an object's status in one step: what ``mutate`` makes different is sent, or nothing.

        Called as ``patch_status(obj, mutate)``, which leaves ``obj`` as it is (and compares with it: what was edited in
        ``obj`` itself before is not sent), or ``patch_status(kind, key, mutate)``,
        which reads the object first. Returns the object as stored. With ``optimistic_lock`` the patch carries the uid
        and resourceVersion that were read. Raises Conflict, NotFound, ValueError if ``mutate`` changes more than the
        status, TypeError if it is an async function.
        """
        if mutate is None:
            return await patch_status(self, kind, key, optimistic_lock=optimistic_lock, **options)
        timeout: ReadOptions = {"timeout": options["timeout"]} if "timeout" in options else {}
        obj = await self.get(kind, key, **timeout)
        return await patch_status(self, obj, mutate, optimistic_lock=optimistic_lock, **options)

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
