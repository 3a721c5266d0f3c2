"""The verbs that write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from pyoperator.client._create_or_patch import patch_from
from pyoperator.client._options import DeleteOptions, check_options, list_query, render_label_selector, write_query
from pyoperator.client._patches import ApplyPatch
from pyoperator.client._reader import DEFAULT_TIMEOUT, Reader
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from pyoperator.client._options import LabelSelector, PropagationPolicy, ReadOptions, WriteOptions
    from pyoperator.client._patches import Patch
    from pyoperator.client._reader import Key
    from pyoperator.client._transport import Query
    from pyoperator.objects import Codec, Unstructured

T = TypeVar("T")


class Writer(Reader):
    """Write to one API server; what may be sent twice is said by preconditions, never guessed."""

    async def create(self, obj: T, *, namespace: str = "", **options: Unpack[WriteOptions]) -> T:
        """Create an object and return it as stored; raises AlreadyExists, Invalid.

        ``namespace`` is for an object that names none itself.
        """
        query = self._write_query(options)
        resource, codec, metadata = await self._take_apart(obj)
        name = metadata.name or metadata.generate_name
        path = resource.path(self._namespace_for(resource, metadata.namespace or namespace, name))
        response = await self.raw(
            "POST",
            path,
            query=query,
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
        check_options(options, DeleteOptions)
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
        check_options(options, DeleteOptions)
        resource = await self.resource(kind)
        await self.raw(
            "DELETE",
            resource.path(self._namespace_for(resource, namespace, "all")),
            query=list_query(label_selector=render_label_selector(label_selector), field_selector=field_selector),
            body=_delete_body(options, {}),
            timeout=options.get("timeout", DEFAULT_TIMEOUT),
        )

    def _write_query(self, options: WriteOptions) -> Query:
        return write_query(options, self.field_manager)


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
